"""The process that reads an untrusted file: `python -m devaria.nwb.sandbox.child FOLDER`.

Its environment has no keys, and it cannot read any elsewhere (`devaria.nwb.sandbox.landlock`). It
receives a `ReadRequest` and sends events: progress, then one outcome. It writes the table into the
folder. It ends when its parent does.

For speed, it starts while the parent imports the figure libraries. It imports h5py and numpy only
while its first request to the file's server is on its way.
"""

import contextlib
import ctypes
import gc
import os
import signal
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Callable, Dict, List

from devaria.common.parent_pipes import ParentPipes
from devaria.nwb.errors import InvalidInputError, NwbError
from devaria.nwb.limits import ReadLimits
from devaria.nwb.sandbox.landlock import confine

#: Progress is sent at most this often, in seconds, and at the end.
_PROGRESS_GAP_SEC = 0.1

#: Longer error texts are cut.
_MAX_TEXT_CHARACTERS = 4_000

#: prctl(2): the kernel sends this process a signal when its parent dies.
_PR_SET_PDEATHSIG = 1

#: How much of the end of the file is requested early, in bytes.
_END_BYTES = 512 * 1024

#: requests imports one of these.
_TEXT_GUESSERS = ("chardet", "charset_normalizer")

#: The packages that are imported after the confinement. Each may be installed in a folder of its
#: own, with libraries and packages beside it.
_PACKAGES = ("certifi", "h5py", "idna", "numpy", "requests", "urllib3", *_TEXT_GUESSERS)

#: Sends an event to the parent.
Send = Callable[[Dict[str, Any]], None]


def main() -> None:
    """Read the one table that the parent asks for."""
    # Garbage collections during imports take long, and find nothing.
    gc.disable()
    folder = Path(sys.argv[1])
    parent = ParentPipes()
    _die_with_parent()
    # Before the request comes, and before there is another thread.
    confine(folder, _needed_from_now_on())
    request = parent.receive()
    if request is not None:
        parent.send(_outcome(request, folder, parent.send))
    # At once, so that its memory is free while the parent builds the figure.
    os._exit(0)


def _die_with_parent() -> None:
    """On Linux: end with the parent, even in C code that holds the GIL."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _needed_from_now_on() -> List[Path]:
    """Return the folders of code and certificates."""
    prefixes = [Path(prefix) for prefix in {sys.prefix, sys.base_prefix}]
    homes = [prefix / name for prefix in prefixes for name in ("lib", "lib64", "ssl")]
    libraries = [Path(name) for name in os.environ.get("LD_LIBRARY_PATH", "").split(":") if name]
    specs = [find_spec(name) for name in _PACKAGES]
    packages = [Path(spec.origin).parents[1] for spec in specs if spec and spec.origin]
    return [*homes, *libraries, *packages, Path(__file__).parents[2]]


def _outcome(request: Dict[str, Any], folder: Path, send: Send) -> Dict[str, Any]:
    try:
        read(request, folder, send)
    except (InvalidInputError, NwbError) as error:
        return {"event": type(error).__name__, "text": str(error)[:_MAX_TEXT_CHARACTERS]}
    except Exception as error:  # noqa: BLE001,RUF100 - the parent raises it
        traceback.print_exc()
        text = f"{type(error).__name__}: {error}"
        return {"event": "failed", "text": text[:_MAX_TEXT_CHARACTERS]}
    return {"event": "done"}


def read(request: Dict[str, Any], folder: Path, send: Send) -> None:
    """Read a table into a folder.

    Args:
        request: The fields of `devaria.nwb.sandbox.parent.ReadRequest`.
        folder: Where the table's files go.
        send: Sends the events; for several threads.

    Raises:
        InvalidInputError: The URL is wrong, or the file has no units table at the path.
        NwbError: The file cannot be fetched or read.
    """
    sent_sec = -1.0

    def send_progress(done_bytes: int, total_bytes: int) -> None:
        nonlocal sent_sec
        now = time.monotonic()
        if now - sent_sec >= _PROGRESS_GAP_SEC or done_bytes == total_bytes:
            sent_sec = now
            send({"event": "read", "done": done_bytes, "total": total_bytes})

    from devaria.nwb.http.ranges import HttpRanges

    limits = ReadLimits(**request["limits"])
    opening = ThreadPoolExecutor(1)
    ranges = opening.submit(
        HttpRanges,
        request["url"],
        limits=limits,
        end_bytes=_END_BYTES,
        allow_hosts=request["allow_hosts"],
        say=lambda text: send({"event": "said", "text": text}),
    )
    opening.shutdown(wait=False)
    from devaria.nwb.hdf5.remote_file import open_remote_file
    from devaria.nwb.units_reader import read_units_table
    from devaria.nwb.units_table import save_table

    with open_remote_file(ranges.result()) as (file, file_bytes):
        table = read_units_table(
            file,
            request["units_path"],
            file_bytes=file_bytes,
            limits=limits,
            progress=send_progress,
        )
    save_table(table, folder)


if __name__ == "__main__":
    main()
