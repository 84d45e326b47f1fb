"""Start the process for the next job before it is needed.

A job process takes longer to start than the rest of a short job takes. So the runner starts one
while a claim is on its way. If more jobs of the list are left, it starts the next one while a job
runs. An idle runner keeps none.
"""

import logging
from typing import Optional

from devaria.common.child_process import Sentinel
from devaria.common.config import RunnerSettings
from devaria.execution.process import JobProcess
from devaria.execution.signals import Wakeup
from devaria.runner.retrying import Caller

_log = logging.getLogger(__name__)


class Prestart:
    """Keeps at most one job process ready for the next job.

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

    def start(self, runner_id: str) -> None:
        """Start a process, unless one is waiting already.

        Args:
            runner_id: Marks its scratch folder.

        Raises:
            OSError: It cannot be started.
        """
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
        """End the waiting process, if there is one."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def take(self, runner_id: str) -> JobProcess:
        """Return the waiting process, or a new one; wait until one can be started.

        Raises:
            AbandonedError: The operator ends the runner first.
        """
        while True:
            try:
                self.start(runner_id)
            except OSError as error:
                _log.error("cannot start a job process, trying again: %s", error)
                self._caller.pause(self._settings.timing.start_retry_sec)
            process, self._process = self._process, None
            if process is not None:
                return process
