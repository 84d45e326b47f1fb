"""A control group (cgroup v2) for each job, where the system lets this runner make some.

systemd does so for a unit with `Delegate=yes`. It marks the unit's group with the attribute
`user.delegate` (version 251 and later). All that a job starts is in its group, whatever it does. So
the kernel can kill all of it at once, and count its memory, files in `/dev/shm` included. Without
such a group, the job's keeper (`devaria.execution.keeper`) does what it can.

Sources: docs.kernel.org/admin-guide/cgroup-v2.html; systemd.io/CGROUP_DELEGATION.
"""

import contextlib
import functools
import itertools
import os
import time
from pathlib import Path
from typing import Iterator, Optional

_PREFIX = "devaria-job-"
#: The group that the runner itself moves to: one that has groups with limits may have no processes.
_RUNNERS_OWN = "devaria-runner"
_MARKS = ("user.delegate", "trusted.delegate")

#: How often a group is removed that is not empty yet, and the time between, in seconds.
_REMOVE_TRIES = 50
_REMOVE_GAP_SEC = 0.002

_numbers = itertools.count()


class JobGroup:
    """The control group of one job.

    Args:
        path: Its folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def memory_bytes(self) -> Optional[int]:
        """Return the memory of the job's processes and of its shared memory files, in bytes.

        The kernel's caches of files, which it gives back when it needs the room, do not count.

        Returns:
            None if the kernel does not count here, or the job is not in the group.
        """
        try:
            lines = (self.path / "memory.stat").read_text(encoding="ascii").splitlines()
            counts = {name: int(count) for name, count in map(str.split, lines)}
            return (counts["anon"] + counts["shmem"]) or None
        except (OSError, ValueError, KeyError):
            return None

    def end(self) -> None:
        """Kill all that is in the group, and remove it."""
        with contextlib.suppress(OSError):
            (self.path / "cgroup.kill").write_text("1", encoding="ascii")
        for _ in range(_REMOVE_TRIES):
            _remove(self.path)
            if not self.path.exists():
                break
            time.sleep(_REMOVE_GAP_SEC)  # what was killed takes a moment to end


def new_group() -> Optional[JobGroup]:
    """Make a group for a job. Return None where this process may make none."""
    parent = _parent_of_groups()
    if parent is None:
        return None
    path = parent / f"{_PREFIX}{os.getpid()}-{next(_numbers)}"
    try:
        path.mkdir()
    except OSError:
        return None
    return JobGroup(path)


@functools.lru_cache(maxsize=1)
def _parent_of_groups() -> Optional[Path]:
    """Prepare the group in which jobs get theirs, once. Return it, or None."""
    own = _own_group()
    # With `DelegateSubgroup=`, this process is in a group below the one that is delegated.
    parent = (
        next((each for each in (own, own.parent) if _is_delegated(each)), None) if own else None
    )
    if own is None or parent is None:
        return None
    for left in parent.glob(f"{_PREFIX}*"):
        _remove(left)  # those that are in use stay
    with contextlib.suppress(OSError):
        if "memory" in (parent / "cgroup.controllers").read_text(encoding="ascii").split():
            if own == parent:
                _move_to(parent / _RUNNERS_OWN)
            (parent / "cgroup.subtree_control").write_text("+memory", encoding="ascii")
    return parent


def _own_group() -> Optional[Path]:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            if line.startswith("0::"):
                for mounted in _places_in(Path("/proc/self/mounts").read_bytes()):
                    return mounted / line[len("0::/") :]
    return None


def _places_in(mounts: bytes) -> Iterator[Path]:
    """Return where control groups are mounted. A mount's name may be any bytes."""
    for line in mounts.decode("utf-8", "surrogateescape").splitlines():
        _device, place, kind, *_rest = line.split()
        if kind == "cgroup2":
            yield Path(place)


def _is_delegated(group: Path) -> bool:
    for mark in _MARKS:
        with contextlib.suppress(OSError, AttributeError):  # only Linux has the function
            if os.getxattr(group, mark) == b"1":
                return os.access(group, os.W_OK) and os.access(group / "cgroup.procs", os.W_OK)
    return False


def _move_to(group: Path) -> None:
    group.mkdir(exist_ok=True)
    (group / "cgroup.procs").write_text("0", encoding="ascii")


def _remove(group: Path) -> None:
    """Remove a group and those below it: a job may make some, at any depth."""
    groups = [str(group)]
    for each in groups:  # it grows meanwhile: each group stands before those below it
        with contextlib.suppress(OSError), os.scandir(each) as entries:
            groups += [below.path for below in entries if below.is_dir(follow_symlinks=False)]
    for each in reversed(groups):
        with contextlib.suppress(OSError):
            Path(each).rmdir()
