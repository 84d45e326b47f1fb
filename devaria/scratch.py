"""The folders of jobs' temporary files."""

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Optional

_PREFIX = "devaria-job-"


def make_scratch(directory: Optional[Path] = None) -> str:
    """Make a folder.

    Args:
        directory: That of the runner whose job it is for, if it is a runner's.

    Returns:
        Its path.

    Raises:
        OSError: It cannot be made.
    """
    return tempfile.mkdtemp(prefix=_PREFIX if directory is None else _prefix_of(directory))


def remove_scratch(scratch: str) -> None:
    """Remove a folder with all that is in it.

    Args:
        scratch: The folder.
    """
    shutil.rmtree(scratch, ignore_errors=True)


def remove_left_scratch(directory: Path) -> None:
    """Remove the folders that an earlier runner left behind when it was killed.

    Args:
        directory: The runner's directory, which only one runner uses at a time.
    """
    for scratch in Path(tempfile.gettempdir()).glob(f"{_prefix_of(directory)}*"):
        remove_scratch(str(scratch))


def _prefix_of(directory: Path) -> str:
    # Containers may share the temporary files, and call different directories the same.
    name = f"{directory.resolve()} {directory.stat().st_ino}"
    return f"{_PREFIX}{hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:12]}-"
