"""The process that reads an untrusted file: `python -m devaria.nwb.sandbox.child FOLDER`.

Its environment has no keys, and it cannot read any elsewhere (`devaria.nwb.sandbox.landlock`). It
opens no connections and signals nobody (`devaria.nwb.sandbox.seccomp`): another process hands
connected sockets to it (`devaria.nwb.sandbox.connector`). It receives an `Opening` and then
requests, and sends events (`devaria.nwb.sandbox.server`). It writes arrays into the folder. It ends
when its parent does.

For speed, it starts while the runner is idle, or while the parent imports the figure libraries. It
imports h5py and numpy only while its first request to the file's server is on its way.
"""

import contextlib
import gc
import json
import os
import socket
import sys
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional

from devaria.common.parent_pipes import ParentPipes
from devaria.nwb.errors import InvalidInputError, NotInFileError, NwbError
from devaria.nwb.limits import ReadLimits
from devaria.nwb.sandbox.landlock import confine, isolate
from devaria.nwb.sandbox.process_limits import die_with_parent, limit_resources, memory_fault
from devaria.nwb.sandbox.seccomp import refuse_system_calls

#: Longer error texts are cut.
_MAX_TEXT_CHARACTERS = 4_000

#: A longer value is not sent, in bytes: the parent takes only lines up to a length.
_MAX_VALUE_BYTES = 15_000_000

#: requests imports one of these, which takes 3 MB, to guess the encoding of texts. It does without.
_TEXT_GUESSERS = ("chardet", "charset_normalizer")

#: The packages that are imported after the confinement. Each may be installed in a folder of its
#: own, with libraries and packages beside it.
_PACKAGES = ("certifi", "h5py", "hdf5plugin", "idna", "numcodecs", "numpy", "requests", "urllib3")

#: Messages of the parent about a stream of arrays, which come too late when the stream has ended.
_LATE = ("next", "stop")

#: Answers one request: returns the value of the last event.
Answer = Callable[[Dict[str, Any]], Any]


def main() -> None:
    """Open the one file that the parent names, and answer requests about it."""
    # Garbage collections during imports take long, and find nothing.
    gc.disable()
    folder = Path(sys.argv[1])
    parent = ParentPipes()
    die_with_parent()
    # Before the request comes, and before there is another thread.
    confine(folder, _needed_from_now_on())
    _do_without_text_guessers()
    channel = None
    with contextlib.suppress(ImportError):  # `open_file` meets it again, and reports it
        import devaria.nwb.sandbox.recognition  # noqa: F401 - while this process waits, if it does
        from devaria.nwb.sandbox.connector import fork_connector

        channel = fork_connector()
    isolate()
    refuse_system_calls()
    opening = parent.receive()
    if opening is not None:
        limit_resources(ReadLimits(**opening["limits"]))
        serve(opening, folder, parent, channel)
    # At once, so that its memory is free while the parent builds the figure.
    os._exit(0)


def serve(
    opening: Dict[str, Any], folder: Path, parent: ParentPipes, channel: Optional[socket.socket]
) -> None:
    """Answer requests for ever. The process ends when the parent closes the pipe.

    Args:
        opening: The fields of `devaria.nwb.sandbox.parent.Opening`.
        folder: Where arrays go.
        parent: The pipes to the parent.
        channel: Leads to the connector; None if this process opens its connections itself.
    """
    limits = ReadLimits(**opening["limits"])
    try:
        with open_file(opening, folder, parent, channel) as answer:
            _answer_all(parent, answer, limits)
    except Exception as error:  # noqa: BLE001,RUF100 - the parent raises it, at each request
        failure = error  # the name of an exception is gone after its clause

        def refuse(_request: Dict[str, Any]) -> Any:
            raise failure

        _answer_all(parent, refuse, limits)


def _do_without_text_guessers() -> None:
    for name in _TEXT_GUESSERS:
        sys.modules[name] = None  # type: ignore[assignment]  # makes its import fail
    warnings.filterwarnings("ignore", "Unable to find acceptable character detection")


def _needed_from_now_on() -> List[Path]:
    """Return the folders of code and certificates."""
    prefixes = [Path(prefix) for prefix in {sys.prefix, sys.base_prefix}]
    homes = [prefix / name for prefix in prefixes for name in ("lib", "lib64", "ssl")]
    libraries = [Path(name) for name in os.environ.get("LD_LIBRARY_PATH", "").split(":") if name]
    specs = [find_spec(name) for name in _PACKAGES]
    packages = [Path(spec.origin).parents[1] for spec in specs if spec and spec.origin]
    return [*homes, *libraries, *packages, Path(__file__).parents[2]]


def _answer_all(parent: ParentPipes, answer: Answer, limits: ReadLimits) -> None:
    while True:
        request = parent.receive() or {}
        if request.get("op") not in _LATE:
            parent.send(_outcome(request, answer, limits))


def _outcome(request: Dict[str, Any], answer: Answer, limits: ReadLimits) -> Dict[str, Any]:
    try:
        value = answer(request)
        _refuse_long(value)
    except Exception as error:  # noqa: BLE001,RUF100 - the parent raises it
        return _failure(memory_fault(error, limits) or error)
    return {"event": "done", "value": value}


def _failure(error: Exception) -> Dict[str, Any]:
    if isinstance(error, (InvalidInputError, NotInFileError, NwbError)):
        kind = "NwbError" if isinstance(error, NwbError) else type(error).__name__
        return {"event": kind, "text": str(error)[:_MAX_TEXT_CHARACTERS]}
    traceback.print_exception(type(error), error, error.__traceback__)
    text = f"{type(error).__name__}: {error}"
    return {"event": "failed", "text": text[:_MAX_TEXT_CHARACTERS]}


def _refuse_long(value: Any) -> None:
    if len(json.dumps(value)) > _MAX_VALUE_BYTES:
        raise NwbError("what the file has there is too long to be told: ask for less of it")


@contextlib.contextmanager
def open_file(
    opening: Dict[str, Any], folder: Path, parent: ParentPipes, channel: Optional[socket.socket]
) -> Iterator[Answer]:
    """Open the file, for the length of a ``with`` block.

    Args:
        opening: The fields of `devaria.nwb.sandbox.parent.Opening`.
        folder: Where arrays go.
        parent: The pipes to the parent.
        channel: As for `serve`.

    Yields:
        The function that answers a request.

    Raises:
        InvalidInputError: The URL is wrong.
        NwbError: The file cannot be fetched or read.
    """
    from devaria.nwb.sandbox.recognition import FileOpener

    limits, allow_hosts = ReadLimits(**opening["limits"]), opening["allow_hosts"]
    connect = None
    if channel is not None:
        from devaria.nwb.sandbox.connector import Connector

        connect = Connector(channel, allow_hosts).connect

    def say(text: str) -> None:
        parent.send({"event": "said", "text": text})

    opener = FileOpener(opening, limits, say, connect)
    connecting = ThreadPoolExecutor(1)
    connected = connecting.submit(opener.connect)
    connecting.shutdown(wait=False)
    from devaria.nwb.hdf5 import container  # noqa: F401 - while the server answers
    from devaria.nwb.sandbox.server import Answers, FileServer

    with opener.opened(connected.result()) as file:
        yield FileServer(file, folder, Answers(parent, folder)).answer


if __name__ == "__main__":
    main()
