"""The folder of one job's temporary files."""

import shutil
import tempfile
from pathlib import Path
from typing import Optional

_PREFIX = "devaria-job-"


def make_scratch() -> str:
    """Make a folder.

    Returns:
        Its path.

    Raises:
        OSError: It cannot be made.
    """
    return tempfile.mkdtemp(prefix=_PREFIX)


def remove_scratch(scratch: Optional[str]) -> None:
    """Remove a folder with all that is in it.

    Args:
        scratch: The folder, perhaps of an earlier runner, as the journal has it; anything that is
            no such folder is left alone.
    """
    if scratch is not None and Path(scratch).name.startswith(_PREFIX):
        shutil.rmtree(scratch, ignore_errors=True)
