"""The job process as the runner sees it: one handler in one child process, contained.

Whatever the handler does, `JobProcess.wait` returns an outcome: its result, its exception, or how
its process ended. What happens inside the child stands in `devaria.execution.child`.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from typing import IO, Any, Callable, Dict, Mapping, Optional, Sequence

from devaria.common.config import WORKER_KEY_VARIABLES
from devaria.execution.console import Console
from devaria.execution.ending import death_of, failure_of, outcome_of
from devaria.execution.limits import JobLimits, LimitWatch
from devaria.execution.outcome import JobOutcome
from devaria.execution.process_group import Sentinel, end_group, own_group
from devaria.execution.scratch import make_scratch, remove_scratch
from devaria.execution.signals import Wakeup
from devaria.jobs.loading import HandlerUnavailableError

#: How often time and memory limits are looked at, in seconds.
_WATCH_SEC = 1.0
_FIRST_WATCH_SEC = 0.1
#: The same, in seconds, once it has closed its pipe.
_LAST_MOMENT_SEC = 0.01
#: How long a job process may take to end after its outcome, in seconds; and for how much of that
#: the end of its pipe, which comes at once, is taken for its sign.
_EXIT_SEC = 10.0
_PIPE_END_SEC = 0.05
#: How long the last words of a process that has ended may take to arrive, in seconds.
_DRAIN_SEC = 1.0
#: A line of the event pipe is at most this long: one result or one console, with its escapes.
_MAX_EVENT_BYTES = 16_000_000

#: Called with the job's newest progress_current, progress_total, and own console or None.
ProgressCallback = Callable[[Optional[float], Optional[float], Optional[str]], None]


class JobProcess:
    """A child process that waits for one job, runs it, and ends.

    It may be started ahead of the job, and is closed unused where no job comes.

    Args:
        wakeup: Is notified at every event of the child.
        environ: The runner's environment; the child's is this without the worker's keys.
        handlers: Handlers beside the built-in ones, as `devaria.jobs.loading` takes them.
        sentinel: Watches over the child; None for one of its own.
        runner_id: By which its scratch files are known, should the runner be killed.

    Raises:
        OSError: The process cannot be started, or there is no place for its scratch files.
    """

    def __init__(
        self,
        wakeup: Wakeup,
        environ: Mapping[str, str],
        handlers: Sequence[str] = (),
        sentinel: Optional[Sentinel] = None,
        runner_id: Optional[str] = None,
    ) -> None:
        self.console = Console()
        self._wakeup = wakeup
        self._handlers = list(handlers)
        self._sentinel = sentinel or Sentinel()
        self._on_progress: Optional[ProgressCallback] = None
        self._outcome_event: Optional[Dict[str, Any]] = None
        self._own_console: Optional[str] = None
        self._has_started = False
        self._finished = False
        self._started_at = 0.0
        self._pipe_ended_at: Optional[float] = None
        self.scratch = make_scratch(runner_id)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "devaria.execution.child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_child_environ(environ, self.scratch),
                **own_group(),
            )
            self._be_watched_over()
        except OSError:
            remove_scratch(self.scratch)
            raise
        self._console_reader = _reader("job-console", self._process.stderr, self._read_console)
        self._event_reader = _reader("job-events", self._process.stdout, self._read_events)

    def _be_watched_over(self) -> None:
        try:
            self._sentinel.watch(self._process)
        except OSError:
            end_group(self._process, 0.0)
            for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
                assert pipe is not None  # noqa: S101 - all three were asked for
                pipe.close()
            raise

    @property
    def is_waiting(self) -> bool:
        """Whether the child is still there, for a job to be handed to it."""
        return self._process.poll() is None

    def hand_over(
        self, job_type: str, input_params: Dict[str, Any], on_progress: ProgressCallback
    ) -> None:
        """Give the child its job, which it runs at once.

        Args:
            job: The job.
            on_progress: Called from another thread with the handler's news.
        """
        self._on_progress = on_progress
        self._started_at = time.monotonic()
        line = json.dumps(
            {
                "job_type": job_type,
                "input_params": input_params,
                "handlers": self._handlers,
                "run_dir": self.scratch,
            }
        )
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        # A child that is gone is seen by its exit status.
        with contextlib.suppress(OSError):
            self._process.stdin.write(line.encode("ascii") + b"\n")
            self._process.stdin.flush()

    def wait(self, limits: JobLimits, why_stop: Callable[[], Optional[str]]) -> JobOutcome:
        """Wait for the job's end. The child is gone when this returns.

        Args:
            limits: What it may use; one that goes beyond is ended, with an error that says so.
            why_stop: Looked at after every wake-up: a reason to end the job now, or None.

        Returns:
            How the job ended.

        Raises:
            HandlerUnavailableError: The child could not load the handler, or died before it had;
                the job did not run.
        """
        watch = LimitWatch(self._process.pid, limits)
        stopped_for = None
        while stopped_for is None and not self._has_ended():
            self._wakeup.wait(self._watch_sec())
            stopped_for = why_stop()
            if stopped_for is None and not self._has_ended():
                stopped_for = watch.beyond(self._elapsed_sec())
        self.close(grace_sec=None if stopped_for is None else _EXIT_SEC)
        event, printed = self._outcome_event, self.console.text()
        if event is not None and event["event"] == "unavailable":
            raise HandlerUnavailableError(event["reason"])
        if event is not None:
            return outcome_of(event, printed)
        reason = stopped_for or death_of(self._process.returncode)
        if not self._has_started and stopped_for is None:
            raise HandlerUnavailableError(reason)
        return failure_of(reason, self._own_console, printed, watch.memory_peak)

    def close(self, grace_sec: Optional[float] = 0.0) -> None:
        """End the child and remove its scratch files.

        Args:
            grace_sec: Time between SIGTERM and SIGKILL, in seconds. None where the child has said
                its outcome: it is then given the time to end by itself.
        """
        if grace_sec is None:
            self._event_reader.join(_PIPE_END_SEC)  # while the other wait may sleep too long
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_EXIT_SEC)
        end_group(self._process, grace_sec or 0.0)
        self._sentinel.forget(self._process)
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None  # noqa: S101 - it was asked for
            self._process.stdin.close()
        for reader in (self._console_reader, self._event_reader):
            reader.join(_DRAIN_SEC)
        # A descendant that left the group may keep the pipes open: its prints are nobody's now.
        self._finished = True
        remove_scratch(self.scratch)

    # --- the child's two pipes -------------------------------------------------------------

    def _read_console(self, pipe: IO[bytes]) -> None:
        with pipe:
            while not self._finished:
                data = os.read(pipe.fileno(), 65536)
                if not data:
                    break
                self.console.write(data)

    def _read_events(self, pipe: IO[bytes]) -> None:
        with pipe:
            while not self._finished:
                line = pipe.readline(_MAX_EVENT_BYTES)
                if not line:
                    break
                self._take_event(line)
        self._pipe_ended_at = time.monotonic()
        self._wakeup.notify()

    def _take_event(self, line: bytes) -> None:
        try:
            event = json.loads(line)
            kind = event["event"]
        except (ValueError, TypeError, KeyError):
            return  # job code wrote into the pipe; the process's end will tell the rest
        if kind in ("outcome", "unavailable"):
            self._outcome_event = event
            self._wakeup.notify()
        elif kind == "started":
            self._has_started = True
        elif kind == "progress" and self._on_progress is not None:
            own_console = event.get("console")
            self._own_console = own_console if own_console is not None else self._own_console
            self._on_progress(event.get("current"), event.get("total"), own_console)

    # --- how it goes, and how it ended -----------------------------------------------------

    def _has_ended(self) -> bool:
        return self._outcome_event is not None or self._process.poll() is not None

    def _elapsed_sec(self) -> float:
        return time.monotonic() - self._started_at

    def _watch_sec(self) -> float:
        """Tell when to look again: soon in a job's first moments, then once a second."""
        ended_at = self._pipe_ended_at
        # The pipe ends a moment before the exit status is there. Job code may also have closed
        # it, and go on; so not for long.
        if ended_at is not None and time.monotonic() - ended_at < _WATCH_SEC:
            return _LAST_MOMENT_SEC
        return min(max(self._elapsed_sec(), _FIRST_WATCH_SEC), _WATCH_SEC)


def _reader(
    name: str, pipe: Optional[IO[bytes]], read: Callable[[IO[bytes]], None]
) -> threading.Thread:
    assert pipe is not None  # noqa: S101 - all three pipes were asked for
    thread = threading.Thread(target=read, args=(pipe,), name=name, daemon=True)
    thread.start()
    return thread


def _child_environ(environ: Mapping[str, str], scratch: str) -> Dict[str, str]:
    # The worker's keys are the runner's; job code has no use for them that would be right.
    child = {name: value for name, value in environ.items() if name not in WORKER_KEY_VARIABLES}
    # Temporary files of a job that was killed go with the scratch folder.
    child.update(dict.fromkeys(("TMPDIR", "TEMP", "TMP"), scratch))
    # A crash in C code prints where it happened.
    child["PYTHONFAULTHANDLER"] = "1"
    return child
