"""An open file with the face of `open_remote`'s, whose requests this process answers itself.

It is for tests that read thousands of files: a child process for each would take too long. Requests
and answers go through the same code, and the answers are checked as a child's are.
"""

import contextlib
import json
from collections import deque
from pathlib import Path
from typing import Any, Deque, Dict, Iterator

from devaria.nwb.hdf5.container import Hdf5Container
from devaria.nwb.hdf5.remote_file import RemoteFile
from devaria.nwb.limits import ReadLimits
from devaria.nwb.sandbox.remote import RemoteNwb
from devaria.nwb.sandbox.server import Answers, FileServer


class LocalNwb(RemoteNwb):
    """A file that this process reads.

    Args:
        file: The open file.
        file_bytes: Its length.
        folder: An empty folder for arrays.
        limits: How much is read at most.
    """

    def __init__(self, file: RemoteFile, file_bytes: int, folder: Path, limits: ReadLimits) -> None:
        self._folder = folder
        self._own_folder = None
        self._max_bytes = limits.max_read_bytes
        self._process: Any = _Local(file, file_bytes, folder, limits)


class _Local:
    """Takes the place of the child, its pipes, and the exchange of one request."""

    def __init__(self, file: RemoteFile, file_bytes: int, folder: Path, limits: ReadLimits) -> None:
        self._server = FileServer(
            Hdf5Container(file, file_bytes, limits), folder, Answers(self, folder)
        )
        self._events: Deque[Dict[str, Any]] = deque()
        self._value: Any = None

    @contextlib.contextmanager
    def exchange(self, operation: str, **arguments: Any) -> Iterator["_Local"]:
        self._events.clear()
        request = json.loads(json.dumps({"op": operation, **arguments}))
        self._value = json.loads(json.dumps(self._server.answer(request)))
        yield self

    def send(self, event: Dict[str, Any]) -> None:
        if event["event"] in ("about", "array"):
            self._events.append(json.loads(json.dumps(event)))

    def receive(self) -> Dict[str, Any]:
        return {"op": "next"}

    def array(self) -> Dict[str, Any]:
        return self._events.popleft()

    about = array

    def value(self) -> Any:
        return self._value

    def release(self) -> None:
        pass
