"""What a job uses: memory of its processes, shared memory files, disk below its scratch folder."""

import contextlib
import errno
import math
import os
import stat
import sys
import time
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Set, Tuple

import psutil

from devaria.execution.keeper import has_keeper

#: Where shared memory has its files on Linux. They take memory, not disk.
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - no file is made there

#: The longest time that one look at the disk takes, in seconds.
_LOOK_SEC = 0.02
#: A full count of the disk is begun again after this many times as long as the last one took.
_REST_FACTOR = 5.0

#: So many entries of one folder are counted without a pause.
_ENTRIES_AT_ONCE = 256

#: A device and a file's number on it.
_FileId = Tuple[int, int]


def processes_of(pid: int) -> List[psutil.Process]:
    """Return the processes of a job.

    Args:
        pid: The process that the runner has started. It is the job's keeper, if there are keepers,
            and then does not count.
    """
    try:
        root = psutil.Process(pid)
        below = root.children(recursive=True)
    except psutil.Error:
        return []
    return below if has_keeper() else [root, *below]


def resident_bytes(processes: List[psutil.Process]) -> int:
    """Return the resident memory of processes, in bytes. What they share counts once for each."""
    return sum(_resident_bytes(process) for process in processes)


def _resident_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:  # the process has ended meanwhile
        return 0


class SharedMemory:
    """The files in `/dev/shm` that a job has made. Make this before the job begins.

    A file does not say which process has made it. So these count: files of this user that were not
    there before the job, and that no process outside of the job has open. Of these, a file that a
    process of the job has mapped is in that process's resident memory already.

    Args:
        folder: Where such files are.
    """

    def __init__(self, folder: str = SHARED_MEMORY) -> None:
        self._folder = folder
        self._before = set(self._files())

    def upper_bytes(self) -> int:
        """Return the size of all new files of this user, in bytes: the job has at most these."""
        return sum(self._new_files().values())

    def bytes_beside(self, processes: List[psutil.Process]) -> int:
        """Return the size of the job's files that are not in its resident memory, in bytes.

        This looks at all processes of this user, which takes a while.

        Args:
            processes: The processes of the job.
        """
        files = self._new_files()
        pids = {process.pid for process in processes}
        for pid in psutil.pids() if files else ():
            for file in _mapped(pid) if pid in pids else _mapped(pid) | _open(pid):
                files.pop(file, None)
        return sum(files.values())

    def _new_files(self) -> Dict[_FileId, int]:
        return {file: size for file, size in self._files().items() if file not in self._before}

    def _files(self) -> Dict[_FileId, int]:
        """Return the files of this user, and the memory that each takes, in bytes."""
        found: Dict[_FileId, int] = {}
        if sys.platform != "linux":
            return found
        for folder, _folders, names in os.walk(self._folder):
            for name in names:
                with contextlib.suppress(OSError):
                    status = Path(folder, name).lstat()
                    if status.st_uid == os.getuid() and stat.S_ISREG(status.st_mode):
                        found[(status.st_dev, status.st_ino)] = status.st_blocks * 512
        return found


def _mapped(pid: int) -> Set[_FileId]:
    """Return the files that a process has mapped; none if this user may not know."""
    found: Set[_FileId] = set()
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/maps").read_bytes().splitlines():
            _range, _rights, _offset, device, inode, *_path = line.split(None, 5)
            major, _, minor = device.partition(b":")
            found.add((os.makedev(int(major, 16), int(minor, 16)), int(inode)))
    return found


def _open(pid: int) -> Set[_FileId]:
    """Return the files that a process has open; none if this user may not know."""
    found: Set[_FileId] = set()
    with contextlib.suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                status = entry.stat()
                found.add((status.st_dev, status.st_ino))
    return found


class DiskUse:
    """The disk space that a folder takes, counted in short looks.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._count: Optional[Iterator[float]] = None
        self._spent_sec = 0.0
        self._due_at = 0.0
        self._last = 0.0

    def bytes(self) -> float:
        """Go on counting for a moment.

        Returns:
            What the last full count gave, or the present one so far if that is more; in bytes.
        """
        started = time.monotonic()
        if self._count is None:
            if started < self._due_at:
                return self._last
            self._count, self._spent_sec = bytes_below(self._folder), 0.0
        so_far = self._counted_for_a_moment(self._count, started)
        self._spent_sec += time.monotonic() - started
        self._due_at = time.monotonic() + _REST_FACTOR * self._spent_sec
        return max(so_far, self._last)

    def _counted_for_a_moment(self, count: Iterator[float], started: float) -> float:
        so_far = 0.0
        while time.monotonic() - started < _LOOK_SEC:
            more = next(count, None)
            if more is None:
                self._count, self._last = None, so_far
                break
            so_far = more
        return so_far


def bytes_below(folder: str) -> Iterator[float]:
    """Count the disk space that a folder takes. Links and other file systems are not followed.

    Args:
        folder: The folder.

    Yields:
        The bytes so far, after each folder and after 256 entries of a large one; infinity if a path
        is too long for the system.
    """
    total = 0.0
    seen: Set[_FileId] = set()
    folders = [folder]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for count, entry in enumerate(entries):
                    if count and count % _ENTRIES_AT_ONCE == 0:
                        yield total
                    with contextlib.suppress(FileNotFoundError):
                        status = entry.stat(follow_symlinks=False)
                        total += _newly_seen_bytes(status, seen)
                        if stat.S_ISDIR(status.st_mode) and not os.path.ismount(entry.path):
                            folders.append(entry.path)
        except OSError as error:  # it is gone, or may not be read
            if error.errno == errno.ENAMETOOLONG:
                total = math.inf
        yield total


def _newly_seen_bytes(status: os.stat_result, seen: Set[_FileId]) -> int:
    """Return what a file takes, in bytes; 0 for a further name of the same file."""
    if status.st_nlink > 1 and stat.S_ISREG(status.st_mode):
        file = (status.st_dev, status.st_ino)
        if file in seen:
            return 0
        seen.add(file)
    blocks: Optional[int] = getattr(status, "st_blocks", None)  # Windows has none
    return status.st_size if blocks is None else blocks * 512
