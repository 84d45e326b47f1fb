"""The job process from inside: `python -m devaria.execution.child [GROUP]` runs one handler.

It receives one job and sends events: progress, then one outcome. What the job prints, on either
stream, goes to standard error, which the runner collects as the console.

Speed: each job starts such a process, so it imports little (no dataclasses, no traceback). The
runner starts it ahead, so it imports all of that before it receives its job. Only a handler that is
not devaria's own is imported later, in the job's own time.
"""

import sys

# The working directory comes last, so that a file in it cannot take the place of a module of
# Python's own.
sys.path.append(sys.path.pop(0))

from devaria.execution import keeper

if __name__ == "__main__":
    # Before anything is imported that both processes would have.
    keeper.split_off_job(sys.argv[1] if len(sys.argv) > 1 else None)

import contextlib
import gc
import math
import numbers
import threading
from pathlib import Path
from typing import Any, Dict, Optional

from devaria.common.errors import JobError
from devaria.common.parent_pipes import ParentPipes
from devaria.common.text import HEAD_BYTES, TAIL_BYTES, shortened
from devaria.execution.result import NotJsonError, failure_text, ready_result
from devaria.jobs.loading import HandlerUnavailableError, handler_for

#: The least time between two progress events, in seconds. The newest progress always arrives.
_PROGRESS_GAP_SEC = 0.25

#: The longest texts that go through the pipe, in bytes of UTF-8. The runner drops a line that is
#: too long, and the outcome in it. Console and traceback together fit into a report.
_MAX_OWN_CONSOLE_BYTES = HEAD_BYTES + TAIL_BYTES
_MAX_ERROR_BYTES = 10_000
_MAX_TRACEBACK_BYTES = 20_000

#: How many frames of a traceback come before the handler's code. They are left out.
_OWN_FRAMES = 2


class _Progress:
    """The heartbeat callback: keeps the newest state and sends it at a bounded rate.

    The first call sends at once, from the handler's own thread, since code that holds the GIL may
    follow. A timer thread sends what later calls bring within `_PROGRESS_GAP_SEC`.
    """

    def __init__(self, runner: ParentPipes) -> None:
        self._runner = runner
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
            self._sender = threading.Timer(_PROGRESS_GAP_SEC, self.flush)
            self._sender.daemon = True
            self._sender.start()
            news, self._news = self._news, {}
        self._send(news)

    def flush(self) -> None:
        """Send the newest state, if it was not sent yet."""
        with self._lock:
            self._sender = None
            news, self._news = self._news, {}
        if news:
            self._send(news)

    def _send(self, news: Dict[str, Any]) -> None:
        self._runner.send({"event": "progress", **news, "console": _bounded(news["console"])})


def _number(name: str, value: Any) -> Optional[float]:
    """Return any real number, numpy's included, as a plain one; None if JSON cannot hold it."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    plain = int(value) if isinstance(value, numbers.Integral) else float(value)
    return plain if math.isfinite(plain) else None


def main() -> None:
    """Run the one job that the runner hands over."""
    runner = ParentPipes()
    _prefer_oom_kill()
    # The imported modules stay to the end; checking them for garbage then would take 3 ms.
    gc.freeze()
    job = runner.receive()
    if job is not None and "preload" in job:
        from devaria.execution.preload import received_with_imports_done

        job = received_with_imports_done(runner, job)
    if job is None:  # the runner did not need this process after all
        return
    progress = _Progress(runner)
    event = _run(job, runner, progress)
    progress.flush()
    _flush_streams()
    runner.send(event)


def _prefer_oom_kill() -> None:
    """On Linux: have the kernel kill this process before the runner when memory runs out."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _run(job: Dict[str, Any], runner: ParentPipes, progress: _Progress) -> Dict[str, Any]:
    """Run the handler; return the last event, whatever the handler does."""
    try:
        handler = handler_for(job["job_type"], job["handlers"])
    except HandlerUnavailableError as error:
        return {"event": "unavailable", "reason": str(error)}
    runner.send({"event": "started"})
    threading.excepthook = _print_error_of_thread
    if "tempfile" in sys.modules:
        # Otherwise it would take another folder without a word, if this disk were full.
        sys.modules["tempfile"].tempdir = job["run_dir"]  # type: ignore[attr-defined] # a module's
    try:
        output = ready_result(handler().run(job["input_params"], progress, Path(job["run_dir"])))
    except BaseException as error:  # SystemExit and KeyboardInterrupt end the job, not the process
        return _outcome(
            error=shortened(failure_text(error), _MAX_ERROR_BYTES),
            console=progress.console_output,
            traceback_text=_public_traceback(error, runner),
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


def _public_traceback(error: BaseException, runner: ParentPipes) -> Optional[str]:
    """Send the full traceback for the log. Return the one for the console; None if it has none.

    A foreseen error has none in the console. The log has that of a ValueError that is not
    devaria's own, since it may be a mistake in the handler.
    """
    from devaria.execution.tracebacks import full_traceback, is_raised_by_devaria, public_traceback

    stack = error.__traceback__
    for _ in range(_OWN_FRAMES):
        stack = stack.tb_next if stack is not None and stack.tb_next is not None else stack
    is_foreseen = isinstance(error, (JobError, NotJsonError))
    if not is_foreseen and not (isinstance(error, ValueError) and is_raised_by_devaria(error)):
        full = shortened(full_traceback(error, stack), _MAX_TRACEBACK_BYTES)
        runner.send({"event": "traceback", "text": full})
    if is_foreseen or isinstance(error, ValueError):
        return None
    return shortened(public_traceback(error, stack), _MAX_TRACEBACK_BYTES)


def _print_error_of_thread(told: threading.ExceptHookArgs) -> None:
    """Print what ended a thread, as Python does, but not where things lie on this machine."""
    if told.exc_value is None or isinstance(told.exc_value, SystemExit):
        return
    from devaria.execution.tracebacks import public_traceback

    name = told.thread.name if told.thread is not None else "unknown"
    text = public_traceback(told.exc_value, told.exc_traceback)
    # A handler may have closed or replaced the stream.
    with contextlib.suppress(Exception):
        sys.stderr.write(f"Exception in thread {name}:\n{shortened(text, _MAX_TRACEBACK_BYTES)}")


def _flush_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        # A handler may have closed or replaced them.
        with contextlib.suppress(Exception):
            stream.flush()


if __name__ == "__main__":
    main()
