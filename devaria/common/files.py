"""A runner's directory: made, named, locked for one runner, and written to atomically."""

import contextlib
import itertools
import os
import socket
import time
from pathlib import Path
from typing import Iterator

from devaria.common.errors import BadSetting, DirectoryLocked

#: Keeps Windows from changing line ends.
BINARY = getattr(os, "O_BINARY", 0)

LOCK_FILE = ".devaria_runner.lock"
#: Beside the lock, since taking a lock may empty the file it lies on.
_HOLDER_FILE = ".devaria_runner.pid"
_LOCK_PATIENCE_SEC = 0.5


def filled_in(name: str) -> Path:
    """Fill in the placeholders of a directory's name, so that an array of runners may share one.

    Args:
        name: A path; `{host}` in it stands for the machine's name, `{pid}` for the process id.

    Returns:
        The path.
    """
    return Path(name.replace("{host}", socket.gethostname()).replace("{pid}", str(os.getpid())))


def prepare_directory(directory: Path) -> None:
    """Make sure that the runner's directory is there.

    Args:
        directory: The runner's directory; it and its parents are made.

    Raises:
        BadSetting: It cannot be made, or is something else.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadSetting(
            f"cannot use {directory} as the runner's directory: {error.strerror}"
        ) from None


@contextlib.contextmanager
def directory_lock(directory: Path) -> Iterator[None]:
    """Hold the directory for one runner, by the operating system's lock; it ends with the process.

    Args:
        directory: The runner's directory.

    Raises:
        DirectoryLocked: Another runner holds it.
        BadSetting: It cannot be locked at all.
    """
    from filelock import FileLock, Timeout  # here, since only runners need it

    # Not at once: `devaria status` holds it for a moment, to learn whether it is free.
    lock = FileLock(str(directory / LOCK_FILE), timeout=_LOCK_PATIENCE_SEC)
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
    """Replace a file so that it holds the old or the new content, whatever happens meanwhile.

    Args:
        path: The file; it becomes readable for its owner only.
        data: Its new content.

    Raises:
        OSError: It cannot be written; the old content stays.
    """
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | BINARY, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def set_aside(path: Path) -> Path:
    """Move a file that cannot be understood out of the way, under a name that tells when.

    Args:
        path: The file, or whatever has its name.

    Returns:
        Its new path: the old one and `.corrupt-<time>`, which nothing had before.

    Raises:
        OSError: It cannot be moved.
    """
    stem = f"{path.name}.corrupt-{time.strftime('%Y%m%d-%H%M%S')}"
    names = (stem if count == 1 else f"{stem}-{count}" for count in itertools.count(1))
    aside = next(path.with_name(name) for name in names if not path.with_name(name).exists())
    path.rename(aside)
    return aside


def is_locked(directory: Path) -> bool:
    """Tell whether a runner works in a directory.

    Args:
        directory: The directory; nothing is made or changed in it.

    Returns:
        Whether its lock is held.
    """
    from filelock import FileLock, Timeout  # as above

    if not (directory / LOCK_FILE).exists():
        return False
    lock = FileLock(str(directory / LOCK_FILE), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return True
    except (OSError, NotImplementedError):  # who cannot lock it cannot tell
        return False
    lock.release()
    return False


def _holder(directory: Path) -> str:
    try:
        return f" (process {int((directory / _HOLDER_FILE).read_text(encoding='ascii'))})"
    except (OSError, ValueError):
        return ""
