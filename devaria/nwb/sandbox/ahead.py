"""Start a reading process before its file is known, while the runner is idle.

The process has a folder and no rights beyond it, as any reading process. It waits for its file, and
ends with this process.
"""

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Dict, Iterator, Mapping, NamedTuple, Optional

from devaria.common.child_process import ChildProcess
from devaria.common.folders import remove_folder

#: What a reading process runs.
MODULE = "devaria.nwb.sandbox.child"


class _Waiting(NamedTuple):
    process: ChildProcess
    environ: Mapping[str, str]


_waiting: Dict[Path, _Waiting] = {}


def start_reading_process() -> None:
    """Start a reading process for the job of this process, unless one waits already.

    Raises:
        OSError: It cannot be started.
    """
    from devaria.nwb.sandbox.parent import reading_environ

    if _waiting:
        return
    folder = Path(tempfile.mkdtemp(prefix="devaria-nwb-"))
    environ = reading_environ(os.environ, folder)
    _waiting[folder] = _Waiting(ChildProcess(MODULE, str(folder), env=environ), environ)


@contextlib.contextmanager
def reading_folder() -> Iterator[Path]:
    """Make a folder for `open_remote`, for the length of a ``with`` block.

    Yields:
        An empty folder. If a reading process waits, it is its folder.
    """
    folder = next(iter(_waiting), None) or Path(tempfile.mkdtemp(prefix="devaria-nwb-"))
    try:
        yield folder
    finally:
        _end(folder)
        remove_folder(folder)


def waiting_process(
    module: str, folder: Path, environ: Mapping[str, str]
) -> Optional[ChildProcess]:
    """Return the process that waits in a folder, and forget it.

    Args:
        module: What the process must run.
        folder: The folder.
        environ: The environment that it must have.

    Returns:
        The process; None if none waits there, or another one is needed.
    """
    waiting = _waiting.get(folder)
    if waiting is None or module != MODULE or waiting.environ != environ:
        return None
    if waiting.process.poll() is not None:
        return None
    return _waiting.pop(folder).process


def _end(folder: Path) -> None:
    waiting = _waiting.pop(folder, None)
    if waiting is not None:
        waiting.process.end()
