"""The limits of a job, and the check whether it exceeds one."""

import math
from dataclasses import dataclass
from typing import Optional, Type

import psutil

from devaria.execution.cgroup import JobGroup
from devaria.execution.usage import DiskUse, SharedMemory, processes_of, resident_bytes
from devaria.jobs import JobHandler

_MEGABYTE = 1_000_000

#: The fraction of the machine's memory that one job may use if the operator sets no limit.
_DEFAULT_MEMORY_PART = 0.9


@dataclass(frozen=True)
class JobLimits:
    """The limits of one job.

    Args:
        timeout_sec: Running time, in seconds.
        memory_bytes: Memory of the job process, of all that it starts, and of the files in
            `/dev/shm` that they make, in bytes.
        disk_bytes: What the job's scratch folder takes on disk, in bytes.
    """

    timeout_sec: float
    memory_bytes: float
    disk_bytes: float = math.inf

    @classmethod
    def for_handler(
        cls,
        handler: Type[JobHandler],
        default_timeout_sec: float,
        memory_bytes: float,
        disk_bytes: float = math.inf,
    ) -> "JobLimits":
        """Return the limits of a handler's jobs.

        Args:
            handler: The handler class, whose own time-out takes precedence.
            default_timeout_sec: The time-out if the handler sets none, in seconds.
            memory_bytes: Memory, in bytes.
            disk_bytes: Disk space, in bytes.
        """
        own = handler.timeout_sec
        return cls(default_timeout_sec if own is None else own, memory_bytes, disk_bytes)


class LimitWatch:
    """Checks whether a job exceeds a limit. Make it before the job begins.

    Args:
        pid: The process that the runner has started for the job.
        scratch: The job's scratch folder.
        group: The job's control group, or None.

    Attributes:
        memory_peak: The most memory that was measured, in bytes; 0 before the first measurement.
    """

    def __init__(self, pid: int, scratch: str, group: Optional[JobGroup] = None) -> None:
        self.memory_peak = 0
        self._pid = pid
        self._group = group
        self._shared = SharedMemory()
        self._disk = DiskUse(scratch)

    def beyond(self, limits: JobLimits, elapsed_sec: float) -> Optional[str]:
        """Return which limit the job has exceeded, as a clause; None if it has exceeded none.

        Args:
            limits: The limits of the job.
            elapsed_sec: How long the job has been running, in seconds.
        """
        if elapsed_sec > limits.timeout_sec:
            return f"it ran longer than its time limit of {limits.timeout_sec:,.0f} s"
        used = self._memory_bytes(limits.memory_bytes)
        self.memory_peak = max(self.memory_peak, used)
        if used > limits.memory_bytes:
            return (
                f"it used {_megabytes(used)} of memory; "
                f"its limit is {_megabytes(limits.memory_bytes)}"
            )
        on_disk = self._disk.bytes()
        if on_disk > limits.disk_bytes:
            return (
                f"its files in run_dir took {_megabytes(on_disk)} of disk; "
                f"its limit is {_megabytes(limits.disk_bytes)}"
            )
        return None

    def _memory_bytes(self, limit: float) -> int:
        of_group = None if self._group is None else self._group.memory_bytes()
        if of_group is not None:
            return of_group
        processes = processes_of(self._pid)
        resident = resident_bytes(processes)
        if resident + self._shared.upper_bytes() <= limit:
            return resident
        # Whose the files are takes a while to find out, so only a job near its limit is asked.
        return resident + self._shared.bytes_beside(processes)


def memory_bound_bytes(gigabytes: Optional[float]) -> float:
    """Return how much memory a job may use, in bytes.

    Args:
        gigabytes: The operator's choice, in 10^9 bytes; None for 90 % of the machine's memory.
    """
    if gigabytes is not None:
        return gigabytes * 1e9
    return float(psutil.virtual_memory().total * _DEFAULT_MEMORY_PART)


def _megabytes(number: float) -> str:
    return f"{number / _MEGABYTE:,.0f} MB"
