"""Start the processes for the next jobs before they are needed.

A job process takes longer to start than the rest of a short job takes. So the runner starts one
while a claim is on its way. If more jobs of the list are left, it starts those for the next two
while a job runs. An idle runner keeps only processes that have imported ahead, for the types that
ask for it.
"""

import contextlib
import logging
from typing import List

from devaria.common.child_process import Sentinel
from devaria.common.config import RunnerSettings
from devaria.execution.process import JobProcess
from devaria.execution.signals import Wakeup
from devaria.runner.preloads import Preloads
from devaria.runner.retrying import Caller

_log = logging.getLogger(__name__)


#: How many processes wait for the next jobs while one runs. Two start on two cores at a time.
_MAX_WAITING = 2


class Prestart:
    """Keeps processes ready for the next jobs.

    Args:
        settings: The operator's choices.
        caller: Pauses the main thread between two tries.
        wakeup: Notified at every event of a job process.
    """

    def __init__(self, settings: RunnerSettings, caller: Caller, wakeup: Wakeup) -> None:
        #: How many jobs will probably follow the current one.
        self.num_expected = 0
        self._settings = settings
        self._caller = caller
        self._wakeup = wakeup
        self._sentinel = Sentinel()
        self._waiting: List[JobProcess] = []
        #: The processes that have imported ahead.
        self.preloads = Preloads(settings, wakeup, self._sentinel)

    def start(self, runner_id: str, job_type: str) -> None:
        """Start a process for a job to be claimed, unless one is waiting already.

        Args:
            runner_id: Marks its scratch folder.
            job_type: The type of the job.

        Raises:
            OSError: It cannot be started.
        """
        self.preloads.rest()
        if not self.preloads.is_ready_for(job_type):
            self._start_until(1, runner_id)

    def start_expected(self, runner_id: str) -> None:
        """Start processes for the jobs that follow the current one.

        Args:
            runner_id: Marks their scratch folders.
        """
        with contextlib.suppress(OSError):  # the next job tries again, and logs it
            self._start_until(min(self.num_expected, _MAX_WAITING), runner_id)

    def drop(self) -> None:
        """End the processes that wait; not those that have imported ahead."""
        while self._waiting:
            self._waiting.pop().close()

    def close(self) -> None:
        """End all processes that wait."""
        self.drop()
        self.preloads.drop()

    def take(self, runner_id: str, job_type: str) -> JobProcess:
        """Return a process that waits, or a new one; wait until one can be started.

        Args:
            runner_id: Marks the scratch folder of a new one.
            job_type: The type of the job that it is for.

        Raises:
            AbandonedError: The operator ends the runner first.
        """
        while True:
            try:
                self.start(runner_id, job_type)
            except OSError as error:
                _log.error("cannot start a job process, trying again: %s", error)
                self._caller.pause(self._settings.timing.start_retry_sec)
                continue
            return self.preloads.take(job_type) or self._waiting.pop(0)

    def _start_until(self, count: int, runner_id: str) -> None:
        """Start processes until so many wait."""
        for process in [each for each in self._waiting if not each.is_waiting]:
            self._waiting.remove(process)
            process.close()
        while len(self._waiting) < count:
            process = JobProcess(
                self._wakeup,
                self._settings.environ,
                self._settings.handlers,
                self._sentinel,
                runner_id,
                self._settings.timing,
            )
            self._waiting.append(process)
