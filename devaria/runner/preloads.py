"""The processes that import ahead while the runner is idle: which there are, and when.

Types whose handlers inherit the same `preload` share a process. Handlers of different authors do
not: what one imports cannot harm the other's jobs.
"""

import contextlib
import logging
import time
from typing import Callable, Dict, List, Mapping, Optional, Sequence, Type

from devaria.common.child_process import Sentinel
from devaria.common.config import RunnerSettings
from devaria.common.timing import Timing
from devaria.execution.preloaded import PreloadedProcess
from devaria.execution.process import JobProcess
from devaria.execution.signals import Wakeup
from devaria.jobs import JobHandler

_log = logging.getLogger(__name__)


class Preloads:
    """Keeps a process ready for each group of job types that import ahead.

    Args:
        settings: The operator's choices.
        wakeup: Calls `tend` regularly while the main thread waits.
        sentinel: Ends the processes if this one is killed.
    """

    def __init__(self, settings: RunnerSettings, wakeup: Wakeup, sentinel: Sentinel) -> None:
        self._settings = settings
        self._wakeup = wakeup
        self._sentinel = sentinel
        self._groups: List[_Group] = []
        self._runner_id: Optional[str] = None
        self._starts_at = 0.0

    def offer(self, handlers: Mapping[str, Type[JobHandler]]) -> None:
        """Take the handlers of the job types that the runner offers, by type."""
        if not self._settings.preload or self._settings.burst:
            return
        job_types: Dict[type, List[str]] = {}
        for job_type, handler in handlers.items():
            owner = next(each for each in handler.__mro__ if "preload" in vars(each))
            if owner is not JobHandler:
                job_types.setdefault(owner, []).append(job_type)
        self._groups = [_Group(types, self._settings.timing) for types in job_types.values()]

    def attend(self, runner_id: str) -> None:
        """Keep processes ready from now on, until a job comes.

        Args:
            runner_id: Marks their scratch folders.
        """
        if self._groups and self._runner_id is None:
            after_sec = self._settings.timing.preload_after_sec
            self._runner_id = runner_id
            self._starts_at = time.monotonic() + after_sec
            self._wakeup.do_soon(after_sec)

    def tend(self) -> None:
        """Start what is missing, and replace what is out of date. Call it every few seconds."""
        if self._runner_id is not None and time.monotonic() >= self._starts_at:
            for group in self._groups:
                group.tend(self._started)

    def rest(self) -> None:
        """Start nothing for now: there is a job. End what is not ready, since it would delay it."""
        self._runner_id = None
        for group in self._groups:
            if not group.is_ready:
                group.drop()

    def is_ready_for(self, job_type: str) -> bool:
        """Return whether a process is ready for jobs of a type."""
        return any(group.is_ready and job_type in group.job_types for group in self._groups)

    def take(self, job_type: str) -> Optional[JobProcess]:
        """Return the process that is ready for a job of this type, and forget it; None if none."""
        for group in self._groups:
            if group.is_ready and job_type in group.job_types:
                return group.take()
        return None

    def drop(self) -> None:
        """End all processes."""
        self._runner_id = None
        for group in self._groups:
            group.drop()

    def _started(self, job_types: Sequence[str]) -> PreloadedProcess:
        assert self._runner_id is not None  # noqa: S101 - `tend` looked
        return PreloadedProcess(
            job_types,
            self._wakeup,
            self._settings.environ,
            self._settings.handlers,
            self._sentinel,
            self._runner_id,
            self._settings.timing,
        )


class _Group:
    """The process of some job types, and what became of the last one."""

    def __init__(self, job_types: Sequence[str], timing: Timing) -> None:
        self.job_types = job_types
        self._timing = timing
        self._process: Optional[PreloadedProcess] = None
        self._started_at = 0.0
        self._next_start_at = 0.0
        self._is_said_to_be_ready = False
        self._problem_said: Optional[str] = None

    @property
    def is_ready(self) -> bool:
        return self._process is not None and self._process.is_ready

    def tend(self, start: Callable[[Sequence[str]], PreloadedProcess]) -> None:
        if self._process is not None and self._process.problem is not None:
            self._say(self._process.problem)
            self._next_start_at = time.monotonic() + self._timing.preloaded_age_sec
            self.drop()
        elif self._process is not None and self._process.is_out_of_date:
            # Not at once again: something may change all the time.
            self._next_start_at = self._started_at + self._timing.preloaded_check_sec
            self.drop()
        if self._process is None and time.monotonic() >= self._next_start_at:
            with contextlib.suppress(OSError):  # the next job would meet that too, and logs it
                self._started_at = time.monotonic()
                self._process = start(self.job_types)
            self._is_said_to_be_ready = False
        if self.is_ready and not self._is_said_to_be_ready:
            self._is_said_to_be_ready = True
            _log.debug("%s: imported ahead", ", ".join(self.job_types))

    def take(self) -> Optional[PreloadedProcess]:
        process, self._process = self._process, None
        if process is not None:
            process.drop_console()
        return process

    def drop(self) -> None:
        if self._process is not None:
            self._process.close()
            self._process = None

    def _say(self, problem: str) -> None:
        if problem != self._problem_said:
            self._problem_said = problem
            _log.warning("%s: imports nothing ahead: %s", ", ".join(self.job_types), problem)
