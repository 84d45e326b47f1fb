"""Remove folders that others may have written: at any depth, and through no link."""

# ruff: noqa: PTH101, PTH104, PTH108, PTH116, PTH118, PTH208 - pathlib has no calls that take a name in an open folder

import contextlib
import logging
import os
import stat
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

_log = logging.getLogger(__name__)

#: Whether this system's calls take a name in an open folder. What stands there then cannot be
#: exchanged for a link to somewhere else. Windows has no such calls.
_BY_DESCRIPTOR = os.scandir in os.supports_fd and {
    os.open, os.rename, os.rmdir, os.stat, os.unlink,
} <= os.supports_dir_fd  # fmt: skip

_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)


def remove_folder(path: Path) -> bool:
    """Remove a folder and all that is in it, however deep. No link is followed.

    What cannot be removed is left, and the log says so. Nothing is raised.

    Args:
        path: The folder. Anything else in its place is removed too; it may be missing.

    Returns:
        Whether nothing is left.
    """
    try:
        with contextlib.suppress(FileNotFoundError):
            _remove(path)
    except (OSError, MemoryError) as error:
        _log.warning("cannot remove %s: %s", path, error)
        return False
    return True


@contextlib.contextmanager
def temporary_folder(prefix: str = "devaria-") -> Iterator[Path]:
    """Make a folder in the system's temporary folder, for the length of a `with` block.

    Args:
        prefix: How its name begins.

    Raises:
        OSError: It cannot be made.
    """
    path = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield path
    finally:
        remove_folder(path)


def is_folder(found: os.stat_result) -> bool:
    """Return whether something is a folder itself, and no link to one.

    Args:
        found: What `os.lstat` returned.
    """
    # A junction of Windows is a folder with a reparse tag.
    return stat.S_ISDIR(found.st_mode) and not getattr(found, "st_reparse_tag", 0)


def _remove(path: Path) -> None:
    if not is_folder(os.lstat(path)):
        path.unlink()
        return
    failures: List[OSError] = []
    with contextlib.closing(_Folder(str(path))) as top:
        left = top.names()
        # Folders below are moved up here before they are emptied. So depth costs neither open
        # files nor the length of a path.
        while left:
            with _noted_in(failures):
                left += _removed(top, left.pop(), failures)
    if failures:
        raise failures[0]
    path.rmdir()


def _removed(top: "_Folder", name: str, failures: List[OSError]) -> List[str]:
    """Remove something in a folder, and return the new names of what was moved up out of it."""
    if not top.has_folder(name):
        top.unlink(name)
        return []
    moved: List[str] = []
    with contextlib.closing(top.folder(name)) as folder:
        for each in folder.names():
            with _noted_in(failures):
                if folder.has_folder(each):
                    moved.append(folder.move_up(each, top))
                else:
                    folder.unlink(each)
    with _noted_in(failures):
        top.rmdir(name)
    return moved


@contextlib.contextmanager
def _noted_in(failures: List[OSError]) -> Iterator[None]:
    """Keep the first failure of several steps; something that is gone already is none."""
    try:
        yield
    except FileNotFoundError:
        pass
    except OSError as error:
        if not failures:
            failures.append(error)


class _Folder:
    """An open folder, by its descriptor if the system can do that, else by its path."""

    def __init__(self, path: str, parent: Optional["_Folder"] = None) -> None:
        self._path = path
        self._fd: Optional[int] = None
        if not _BY_DESCRIPTOR:
            os.chmod(path, stat.S_IRWXU)
            return
        of_parent = {} if parent is None else parent.of("dir_fd")
        try:
            self._fd = os.open(path, _FOLDER, **of_parent)
        except PermissionError:  # its owner may have taken that right away
            os.chmod(path, stat.S_IRWXU, **of_parent)
            self._fd = os.open(path, _FOLDER, **of_parent)
        with contextlib.suppress(OSError):
            os.chmod(self._fd, stat.S_IRWXU)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)

    def names(self) -> List[str]:
        return os.listdir(self._path if self._fd is None else self._fd)

    def has_folder(self, name: str) -> bool:
        return is_folder(os.stat(self.at(name), follow_symlinks=False, **self.of("dir_fd")))

    def folder(self, name: str) -> "_Folder":
        """Open a folder in this one, and take all rights in it."""
        return _Folder(self.at(name), self)

    def unlink(self, name: str) -> None:
        try:
            os.unlink(self.at(name), **self.of("dir_fd"))
        except PermissionError:
            if self._fd is not None:
                raise
            os.chmod(self.at(name), stat.S_IRWXU)  # Windows keeps read-only files
            os.unlink(self.at(name))

    def rmdir(self, name: str) -> None:
        os.rmdir(self.at(name), **self.of("dir_fd"))

    def move_up(self, name: str, top: "_Folder") -> str:
        """Move a folder of this one into another, and return its name there, a new one."""
        self.folder(name).close()  # who moves a folder must have the right to write in it
        new_name = f"devaria-{os.urandom(8).hex()}"
        folders = {**self.of("src_dir_fd"), **top.of("dst_dir_fd")}
        os.rename(self.at(name), top.at(new_name), **folders)
        return new_name

    def at(self, name: str) -> str:
        return name if self._fd is not None else os.path.join(self._path, name)

    def of(self, argument: str) -> Dict[str, Any]:
        return {} if self._fd is None else {argument: self._fd}
