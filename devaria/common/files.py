"""The runner's directory and its lock, and files that are replaced atomically."""

import contextlib
import itertools
import os
import socket
import time
from pathlib import Path
from typing import Iterator

from devaria.common.errors import BadSetting, DirectoryLocked

#: A flag for `os.open` that keeps Windows from converting line ends.
BINARY = getattr(os, "O_BINARY", 0)

LOCK_FILE = ".devaria_runner.lock"
#: Holds the process id. It is not in the lock file, which taking the lock may empty.
_HOLDER_FILE = ".devaria_runner.pid"
_LOCK_TIMEOUT_SEC = 0.5


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
def directory_lock(directory: Path) -> Iterator[None]:
    """Hold the lock of a runner's directory; the operating system frees it if the process dies.

    Raises:
        DirectoryLocked: Another runner holds the lock.
        BadSetting: The directory cannot be locked.
    """
    from filelock import FileLock, Timeout  # here: job processes do without it

    # With a time-out: `devaria status` takes the lock for a moment to see whether it is free.
    lock = FileLock(str(directory / LOCK_FILE), timeout=_LOCK_TIMEOUT_SEC)
    try:
        lock.acquire()
    except Timeout:
        raise DirectoryLocked(
            f"another runner{_holder(directory)} works in {directory}; "
            "stop it, or give each runner a directory of its own with --dir"
        ) from None
    except (OSError, NotImplementedError) as error:
        raise BadSetting(
            f"cannot lock {directory / LOCK_FILE}: {error}; choose a writable directory "
            "on a file system with locks, with --dir"
        ) from None
    try:
        with contextlib.suppress(OSError):
            (directory / _HOLDER_FILE).write_text(f"{os.getpid()}\n", encoding="ascii")
        yield
    finally:
        lock.release()


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file's content; a crash leaves either the old or the new content.

    Args:
        path: The file; only its owner may read it afterwards.
        data: Its new content.

    Raises:
        OSError: The file cannot be written; the old content stays.
    """
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | BINARY, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def set_aside(path: Path) -> Path:
    """Rename a corrupt file, so that its content is kept and its name is free.

    Args:
        path: The file; a directory of that name is renamed too.

    Returns:
        The new path: the old one with `.corrupt-<time>` added, and a number if that name is taken.

    Raises:
        OSError: The file cannot be renamed.
    """
    stem = f"{path.name}.corrupt-{time.strftime('%Y%m%d-%H%M%S')}"
    names = (stem if count == 1 else f"{stem}-{count}" for count in itertools.count(1))
    aside = next(path.with_name(name) for name in names if not path.with_name(name).exists())
    path.rename(aside)
    return aside


def is_locked(directory: Path) -> bool:
    """Return whether a runner works in a directory and so holds its lock.

    Nothing is created or changed in the directory.
    """
    from filelock import FileLock, Timeout  # here: job processes do without it

    if not (directory / LOCK_FILE).exists():
        return False
    lock = FileLock(str(directory / LOCK_FILE), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return True
    except (OSError, NotImplementedError):  # who may not lock it cannot find out
        return False
    lock.release()
    return False


def _holder(directory: Path) -> str:
    try:
        return f" (process {int((directory / _HOLDER_FILE).read_text(encoding='ascii'))})"
    except (OSError, ValueError):
        return ""
