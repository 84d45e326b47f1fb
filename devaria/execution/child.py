"""The job process from inside: `python -m devaria.execution.child` runs one handler and ends.

It reads one JSON line from its standard input, the job, and writes JSON lines to what was its
standard output, the events: progress, then one outcome. What the job prints, on either stream,
goes to its standard error, which the runner collects as the console.

It imports little, since it starts once a job; and that before it has its job, since the runner
starts it ahead. Only what an operator's or a package's handler does when it is imported is part of
the job.
"""

import sys

# The working directory stands last: a file of the operator's must not take the place of a module
# of Python's own.
sys.path.append(sys.path.pop(0))

import contextlib
import gc
import io
import json
import math
import numbers
import os
import signal
import threading
from pathlib import Path
from typing import Any, BinaryIO, Dict, Optional, Tuple

from devaria.common.text import HEAD_BYTES, TAIL_BYTES, shortened
from devaria.execution.result import failure_text, ready_result
from devaria.jobs.loading import HandlerUnavailableError, handler_for

#: Progress goes to the runner at most this often, in seconds; the newest one always arrives.
_PROGRESS_GAP_SEC = 0.25

#: Bounds of what goes through the pipe, in bytes of UTF-8. Its lines are bounded too: one that is
#: too long would be lost, and the job's outcome with it. Console and traceback together are no
#: longer than the worker takes.
_MAX_OWN_CONSOLE_BYTES = HEAD_BYTES + TAIL_BYTES
_MAX_ERROR_BYTES = 10_000
_MAX_TRACEBACK_BYTES = 20_000

#: The frames between here and the handler's code, which tell its developer nothing.
_OWN_FRAMES = 2


class _Events:
    """The pipe to the runner: one JSON object a line."""

    def __init__(self, descriptor: int) -> None:
        self._pipe: BinaryIO = os.fdopen(descriptor, "wb")
        self._lock = threading.Lock()

    def send(self, event: Dict[str, Any]) -> None:
        line = json.dumps(event).encode("ascii") + b"\n"
        with self._lock:
            self._pipe.write(line)
            self._pipe.flush()


class _Progress:
    """The heartbeat callback: keeps the newest news and sends them at a bounded rate.

    A first call sends at once, from the handler's own thread, since code that holds the GIL may
    follow; what comes within the gap is left to a thread.
    """

    def __init__(self, events: _Events) -> None:
        self._events = events
        self._lock = threading.Lock()
        self._news: Dict[str, Any] = {}
        self._sender: Optional[threading.Timer] = None
        self.console_output: Optional[str] = None

    def __call__(
        self,
        progress_current: Optional[float] = None,
        progress_total: Optional[float] = None,
        console_output: Optional[str] = None,
    ) -> None:
        current = _number("progress_current", progress_current)
        total = _number("progress_total", progress_total)
        if console_output is not None and not isinstance(console_output, str):
            raise TypeError(f"console_output must be a string, not {type(console_output).__name__}")
        with self._lock:
            if console_output is not None:
                self.console_output = console_output
            self._news = {"current": current, "total": total, "console": self.console_output}
            if self._sender is not None:
                return
            self._sender = threading.Timer(_PROGRESS_GAP_SEC, self._after_gap)
            self._sender.daemon = True
            self._sender.start()
            news, self._news = self._news, {}
        self._send(news)

    def _after_gap(self) -> None:
        with self._lock:
            self._sender = None
            news, self._news = self._news, {}
        if news:
            self._send(news)

    def flush(self) -> None:
        """Send what is not sent yet, before the outcome."""
        self._after_gap()

    def _send(self, news: Dict[str, Any]) -> None:
        self._events.send({"event": "progress", **news, "console": _bounded(news["console"])})


def _number(name: str, value: Any) -> Optional[float]:
    """Take any real number, numpy's included; one that JSON cannot hold is as good as unknown."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    plain = int(value) if isinstance(value, numbers.Integral) else float(value)
    return plain if math.isfinite(plain) else None


def main() -> None:
    """Run the one job that the runner hands over."""
    events, job_pipe = _take_over_streams()
    _be_the_first_to_go()
    # What is imported stays to the end; to look through it for garbage then would take 3 ms.
    gc.freeze()
    line = job_pipe.readline()
    if not line:  # the runner needed no job process after all
        return
    threading.Thread(target=_end_with_the_runner, args=(job_pipe,), daemon=True).start()
    job = json.loads(line)
    progress = _Progress(events)
    event = _run(job, events, progress)
    progress.flush()
    _flush_streams()
    events.send(event)


def _take_over_streams() -> Tuple[_Events, BinaryIO]:
    """Keep the two pipes to the runner for ourselves, and give the job ordinary streams.

    After this, standard input is empty, and both outputs are the console, for C code too. The
    kept descriptors are not inherited by what the job starts.
    """
    events = _Events(os.dup(1))
    job_pipe = os.fdopen(os.dup(0), "rb")
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.dup2(2, 1)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    return events, job_pipe


def _be_the_first_to_go() -> None:
    """On Linux: ask to be the first whom the kernel ends when memory runs out, not the runner."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _end_with_the_runner(job_pipe: BinaryIO) -> None:
    """Wait until the runner closes its end of the pipe, by dying or otherwise; then end."""
    job_pipe.read()
    if hasattr(os, "killpg"):
        os.killpg(os.getpgid(0), signal.SIGKILL)  # what the job has started ends too
    os._exit(1)


def _run(job: Dict[str, Any], events: _Events, progress: _Progress) -> Dict[str, Any]:
    """Run the handler; whatever it does, there is an event that tells what came of it."""
    try:
        handler = handler_for(job["job_type"], job["handlers"])
    except HandlerUnavailableError as error:
        return {"event": "unavailable", "reason": str(error)}
    events.send({"event": "started"})
    try:
        output = ready_result(handler().run(job["input_params"], progress, Path(job["run_dir"])))
    except BaseException as error:  # SystemExit and KeyboardInterrupt end the job, not the process
        return _outcome(
            error=shortened(failure_text(error), _MAX_ERROR_BYTES),
            console=progress.console_output,
            traceback_text=shortened(_traceback(error), _MAX_TRACEBACK_BYTES),
        )
    return _outcome(output, console=output.pop("console_output", progress.console_output))


def _outcome(
    output: Optional[Dict[str, Any]] = None,
    *,
    error: Optional[str] = None,
    console: Optional[str],
    traceback_text: Optional[str] = None,
) -> Dict[str, Any]:
    return {
        "event": "outcome",
        "output": output,
        "error": error,
        "console": _bounded(console),
        "traceback": traceback_text,
    }


def _bounded(console: Optional[str]) -> Optional[str]:
    return None if console is None else shortened(console, _MAX_OWN_CONSOLE_BYTES)


def _traceback(error: BaseException) -> str:
    import traceback  # here, since most jobs do without

    stack = error.__traceback__
    for _ in range(_OWN_FRAMES):
        stack = stack.tb_next if stack is not None and stack.tb_next is not None else stack
    try:
        lines = traceback.format_exception(type(error), error, stack)
    except BaseException:  # an exception may sabotage its own printing
        lines = traceback.format_tb(stack)
    return "".join(lines)


def _flush_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        # A handler may have closed or replaced them.
        with contextlib.suppress(Exception):
            stream.flush()


if __name__ == "__main__":
    main()
