"""The job process as the runner sees it: one handler in one child process, contained.

Whatever the handler does, `JobProcess.wait` returns an outcome: its result, its exception, or how
its process ended. `devaria.execution.child` is what runs inside.
"""

import contextlib
import errno
import os
import subprocess
import threading
import time
from typing import Any, Callable, Dict, Mapping, Optional, Sequence

from devaria.common.child_process import ChildProcess, Sentinel, end_group, own_group
from devaria.common.config import without_runners_keys
from devaria.common.errors import out_of_resources
from devaria.common.timing import Timing
from devaria.execution.cgroup import new_group
from devaria.execution.console import Console
from devaria.execution.events import Event, Heard, Misfit, Progress, Unavailable, parsed
from devaria.execution.keeper import KILL_SEC, end_orphans, has_keeper, resume
from devaria.execution.limits import JobLimits, LimitWatch
from devaria.execution.outcome import JobOutcome, death_of, failure_of, outcome_of
from devaria.execution.scratch import Scratch
from devaria.execution.signals import Wakeup
from devaria.jobs.loading import HandlerUnavailableError

#: The time until the first check of the limits, in seconds. Later checks are further apart.
_FIRST_WATCH_SEC = 0.1
#: The time between two checks of a child that has closed its pipe, in seconds.
_ENDING_WATCH_SEC = 0.01
#: How long to wait for the end of the pipe before waiting for the process itself, in seconds. The
#: end of the pipe is noticed at once; a wait for a process sleeps up to 50 ms between two checks.
_PIPE_END_SEC = 0.05

_TIMING = Timing()

#: Called with the job's newest progress_current, progress_total, and own console or None.
ProgressCallback = Callable[[Optional[float], Optional[float], Optional[str]], None]


class JobProcess:
    """A child process that waits for one job, runs it, and ends.

    It may be started before the job is known, and closed unused.

    Args:
        wakeup: Notified when the child has an outcome or ends.
        environ: The runner's environment. The child gets it without the runner's keys.
        handlers: Handlers beside the built-in ones, as `devaria.jobs.loading` takes them.
        sentinel: Ends the child if this process is killed; None for one of its own.
        runner_id: Marks the scratch folder, so that `sweep` can find it if the runner is killed.
        timing: How long to wait for the child.

    Raises:
        OSError: The process cannot be started, or the scratch folder cannot be made.
    """

    def __init__(
        self,
        wakeup: Wakeup,
        environ: Mapping[str, str],
        handlers: Sequence[str] = (),
        sentinel: Optional[Sentinel] = None,
        runner_id: Optional[str] = None,
        timing: Timing = _TIMING,
    ) -> None:
        self._timing = timing
        self.console = Console()
        self._wakeup = wakeup
        self._handlers = list(handlers)
        self._sentinel = sentinel or Sentinel()
        self._on_progress: Optional[ProgressCallback] = None
        self._heard = Heard()
        self._reader_error: Optional[Exception] = None
        self._finished = False
        #: Whether foreign code may have run in the child, and may have started something.
        self._is_in_use = False
        self._started_at = 0.0
        self._pipe_ended_at: Optional[float] = None
        self._scratch = Scratch(environ, runner_id)
        self._group = new_group()
        try:
            self._process = self._start(environ)
        except BaseException:
            self._remove_places()
            raise
        try:
            self._console_reader = _started_thread("job-console", self._read_console)
            self._event_reader = _started_thread("job-events", self._read_events)
        except BaseException:
            self._end_process(0.0)
            self._sentinel.forget(self._process)
            self._process.end()
            self._remove_places()
            raise

    def _start(self, environ: Mapping[str, str]) -> ChildProcess:
        process = ChildProcess(
            "devaria.execution.child",
            *([] if self._group is None else [str(self._group.path)]),
            env=_child_environ(environ, self.scratch),
            stderr=subprocess.PIPE,
            **own_group(),
        )
        try:
            if not has_keeper():
                self._sentinel.watch(process)
        except BaseException:
            end_group(process, 0.0)
            process.end()
            raise
        return process

    @property
    def scratch(self) -> str:
        """The scratch folder of the job."""
        return self._scratch.path

    @property
    def is_waiting(self) -> bool:
        """Whether the child is still there to take a job."""
        return self._process.poll() is None

    def hand_over(
        self, job_type: str, input_params: Mapping[str, Any], on_progress: ProgressCallback
    ) -> None:
        """Give the child its job, which it runs at once.

        Args:
            job_type: The job type.
            input_params: The job's parameters, JSON values.
            on_progress: Called from another thread with the handler's news.
        """
        self._on_progress = on_progress
        self._is_in_use = True
        self._watch = LimitWatch(self._process.pid, self.scratch, self._group)
        self._started_at = time.monotonic()
        self._process.hand_over(
            {
                "job_type": job_type,
                "input_params": input_params,
                "handlers": self._handlers,
                "run_dir": self.scratch,
            }
        )

    def wait(self, limits: JobLimits, why_stop: Callable[[], Optional[str]]) -> JobOutcome:
        """Wait for the job's end. The child is gone when this returns.

        Args:
            limits: The limits of the job. A job that exceeds one is ended, with an error that
                says so.
            why_stop: Called after every wake-up; returns a reason to end the job now, or None.

        Returns:
            How the job ended.

        Raises:
            HandlerUnavailableError: The child could not load the handler, or died before it had.
                The job did not run.
            Exception: The runner has run out of memory; `out_of_resources` holds for it.
        """
        stopped_for = None
        while stopped_for is None and not self._has_ended():
            self._wakeup.wait(self._watch_sec())
            stopped_for = why_stop()
            if stopped_for is None and not self._has_ended():
                stopped_for = self._watch.beyond(limits, self._elapsed_sec())
        self.close(grace_sec=None if stopped_for is None else self._timing.job_exit_sec)
        end, printed = self._heard.end, self.console.end()
        if end is None and self._reader_error is not None:
            raise self._reader_error
        if isinstance(end, Unavailable):
            raise HandlerUnavailableError(end.reason)
        if end is not None:
            return outcome_of(end, self._heard.own_console, printed)
        reason = stopped_for or death_of(self._process.returncode, self._heard)
        if not self._heard.has_started and stopped_for is None:
            raise HandlerUnavailableError(reason)
        return failure_of(reason, self._heard.own_console, printed, self._watch.memory_peak)

    def close(self, grace_sec: Optional[float] = 0.0) -> None:
        """End the child and remove its scratch files.

        Args:
            grace_sec: Time between SIGTERM and SIGKILL, in seconds. None if the child has sent
                its outcome: it then gets some time to end by itself.
        """
        if self._finished:
            return
        if grace_sec is None:
            self._event_reader.join(_PIPE_END_SEC)
            self._wait_for_exit(self._timing.job_exit_sec)
        self._end_process(grace_sec or 0.0)
        self._sentinel.forget(self._process)
        self._process.close_stdin()
        for reader in (self._console_reader, self._event_reader):
            reader.join(self._timing.job_drain_sec)
        # A descendant that cannot be killed may keep the pipes open. Its output no longer counts.
        self._finished = True
        self._remove_places()

    def _remove_places(self) -> None:
        if self._group is not None:
            self._group.end()
        self._scratch.remove()

    def _end_process(self, grace_sec: float) -> None:
        """End the child, and all that it has started."""
        if has_keeper() and self._is_in_use:
            resume(self._process)
            if self._process.poll() is None and grace_sec > 0:
                self._process.terminate()  # the keeper passes it on
                self._wait_for_exit(grace_sec)
            # The keeper then kills all that is left, also what has left the group.
            self._process.close_stdin()
            self._wait_for_exit(KILL_SEC + self._timing.job_exit_sec)
            grace_sec = 0.0
        end_group(self._process, grace_sec)
        end_orphans()

    def _wait_for_exit(self, timeout_sec: float) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_sec)

    # --- the child's two pipes -------------------------------------------------------------

    def _read_console(self) -> None:
        assert self._process.stderr is not None  # noqa: S101 - started with stderr=PIPE
        with self._process.stderr as pipe:
            while not self._finished:
                # Read on without memory, too: what nobody reads would stop the child.
                with contextlib.suppress(MemoryError):
                    data = os.read(pipe.fileno(), 65536)
                    if not data:
                        break
                    self.console.write(data)

    def _read_events(self) -> None:
        try:
            for event in self._process.events():
                if self._finished:
                    break
                self._take_event(parsed(event))
        except Exception as error:
            if out_of_resources(error):
                self._reader_error = error  # the main thread raises it
            else:
                self._heard.take(Misfit("unreadable", repr(error)))
        self._pipe_ended_at = time.monotonic()
        self._wakeup.notify()

    def _take_event(self, event: Event) -> None:
        self._heard.take(event)
        if self._heard.end is not None:
            self._wakeup.notify()
        elif isinstance(event, Progress) and self._on_progress is not None:
            self._on_progress(event.current, event.total, event.console)

    @property
    def traceback(self) -> Optional[str]:
        """Where a failed job has failed, in full, for the log; None if that is not known."""
        return self._heard.traceback

    # --- the state of the child ------------------------------------------------------------

    def _has_ended(self) -> bool:
        is_told = self._heard.end is not None or self._reader_error is not None
        return is_told or self._process.poll() is not None

    def _elapsed_sec(self) -> float:
        return time.monotonic() - self._started_at

    def _watch_sec(self) -> float:
        """Return the time until the next check of the child, in seconds."""
        ended_at = self._pipe_ended_at
        # The pipe ends a moment before the exit code is there. But job code may also have closed
        # the pipe and go on, so the short waits last only a while.
        if ended_at is not None and time.monotonic() - ended_at < self._timing.job_watch_sec:
            return _ENDING_WATCH_SEC
        return min(max(self._elapsed_sec(), _FIRST_WATCH_SEC), self._timing.job_watch_sec)


def _started_thread(name: str, target: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=target, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, str(error)) from error
    return thread


def _child_environ(environ: Mapping[str, str], scratch: str) -> Dict[str, str]:
    child = without_runners_keys(environ)
    # The temporary files of a killed job are then removed with the scratch folder.
    child.update(dict.fromkeys(("TMPDIR", "TEMP", "TMP"), scratch))
    return child
