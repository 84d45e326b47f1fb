"""The limits of a job, and the check whether it exceeds one."""

from dataclasses import dataclass
from typing import Optional, Type

import psutil

from devaria.jobs import JobHandler

_MEGABYTE = 1_000_000

#: The fraction of the machine's memory that one job may use if the operator sets no limit.
_DEFAULT_MEMORY_PART = 0.9


@dataclass(frozen=True)
class JobLimits:
    """The limits of one job.

    Args:
        timeout_sec: Running time, in seconds.
        memory_bytes: Resident memory of the job process and all that it starts, in bytes.
    """

    timeout_sec: float
    memory_bytes: float

    @classmethod
    def for_handler(
        cls, handler: Type[JobHandler], default_timeout_sec: float, memory_bytes: float
    ) -> "JobLimits":
        """Return the limits of a handler's jobs.

        Args:
            handler: The handler class, whose own time-out takes precedence.
            default_timeout_sec: The time-out if the handler sets none, in seconds.
            memory_bytes: Resident memory of the job process and all that it starts, in bytes.
        """
        own = handler.timeout_sec
        return cls(default_timeout_sec if own is None else own, memory_bytes)


@dataclass
class LimitWatch:
    """Checks whether a running job exceeds a limit.

    Args:
        pid: The job process.
        limits: The limits of the job.
        memory_peak: The most memory that was measured, in bytes; 0 before the first measurement.
    """

    pid: int
    limits: JobLimits
    memory_peak: int = 0

    def beyond(self, elapsed_sec: float) -> Optional[str]:
        """Return which limit the job has exceeded, as a clause; None if it has exceeded none.

        Args:
            elapsed_sec: How long the job has been running, in seconds.
        """
        if elapsed_sec > self.limits.timeout_sec:
            return f"it ran longer than its time limit of {self.limits.timeout_sec:,.0f} s"
        used = tree_bytes(self.pid)
        self.memory_peak = max(self.memory_peak, used)
        if used > self.limits.memory_bytes:
            return (
                f"it used {used / _MEGABYTE:,.0f} MB of memory; "
                f"its limit is {self.limits.memory_bytes / _MEGABYTE:,.0f} MB"
            )
        return None


def memory_bound_bytes(gigabytes: Optional[float]) -> float:
    """Return how much memory a job may use, in bytes.

    Args:
        gigabytes: The operator's choice, in 10^9 bytes; None for 90 % of the machine's memory.
    """
    if gigabytes is not None:
        return gigabytes * 1e9
    return float(psutil.virtual_memory().total * _DEFAULT_MEMORY_PART)


def tree_bytes(pid: int) -> int:
    """Return the resident memory of a process and all its descendants, in bytes.

    Memory that they share counts once for each. The sum is 0 if the process is gone.

    Args:
        pid: The process at the root.
    """
    try:
        root = psutil.Process(pid)
        tree = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0
    return sum(_resident_bytes(process) for process in tree)


def _resident_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:  # the process has ended meanwhile
        return 0
