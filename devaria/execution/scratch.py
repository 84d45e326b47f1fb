"""The scratch folders of jobs: made in one place, locked while in use, swept when left behind."""

import contextlib
import hashlib
import os
import stat
import sys
import tempfile
import time
from pathlib import Path
from typing import Iterator, Mapping, Optional

from devaria.common.folders import remove_folder

if sys.platform != "win32":
    import fcntl

_PREFIX = "devaria-job-"

#: The variables that name the place of temporary files, in the order of `tempfile`.
_VARIABLES = ("TMPDIR", "TEMP", "TMP")

#: The folders of other runners are removed when nothing changed in them for this long, in seconds.
SWEEP_AFTER_SEC = 2 * 24 * 3600.0


def scratch_root(environ: Mapping[str, str]) -> str:
    """Return the folder that holds the scratch folders.

    `tempfile` would take another one if this one cannot be used, as the last the working directory.

    Args:
        environ: Environment variables.

    Returns:
        What `TMPDIR`, `TEMP` or `TMP` names; if none is set, the system's folder.
    """
    named = next((environ[name] for name in _VARIABLES if environ.get(name)), None)
    default = tempfile.gettempdir() if sys.platform == "win32" else "/tmp"  # noqa: S108
    return str(Path(named or default).absolute())


class ScratchError(OSError):
    """A scratch folder cannot be made. The text names its place, and says what to do."""


class Scratch:
    """A folder for a job's temporary files. It is locked until it is removed.

    Args:
        environ: Environment variables; `scratch_root` says where they lead.
        runner_id: The runner whose job it is; None for `devaria run`.

    Attributes:
        path: The folder.

    Raises:
        ScratchError: It cannot be made.
    """

    def __init__(self, environ: Mapping[str, str], runner_id: Optional[str] = None) -> None:
        root = scratch_root(environ)
        prefix = _PREFIX if runner_id is None else _prefix_of(runner_id)
        try:
            self.path = tempfile.mkdtemp(prefix=prefix, dir=root)
        except OSError as error:
            raise ScratchError(
                f"cannot make a folder for a job's files in {root} ({error.strerror}): "
                "correct that folder, or set TMPDIR to another one"
            ) from None
        self._lock = _locked(self.path)

    def remove(self) -> None:
        """Remove the folder, and all that is in it."""
        remove_folder(Path(self.path))
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def sweep(environ: Mapping[str, str], runner_id: str) -> None:
    """Remove the scratch folders that runners left behind when they were killed.

    Those of this runner are removed at once, those of other runners of this user by their age. One
    that is in use, or of another user, stays.

    Args:
        environ: Environment variables.
        runner_id: This runner; none of its jobs may be running.
    """
    own = _prefix_of(runner_id)
    for folder in _of_this_user(scratch_root(environ)):
        if folder.name.startswith(own) or _is_left(folder):
            remove_folder(folder)


def _of_this_user(root: str) -> Iterator[Path]:
    for folder in sorted(Path(root).glob(f"{_PREFIX}*")):
        with contextlib.suppress(OSError):  # another runner may have removed it meanwhile
            status = folder.lstat()
            is_own = not hasattr(os, "getuid") or status.st_uid == os.getuid()
            if stat.S_ISDIR(status.st_mode) and is_own:
                yield folder


def _is_left(folder: Path) -> bool:
    try:
        is_old = time.time() - folder.stat().st_mtime > SWEEP_AFTER_SEC
    except OSError:
        return False
    if not is_old or sys.platform == "win32":
        return is_old
    lock = _locked(str(folder))
    if lock is None:
        return False
    os.close(lock)
    return True


def _locked(path: str) -> Optional[int]:
    """Lock a folder. Return the open descriptor, which holds the lock; None if it cannot be."""
    if sys.platform == "win32":
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # another runner uses it, or the file system has no locks
        os.close(descriptor)
        return None
    return descriptor


def _prefix_of(runner_id: str) -> str:
    # A hash, since the id comes from the worker and may hold characters that paths cannot.
    return f"{_PREFIX}{hashlib.sha256(runner_id.encode('utf-8', 'replace')).hexdigest()[:12]}-"
