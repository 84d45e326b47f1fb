"""Memory and CPU time of a process and its children (Linux)."""

import contextlib
import os
import time
from pathlib import Path
from typing import List, Tuple

#: Time between two samples of memory, in seconds.
SAMPLE_SEC = 0.005


def watch(pid: int) -> Tuple[float, float]:
    """Wait for a process to end, and measure it.

    Args:
        pid: A child of this process.

    Returns:
        The peak of the resident memory of the process and its children together, in bytes (shared
        memory counts for each of them); and their CPU time in seconds.
    """
    peak = 0
    while True:
        done, _, usage = os.wait4(pid, os.WNOHANG)
        if done:
            return float(max(peak, usage.ru_maxrss * 1024)), usage.ru_utime + usage.ru_stime
        peak = max(peak, _tree_bytes(pid))
        time.sleep(SAMPLE_SEC)


def _tree_bytes(pid: int) -> int:
    total = 0
    for member in (pid, *_children(pid)):
        with contextlib.suppress(OSError):
            pages = int(Path(f"/proc/{member}/statm").read_text().split()[1])
            total += pages * os.sysconf("SC_PAGE_SIZE")
    return total


def _children(pid: int) -> List[int]:
    try:
        return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
