"""The process that reads a stranger's file: `python -m devaria.nwb.sandbox.child FOLDER`.

It has no keys, neither in its environment nor within its reach (``confinement``). It reads one
JSON line from its standard input, what to read, and writes JSON lines to its standard output, the
progress and then one outcome. The table goes into the folder. It ends when its standard input does.

What takes long to import waits: the server's first answer and HDF5's code are loaded side by side.
"""

import contextlib
import faulthandler
import gc
import json
import os
import signal
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, List

from devaria.nwb.errors import InvalidInputError, NwbError
from devaria.nwb.limits import ReadLimits
from devaria.nwb.sandbox.landlock import confine

#: Progress is told at most this often, in seconds, and at the end.
_PROGRESS_GAP_SEC = 0.1

#: Longer lines are none to the parent.
_MAX_TEXT_CHARACTERS = 4_000

#: prctl(2): have a signal sent to this process when its parent dies.
_PR_SET_PDEATHSIG = 1

#: Bytes of the file's end that are asked for early.
_END_BYTES = 512 * 1024

#: What requests guesses encodings with: one of them.
_TEXT_GUESSERS = ("chardet", "charset_normalizer")

#: What is imported after the confinement. Each may be installed somewhere else, with libraries and
#: packages of its own beside it.
_PACKAGES = ("certifi", "h5py", "idna", "numpy", "requests", "urllib3", *_TEXT_GUESSERS)

Send = Callable[[Dict[str, Any]], None]


def main() -> None:
    """Read the one table that the parent asks for."""
    # It would look through everything again and again while modules load, and find nothing.
    gc.disable()
    folder = Path(sys.argv[1])
    send = _take_over_output()
    _end_with_the_parent()
    confine(folder, _needed_from_now_on())
    request = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_watch_parent, daemon=True).start()
    send(_outcome(request, folder, send))
    # At once, with all its memory: the parent goes on to build the figure.
    os._exit(0)


def _take_over_output() -> Send:
    """Keep the pipe for the events; what libraries print goes to the console."""
    faulthandler.enable()
    pipe: BinaryIO = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    lock = threading.Lock()  # what fetches has threads, and may have something to say

    def send(event: Dict[str, Any]) -> None:
        line = json.dumps(event).encode("ascii") + b"\n"
        with lock:
            pipe.write(line)
            pipe.flush()

    return send


def _end_with_the_parent() -> None:
    """On Linux: die with the parent, also in C code that holds the GIL."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _watch_parent() -> None:
    """Wait until the parent closes its end of the pipe, by dying or otherwise; then end."""
    sys.stdin.buffer.read()
    os._exit(1)


def _needed_from_now_on() -> List[Path]:
    """Name the folders of code and certificates."""
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
    except Exception as error:  # noqa: BLE001,RUF100 - it is the parent's to raise
        traceback.print_exc()
        text = f"{type(error).__name__}: {error}"
        return {"event": "failed", "text": text[:_MAX_TEXT_CHARACTERS]}
    return {"event": "done"}


def read(request: Dict[str, Any], folder: Path, send: Send) -> None:
    """Read a table into a folder.

    Args:
        request: The fields of ``reading.ReadRequest``.
        folder: Where the table's files go.
        send: Takes the events.

    Raises:
        InvalidInputError: The URL or the units path names nothing that could be meant.
        NwbError: The file cannot be fetched or read.
    """
    told_sec = -1.0

    def tell(done_bytes: int, total_bytes: int) -> None:
        nonlocal told_sec
        now = time.monotonic()
        if now - told_sec >= _PROGRESS_GAP_SEC or done_bytes == total_bytes:
            told_sec = now
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
            progress=tell,
        )
    save_table(table, folder)


if __name__ == "__main__":
    main()
