"""The runner's directory and its lock, and files that are read and replaced with care.

Jobs run as the same user and may plant anything in the runner's directory. So only regular files
are opened there, through no link, and none that could block.
"""

import contextlib
import errno
import itertools
import os
import socket
import stat
import sys
import time
from pathlib import Path
from typing import Iterator, List

from devaria.common.errors import BadSetting, DirectoryLocked, out_of_resources

#: Flags for `os.open`: Windows converts no line ends, no link is followed, and no pipe blocks.
CAREFUL = getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)

LOCK_FILE = ".devaria_runner.lock"
#: Holds the process id. It is not in the lock file, which taking the lock may empty.
_HOLDER_FILE = ".devaria_runner.pid"
_MAX_HOLDER_BYTES = 100
_LOCK_TIMEOUT_SEC = 0.5
#: So much of a name is kept in the name of what is set aside; a name has at most 255 bytes.
_MAX_STEM_BYTES = 200


def filled_in(name: str) -> Path:
    """Fill in the placeholders in a directory's name.

    Runners started with the same command line then get a directory each.

    Args:
        name: A path; `{host}` in it stands for the machine's name, `{pid}` for the process id.
    """
    return Path(name.replace("{host}", socket.gethostname()).replace("{pid}", str(os.getpid())))


def prepare_directory(directory: Path) -> None:
    """Create the runner's directory and its parents, if they do not exist.

    Raises:
        BadSetting: It cannot be created, or is not a directory.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadSetting(
            f"cannot use {directory} as the runner's directory: {error.strerror}"
        ) from None


@contextlib.contextmanager
def directory_lock(directory: Path) -> Iterator[List[Path]]:
    """Hold the lock of a runner's directory; the operating system frees it if the process dies.

    Yields:
        The new paths of what stood in the place of the lock's two files and could not be one.

    Raises:
        DirectoryLocked: Another runner holds the lock.
        BadSetting: The directory cannot be locked.
    """
    from filelock import FileLock, Timeout  # here: job processes do without it

    # With a time-out: `devaria status` takes the lock for a moment to see whether it is free.
    lock = FileLock(str(directory / LOCK_FILE), timeout=_LOCK_TIMEOUT_SEC)
    try:
        # Taking the lock empties its file. An empty one may be a runner's, under a second name.
        aside = set_aside_odd(
            directory / LOCK_FILE, also_shared=_has_content(directory / LOCK_FILE)
        )
        with contextlib.suppress(FileNotFoundError):  # what is there must be ours to open
            os.close(open_regular(directory / LOCK_FILE, os.O_RDWR))
        lock.acquire()
    except Timeout:
        raise DirectoryLocked(
            f"another runner{_holder(directory)} works in {directory}; "
            "stop it, or give each runner a directory of its own with --dir"
        ) from None
    except (OSError, NotImplementedError) as error:
        if out_of_resources(error):
            raise
        raise BadSetting(
            f"cannot lock {directory / LOCK_FILE}: {error}; choose a writable directory "
            "on a file system with locks, with --dir"
        ) from None
    try:
        with contextlib.suppress(OSError):
            aside += set_aside_odd(directory / _HOLDER_FILE)
            write_atomically(directory / _HOLDER_FILE, f"{os.getpid()}\n".encode("ascii"))
        yield aside
    finally:
        lock.release()


def open_regular(path: Path, flags: int, mode: int = 0o600) -> int:
    """Open a regular file as `os.open` does, and nothing else.

    A job may have taken away this user's rights to a file of its own. They are given back.

    Args:
        path: The file.
        flags: Beside those of `CAREFUL`.
        mode: The rights of a new file.

    Returns:
        The descriptor.

    Raises:
        OSError: It cannot be opened; or it is a link, folder, pipe, socket or device.
    """
    try:
        descriptor = os.open(path, flags | CAREFUL, mode)
    except PermissionError:
        if not _took_rights(path):
            raise
        descriptor = os.open(path, flags | CAREFUL, mode)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "not a regular file", str(path))


def read_regular(path: Path, max_bytes: int) -> bytes:
    """Read a regular file whole.

    Args:
        path: The file.
        max_bytes: The longest file.

    Raises:
        OSError: It is missing, is not a regular file, is too long, or cannot be read.
    """
    with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise OSError(errno.EFBIG, f"longer than {max_bytes:,} bytes", str(path))
    return data


def open_new(path: Path) -> int:
    """Open a new file for writing, in place of whatever has its name, and return its descriptor.

    Args:
        path: The file; only its owner may read it. A folder of that name is set aside.

    Raises:
        OSError: It cannot be made.
    """
    try:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
    except OSError:
        set_aside(path)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | CAREFUL, 0o600)


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file's content; a crash leaves either the old or the new content.

    Args:
        path: The file; only its owner may read it afterwards. A link is replaced, not followed,
            and a folder is set aside.
        data: Its new content.

    Raises:
        OSError: The file cannot be written; the old content stays.
    """
    temporary = path.with_name(path.name + ".new")
    with os.fdopen(open_new(temporary), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if path.is_dir() and not path.is_symlink():
        set_aside(path)
    temporary.replace(path)


def set_aside_odd(path: Path, *, also_shared: bool = False) -> List[Path]:
    """Set aside what has a file's name and is no regular file.

    Args:
        path: The file; it may be missing.
        also_shared: Set aside a file with a second name, too. It is for files that are written in
            place: the other name may be that of a file that must not change.

    Returns:
        The new path, if there was something odd; else nothing.

    Raises:
        OSError: It cannot be renamed.
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return []
    is_right = stat.S_ISREG(found.st_mode) and not (also_shared and found.st_nlink > 1)
    return [] if is_right else [set_aside(path)]


def set_aside(path: Path) -> Path:
    """Rename a corrupt file, so that its content is kept and its name is free.

    Args:
        path: The file, or whatever else has that name; a link itself is renamed.

    Returns:
        The new path: the old one with `.corrupt-<time>` added, and a number if that name is taken.

    Raises:
        OSError: The file cannot be renamed.
    """
    name = os.fsencode(path.name)[:_MAX_STEM_BYTES].decode("utf-8", "ignore")
    stem = f"{name}.corrupt-{time.strftime('%Y%m%d-%H%M%S')}"
    names = (stem if count == 1 else f"{stem}-{count}" for count in itertools.count(1))
    paths = map(path.with_name, names)
    aside = next(each for each in paths if not os.path.lexists(each))
    path.rename(aside)
    return aside


def sync_folder(folder: Path) -> None:
    """Make a rename in a folder durable. Windows has no such call, and needs none."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_locked(directory: Path) -> bool:
    """Return whether a runner works in a directory and so holds its lock.

    Nothing is created or changed in the directory.
    """
    from filelock import FileLock, Timeout  # here: job processes do without it

    try:
        descriptor = open_regular(directory / LOCK_FILE, os.O_RDWR)
    except OSError:  # no runner has it
        return False
    found = os.fstat(descriptor)
    os.close(descriptor)
    if found.st_nlink > 1 and found.st_size > 0:
        return False  # it is another file, which the lock would empty
    lock = FileLock(str(directory / LOCK_FILE), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return True
    except (OSError, NotImplementedError):  # who may not lock it cannot find out
        return False
    lock.release()
    return False


def _took_rights(path: Path) -> bool:
    """Take the rights to a file of this user, through no link. Return whether that was done."""
    if not hasattr(os, "O_PATH"):  # only Linux can open a file without any right
        return False
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW)
    try:
        found = os.fstat(descriptor)
        is_own = found.st_uid == os.getuid() and found.st_nlink == 1
        if is_own and stat.S_ISREG(found.st_mode):
            Path(f"/proc/self/fd/{descriptor}").chmod(0o600)
            return True
        return False
    finally:
        os.close(descriptor)


def _has_content(path: Path) -> bool:
    return os.path.lexists(path) and os.lstat(path).st_size > 0


def _holder(directory: Path) -> str:
    try:
        return f" (process {int(read_regular(directory / _HOLDER_FILE, _MAX_HOLDER_BYTES))})"
    except (OSError, ValueError):
        return ""
