"""What the reading process answers to its parent's requests.

Each request is one JSON object with an entry ``op``. The answer is a number of events: ``read``
(progress), ``said`` (a line for the console), ``array`` (a file with values), and one last event:
``done`` with a value, or an error.
"""

import time
from dataclasses import asdict
from itertools import repeat
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Tuple

import numpy.typing as npt

from devaria.common.parent_pipes import ParentPipes
from devaria.nwb.container import Container
from devaria.nwb.sandbox.slots import Slots, writing_to
from devaria.nwb.units.table import save_table

#: Progress is sent at most this often, in seconds, and at the end.
_PROGRESS_GAP_SEC = 0.1

#: Most arrays of a stream that the parent has not released.
_MAX_PIECES = 2

Request = Dict[str, Any]


class Answers:
    """Sends what operations find out, and writes arrays into the folder.

    Args:
        parent: The pipes to the parent.
        folder: Where files with values go.

    Attributes:
        slots: Arrays in these files.
    """

    def __init__(self, parent: ParentPipes, folder: Path) -> None:
        self._parent = parent
        self.slots = Slots(folder, _MAX_PIECES + 1)
        self._progress_sec = -1.0
        self._unreleased = 0

    def progress(self, done_bytes: int, total_bytes: int) -> None:
        """Send progress, unless the last one is very new."""
        now = time.monotonic()
        if now - self._progress_sec >= _PROGRESS_GAP_SEC or done_bytes == total_bytes:
            self._progress_sec = now
            self._parent.send({"event": "read", "done": done_bytes, "total": total_bytes})

    def about(self, shape: Tuple[int, ...]) -> None:
        """Describe the dataset whose rows follow."""
        self._parent.send({"event": "about", "shape": shape})

    def array(self, values: "npt.NDArray[Any]", whole: Tuple[int, ...]) -> None:
        """Send values.

        Args:
            values: What was read of a dataset, if possible into an array of ``slots``.
            whole: The shape of the dataset.

        Raises:
            CannotWriteError: There is no room.
        """
        told = {"shape": values.shape, "dtype": values.dtype.str, "whole": whole}
        self._parent.send({"event": "array", "file": self.slots.file_of(values), **told})

    def is_wanted(self) -> bool:
        """Wait until another array of a stream may be sent; False if the parent wants no more."""
        self._unreleased += 1
        while self._unreleased > _MAX_PIECES:
            request = self._parent.receive() or {}
            if request.get("op") == "stop":
                return False
            self._unreleased -= 1
        return True

    def begin(self) -> None:
        """Forget about the stream before."""
        self._unreleased = 0
        self.slots.forget()


class FileServer:
    """Answers requests about one open file.

    Args:
        container: The open file.
        folder: Where the units table goes.
        answers: Sends what is found.
    """

    def __init__(self, container: Container, folder: Path, answers: Answers) -> None:
        self._container = container
        self._folder = folder
        self._answers = answers
        self._operations: Dict[str, Callable[[Request], Any]] = {
            "find": lambda request: container.find(request["types"]),
            "look": lambda request: asdict(container.look(request["path"], request["depth"])),
            "read": self._read,
            "batches": self._batches,
            "text": lambda request: container.text(request["path"]),
            "units_table": self._units_table,
        }

    def answer(self, request: Request) -> Any:
        """Do what a request asks.

        Args:
            request: Has the name of the operation as ``op``, and its arguments.

        Returns:
            The value of the last event.

        Raises:
            InvalidInputError: A path or an argument is wrong.
            NwbError: The file cannot be used.
        """
        self._answers.begin()
        with self._container.explained():
            try:
                return self._operations[request["op"]](request)
            finally:
                self._container.forget()

    def _read(self, request: Request) -> None:
        """Read datasets, each as one array."""
        wanted = [self._wanted(path, rows, request) for path, rows in request["wanted"]]
        arrays = self._container.read_each(wanted, self._answers.progress)
        self._send_each(arrays, iter(wanted))

    def _batches(self, request: Request) -> None:
        """Read one dataset in pieces."""
        wanted = self._wanted(request["path"], request["rows"], request)
        self._answers.about(wanted.shape)
        pieces = wanted.batches(request["batch_bytes"], self._answers.progress)
        self._send_each(pieces, repeat(wanted))

    def _send_each(self, arrays: Iterator[Any], wanted: Iterator[Any]) -> None:
        # Whether another array is wanted comes first, since the next one is read after that.
        while self._answers.is_wanted():
            values = next(arrays, None)
            if values is None:
                break
            self._answers.array(values, next(wanted).shape)

    def _wanted(self, path: str, rows: Any, request: Request) -> Any:
        empty = self._answers.slots.empty
        return self._container.wanted(path, tuple(rows), request["dtype"], empty)

    def _units_table(self, request: Request) -> None:
        table = self._container.units_table(request["path"], self._answers.progress)
        with writing_to(self._folder):
            save_table(table, self._folder)
