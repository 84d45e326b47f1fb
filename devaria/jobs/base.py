"""The base class of job handlers."""

import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Dict, List, Mapping, Optional, Protocol

from devaria.jobs.params import Param, checked_params


class HeartbeatCallback(Protocol):
    """Pass a job's newest progress and console to the runner; never waits for the network."""

    def __call__(
        self,
        progress_current: Optional[float] = None,
        progress_total: Optional[float] = None,
        console_output: Optional[str] = None,
    ) -> None:
        """Report the job's progress, its console, or both.

        Args:
            progress_current: How much is done, in the unit of `progress_total`.
            progress_total: How much there is to do; None if that is unknown.
            console_output: The whole console so far, in place of what the job printed. A handler
                that just prints need not pass it.

        Raises:
            TypeError: A progress is not a number, or the console is not a string.
        """


class JobHandler(ABC):
    """Runs the jobs of one type; each job gets a new instance in a process of its own.

    What the handler prints is the job's console. It ends in one of four ways: it returns a
    result, raises ValueError (the job's parameters are wrong), raises `JobError` (the job failed
    for a reason that the handler has foreseen), or raises anything else (the job failed).

    `devaria handlers` shows the first line of the class's docstring.
    """

    #: The parameters of such jobs, by name. Declared parameters are checked and get their defaults
    #: before `execute` is called.
    params: ClassVar[Mapping[str, Param]] = {}

    #: The time-out of jobs of this type, in seconds; None for the one set for the runner.
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
            input_params: The job's parameters. A stranger may have submitted them. Defaults that
                `params` declares are filled in.
            heartbeat_callback: Takes progress and console. Call it as often as there is news.

        Returns:
            The result: a dict of JSON values, at most 512,000 UTF-16 code units as compact JSON.
            An entry `console_output` (string) is taken out and reported as the console.

        Raises:
            ValueError: The parameters are invalid. Reported as `Invalid parameters: <text>`.
            JobError: The job failed, as it may. Reported as `Job execution failed: <text>`.
            Exception: The job failed. Reported as `Job execution failed: <type>: <text>`, with a
                traceback in the console that does not name paths of this machine.
        """

    @classmethod
    def missing_requirements(cls) -> List[str]:
        """Return why this machine cannot run such jobs.

        Returns:
            A sentence for each thing that is missing (package, key, program). If there is any, the
            runner does not offer the job type.
        """
        return []

    @classmethod  # noqa: B027 - a handler need not have a `preload`
    def preload(cls) -> None:
        """Import what such jobs need, before there is one.

        While a runner is idle, it calls this in the process that waits for the next job of the
        type. Only import here: what is printed is dropped, and an exception is logged and fails no
        job. Types that inherit the same `preload` share a process. The runner starts it again when
        a file of a loaded module or an installed package changes, and after an hour.
        """

    def log(self, text: str) -> None:
        """Print one console line, with the time of day before it."""
        print(time.strftime("[%H:%M:%S]"), text, flush=True)  # noqa: T201 - the job's console

    def progress(self, current: float, total: Optional[float] = None) -> None:
        """Report progress; call it as often as there is news.

        Args:
            current: How much is done, in the unit of `total`.
            total: How much there is to do; None if that is unknown.
        """
        if self._heartbeat_callback is not None:
            self._heartbeat_callback(progress_current=current, progress_total=total)

    def run(
        self,
        input_params: Dict[str, Any],
        heartbeat_callback: HeartbeatCallback,
        run_dir: Path,
    ) -> Dict[str, Any]:
        """Check the declared parameters, then call `execute`. A job process calls this.

        Args:
            input_params: The job's parameters, as they were submitted.
            heartbeat_callback: As for `execute`.
            run_dir: An empty folder, the scratch folder.

        Returns:
            What `execute` returns.

        Raises:
            ValueError: A declared parameter is missing or not allowed.
            Exception: What `execute` raises.
        """
        self._heartbeat_callback = heartbeat_callback
        self.run_dir = run_dir
        return self.execute(checked_params(self.params, input_params), heartbeat_callback)
