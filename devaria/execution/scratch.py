"""The folders of jobs' temporary files."""

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Optional

_PREFIX = "devaria-job-"


def make_scratch(runner_id: Optional[str] = None) -> str:
    """Make a folder.

    Args:
        runner_id: The runner whose job it is for, if it is a runner's.

    Returns:
        Its path.

    Raises:
        OSError: It cannot be made.
    """
    return tempfile.mkdtemp(prefix=_PREFIX if runner_id is None else _prefix_of(runner_id))


def remove_scratch(scratch: str) -> None:
    """Remove a folder with all that is in it.

    Args:
        scratch: The folder.
    """
    shutil.rmtree(scratch, ignore_errors=True)


def remove_left_scratch(runner_id: str) -> None:
    """Remove the folders that a runner left behind when it was killed.

    Args:
        runner_id: The runner, which does not run now.
    """
    for scratch in Path(tempfile.gettempdir()).glob(f"{_prefix_of(runner_id)}*"):
        remove_scratch(str(scratch))


def _prefix_of(runner_id: str) -> str:
    # The worker gave the id, so nothing is known of its form.
    return f"{_PREFIX}{hashlib.sha256(runner_id.encode('utf-8')).hexdigest()[:12]}-"
