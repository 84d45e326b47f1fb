"""The end of the reading process, and what it may take of the machine."""

import contextlib
import ctypes
import signal
import sys
from typing import Iterator, Optional

from devaria.nwb.errors import NwbError
from devaria.nwb.limits import ReadLimits

#: prctl(2): the kernel sends this process a signal when its parent dies.
_PR_SET_PDEATHSIG = 1

#: After the limit of processor time, the process may go on for so long before it is killed.
_CPU_GRACE_SEC = 5

#: What HDF5, the dynamic linker and Python say when there is no memory. They say it in exceptions
#: of many types.
_NO_MEMORY = (
    "memory allocation failed",
    "annot allocate memory",
    "failed to map segment",
    "can't start new thread",
)


def die_with_parent() -> None:
    """On Linux: end with the parent, even in C code that holds the GIL."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def limit_resources(limits: ReadLimits) -> None:
    """Limit this process's address space and processor time, permanently, where the system can.

    Args:
        limits: Has both.
    """
    if sys.platform == "win32":
        return
    import resource

    memory_bytes, cpu_sec = limits.max_memory_bytes, limits.max_cpu_sec
    wanted = {
        resource.RLIMIT_AS: (memory_bytes, memory_bytes),
        resource.RLIMIT_CPU: (cpu_sec, cpu_sec + _CPU_GRACE_SEC),  # SIGXCPU, then SIGKILL
        resource.RLIMIT_CORE: (0, 0),
    }
    for kind, (soft, hard) in wanted.items():
        highest = resource.getrlimit(kind)[1]
        if highest != resource.RLIM_INFINITY:
            soft, hard = min(soft, highest), min(hard, highest)
        with contextlib.suppress(ValueError, OSError):  # macOS has no limit of memory
            resource.setrlimit(kind, (soft, hard))


def memory_fault(error: BaseException, limits: ReadLimits) -> Optional[NwbError]:
    """Return the error for a lack of memory.

    Args:
        error: An exception, perhaps caused by others.
        limits: Has the limit.

    Returns:
        The error that names the limit; None if the exception has another cause.
    """
    if not any(map(_is_about_memory, _causes(error))):
        return None
    gigabytes = limits.max_memory_bytes / 1e9
    return NwbError(
        f"reading the file takes more than the {gigabytes:,.1f} GB of memory that it may take "
        "(DEVARIA_MAX_MEMORY_BYTES)"
    )


def _causes(error: Optional[BaseException]) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_about_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or any(text in str(error) for text in _NO_MEMORY)
