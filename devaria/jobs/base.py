"""What a job handler is: the one class that a new job type derives from."""

import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Dict, List, Mapping, Optional, Protocol

from devaria.jobs.params import Param, checked_params


class HeartbeatCallback(Protocol):
    """Hands a job's newest progress and console to the runner; it never waits for the network."""

    def __call__(
        self,
        progress_current: Optional[float] = None,
        progress_total: Optional[float] = None,
        console_output: Optional[str] = None,
    ) -> None:
        """Report where the job stands.

        Args:
            progress_current: How much is done, in the unit of ``progress_total``.
            progress_total: How much there is to do; None where that is unknown.
            console_output: The whole console so far. Replaces what the job printed; a handler
                that just prints need not pass it.

        Raises:
            TypeError: A progress is not a number, or the console not a string.
        """


class JobHandler(ABC):
    """Runs the jobs of one type; each job gets a new instance in a process of its own.

    What the handler prints is the job's console. It may end in three ways: return a result,
    raise ValueError (the job's parameters are wrong), or raise anything else (the job failed).

    The first line of the class's docstring is shown by ``devaria handlers``.
    """

    #: What parameters such jobs take, by name. Those that are declared are checked before
    #: `execute` is called, and get their defaults.
    params: ClassVar[Mapping[str, Param]] = {}

    #: Running time that a job of this type may take, in seconds; None for the runner's own limit.
    timeout_sec: ClassVar[Optional[float]] = None

    #: A scratch folder for this job's files; removed after the job, whatever happens.
    run_dir: Path

    _heartbeat_callback: Optional[HeartbeatCallback] = None

    @abstractmethod
    def execute(
        self, input_params: Dict[str, Any], heartbeat_callback: HeartbeatCallback
    ) -> Dict[str, Any]:
        """Run one job.

        Args:
            input_params: The job's parameters, as its submitter (a stranger) gave them, with the
                defaults of those that `params` declares.
            heartbeat_callback: Takes progress and console; call it as often as there is news.

        Returns:
            The result: a dict of JSON values, at most 512,000 UTF-16 code units as compact JSON.
            An entry ``console_output`` (string) is taken out and reported as the console.

        Raises:
            ValueError: The parameters are invalid. Reported as ``Invalid parameters: <text>``.
            Exception: The job failed. Reported as ``Job execution failed: <type>: <text>``.
        """

    @classmethod
    def missing_requirements(cls) -> List[str]:
        """Say what keeps this machine from running such jobs.

        Returns:
            One human-readable reason a missing thing (package, key, program); empty if ready.
            With any reason, the runner does not advertise the job type.
        """
        return []

    def log(self, text: str) -> None:
        """Print one console line, with the time of day before it.

        Args:
            text: The line.
        """
        print(time.strftime("[%H:%M:%S]"), text, flush=True)  # noqa: T201 - the job's console

    def progress(self, current: float, total: Optional[float] = None) -> None:
        """Tell how far the job is; as often as there is news.

        Args:
            current: How much is done, in the unit of ``total``.
            total: How much there is to do; None where that is unknown.
        """
        if self._heartbeat_callback is not None:
            self._heartbeat_callback(progress_current=current, progress_total=total)

    def run(
        self,
        input_params: Dict[str, Any],
        heartbeat_callback: HeartbeatCallback,
        run_dir: Path,
    ) -> Dict[str, Any]:
        """Check the declared parameters, then execute the job. What runs jobs calls this.

        Args:
            input_params: The job's parameters.
            heartbeat_callback: Takes progress and console.
            run_dir: The scratch folder.

        Returns:
            What `execute` returns.

        Raises:
            ValueError: A declared parameter is missing or not allowed.
            Exception: As `execute` raises it.
        """
        self._heartbeat_callback = heartbeat_callback
        self.run_dir = run_dir
        return self.execute(checked_params(self.params, input_params), heartbeat_callback)
