"""The process for the next job: started ahead, so that its start-up costs no time."""

import logging
from typing import Optional

from devaria.common.config import RunnerSettings
from devaria.execution.process import JobProcess
from devaria.execution.process_group import Sentinel
from devaria.execution.signals import Wakeup
from devaria.runner.retrying import Caller

#: How long to wait where a claimed job's process cannot be started, in seconds.
START_RETRY_SEC = 30.0

_log = logging.getLogger(__name__)


class NextProcess:
    """Starts job processes, one ahead of need.

    Args:
        settings: The operator's choices.
        caller: Waits for the main thread.
        wakeup: Is notified at every event of a job process.
    """

    def __init__(self, settings: RunnerSettings, caller: Caller, wakeup: Wakeup) -> None:
        self._settings = settings
        self._caller = caller
        self._wakeup = wakeup
        self._sentinel = Sentinel()
        self._process: Optional[JobProcess] = None

    def start(self) -> None:
        """Start it now, where it is not there already.

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
                self._caller.client.runner_id,
            )

    def drop(self) -> None:
        """End it unused, where it is there."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def take(self) -> JobProcess:
        """Hand it out; wait until there is one.

        Raises:
            AbandonedError: The operator ends the runner first.
        """
        while True:
            try:
                self.start()
            except OSError as error:
                _log.error("cannot start a job process, trying on: %s", error)
                self._caller.pause(START_RETRY_SEC)
            process, self._process = self._process, None
            if process is not None:
                return process
