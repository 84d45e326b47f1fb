"""A job process that has imported ahead, as the runner sees it.

`devaria.execution.preload` is what runs inside.
"""

import time
from typing import Callable, Mapping, Optional, Sequence

from devaria.common.child_process import Sentinel, exit_text
from devaria.common.timing import Timing
from devaria.execution.console import Console
from devaria.execution.events import Event, Preloaded
from devaria.execution.limits import JobLimits
from devaria.execution.outcome import JobOutcome
from devaria.execution.process import JobProcess
from devaria.execution.signals import Wakeup
from devaria.jobs.loading import HandlerUnavailableError


class OutOfDateError(Exception):
    """A process that had imported ahead did not run its job; a new process must."""


class PreloadedProcess(JobProcess):
    """A child process that calls `preload` of some handlers, then waits for one job.

    Args:
        job_types: The types whose handlers' `preload` it calls.
        wakeup: As for `JobProcess`.
        environ: As for `JobProcess`.
        handlers: As for `JobProcess`.
        sentinel: As for `JobProcess`.
        runner_id: As for `JobProcess`.
        timing: How long to wait, and when the process is out of date.

    Raises:
        OSError: The process cannot be started, or the scratch folder cannot be made.
    """

    def __init__(
        self,
        job_types: Sequence[str],
        wakeup: Wakeup,
        environ: Mapping[str, str],
        handlers: Sequence[str],
        sentinel: Sentinel,
        runner_id: str,
        timing: Timing,
    ) -> None:
        self._is_imported = False
        self._problem: Optional[str] = None
        self._give_up_at = time.monotonic() + timing.preload_sec
        self._begun_in = dict(environ)
        self._environ = environ
        super().__init__(wakeup, environ, handlers, sentinel, runner_id, timing)
        self._is_in_use = True
        self._process.hand_over(
            {
                "preload": list(job_types),
                "handlers": list(handlers),
                "max_age_sec": timing.preloaded_age_sec,
                "check_sec": timing.preloaded_check_sec,
            }
        )

    @property
    def is_ready(self) -> bool:
        """Whether the imports are done, and the process waits for its job."""
        is_imported = self._is_imported and self._problem is None
        return is_imported and self.is_waiting and self._environ == self._begun_in

    @property
    def is_out_of_date(self) -> bool:
        """Whether the process was ready once, and is to be replaced."""
        return self._is_imported and self.problem is None and not self.is_ready

    @property
    def problem(self) -> Optional[str]:
        """What went wrong with the imports; None if nothing has."""
        if self._problem is not None:
            return self._problem
        code = self._process.poll()
        if code is not None and (code != 0 or not self._is_imported):
            return f"its process {exit_text(code)}"
        if not self._is_imported and time.monotonic() > self._give_up_at:
            return f"it took more than {self._timing.preload_sec:g} s"
        return None

    def drop_console(self) -> None:
        """Forget what the imports have printed: it is not of the job. Call it before the job."""
        self.console = Console()

    def wait(self, limits: JobLimits, why_stop: Callable[[], Optional[str]]) -> JobOutcome:
        """Wait for the job's end, as `JobProcess.wait` does.

        Raises:
            OutOfDateError: The job did not run.
        """
        try:
            return super().wait(limits, why_stop)
        except HandlerUnavailableError:
            # It may have met a change that a new process does not meet.
            raise OutOfDateError from None

    def _take_event(self, event: Event) -> None:
        if isinstance(event, Preloaded):
            self._problem = event.problem
            self._is_imported = True
        else:
            super()._take_event(event)
