"""Start the process for the next job before it is needed.

A job process takes longer to start than the rest of a short job takes. So the runner starts one
while a claim is on its way. If more jobs of the list are left, it starts the next one while a job
runs. An idle runner keeps only processes that have imported ahead, for the types that ask for it.
"""

import logging
from typing import Optional

from devaria.common.child_process import Sentinel
from devaria.common.config import RunnerSettings
from devaria.execution.process import JobProcess
from devaria.execution.signals import Wakeup
from devaria.runner.preloads import Preloads
from devaria.runner.retrying import Caller

_log = logging.getLogger(__name__)


class Prestart:
    """Keeps a process ready for the next job.

    Args:
        settings: The operator's choices.
        caller: Pauses the main thread between two tries.
        wakeup: Notified at every event of a job process.
    """

    def __init__(self, settings: RunnerSettings, caller: Caller, wakeup: Wakeup) -> None:
        #: Whether another job will probably follow the current one.
        self.expects_more = False
        self._settings = settings
        self._caller = caller
        self._wakeup = wakeup
        self._sentinel = Sentinel()
        self._process: Optional[JobProcess] = None
        #: The processes that have imported ahead.
        self.preloads = Preloads(settings, wakeup, self._sentinel)

    def start(self, runner_id: str, job_type: Optional[str] = None) -> None:
        """Start a process, unless one is waiting already.

        Args:
            runner_id: Marks its scratch folder.
            job_type: The type of the job that it is for; None if that is not known.

        Raises:
            OSError: It cannot be started.
        """
        self.preloads.rest()
        if job_type is not None and self.preloads.is_ready_for(job_type):
            return
        if self._process is None or not self._process.is_waiting:
            self.drop()
            self._process = JobProcess(
                self._wakeup,
                self._settings.environ,
                self._settings.handlers,
                self._sentinel,
                runner_id,
                self._settings.timing,
            )

    def drop(self) -> None:
        """End the waiting process, if there is one; not those that have imported ahead."""
        if self._process is not None:
            self._process.close()
            self._process = None

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
            preloaded = self.preloads.take(job_type)
            if preloaded is not None:
                return preloaded
            try:
                self.start(runner_id)
            except OSError as error:
                _log.error("cannot start a job process, trying again: %s", error)
                self._caller.pause(self._settings.timing.start_retry_sec)
            process, self._process = self._process, None
            if process is not None:
                return process
