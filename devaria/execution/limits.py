"""What one job may use, and the look at whether it uses more."""

from dataclasses import dataclass
from typing import Optional, Type

from devaria.execution.process_group import tree_bytes
from devaria.jobs import JobHandler

_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class JobLimits:
    """What one job may use.

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
        """TEMP."""
        of_its_own = handler.timeout_sec
        return cls(default_timeout_sec if of_its_own is None else of_its_own, memory_bytes)


class LimitWatch:
    """Looks at what a running job uses.

    Args:
        pid: The job process.
        limits: What the job may use.
    """

    def __init__(self, pid: int, limits: JobLimits) -> None:
        #: The most memory that was seen, in bytes; 0 where none was.
        self.memory_peak = 0
        self._pid = pid
        self._limits = limits

    def beyond(self, elapsed_sec: float) -> Optional[str]:
        """Say which limit the job is beyond; None where it keeps them.

        Args:
            elapsed_sec: For how long it has been running, in seconds.
        """
        if elapsed_sec > self._limits.timeout_sec:
            return f"it ran longer than its time limit of {self._limits.timeout_sec:,.0f} s"
        used = tree_bytes(self._pid)
        self.memory_peak = max(self.memory_peak, used)
        if used > self._limits.memory_bytes:
            return (
                f"it used {used / _MEGABYTE:,.0f} MB of memory; "
                f"its limit is {self._limits.memory_bytes / _MEGABYTE:,.0f} MB"
            )
        return None
