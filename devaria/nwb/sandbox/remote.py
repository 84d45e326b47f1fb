"""A remote file, read by a child process: what `devaria.nwb.open_remote` returns."""

import tempfile
from pathlib import Path
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    Iterable,
    Iterator,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    Type,
)

from devaria.common.folders import remove_folder
from devaria.nwb.errors import InvalidInputError
from devaria.nwb.sandbox.ahead import MODULE
from devaria.nwb.sandbox.arguments import bounds, result_type, type_name
from devaria.nwb.sandbox.parent import Opening, ReadingProcess, ReadProgress, Say

if TYPE_CHECKING:  # imported late, since they import numpy, and the child starts before that
    import numpy.typing as npt

    from devaria.nwb.node import Node
    from devaria.nwb.units.table import UnitsTable

#: The deepest `look`.
_MAX_DEPTH = 8


class RemoteNwb:
    """A remote file that a child process reads. One thread may use it, for one thing at a time.

    As a context manager, it ends the child at the end of the block, whatever the child does.

    Args:
        opening: The file.
        folder: As for `devaria.nwb.open_remote`.
        environ: This process's environment.
        say: Called with lines for the console.
        progress: Called with the bytes read and to read.
        module: The module that the child runs.

    Attributes:
        pid: The child's process id.
    """

    def __init__(
        self,
        opening: Opening,
        folder: Optional[Path],
        environ: Mapping[str, str],
        *,
        say: Say = lambda _line: None,
        progress: ReadProgress = lambda _done, _total: None,
        module: str = MODULE,
    ) -> None:
        self._own_folder = None if folder else Path(tempfile.mkdtemp(prefix="devaria-nwb-"))
        self._folder = folder or self._own_folder or Path()
        self._max_bytes = opening.limits.max_read_bytes
        try:
            self._process = ReadingProcess(opening, self._folder, environ, say, progress, module)
        except BaseException:
            self._remove_folder()
            raise
        self.pid = self._process.pid

    def __enter__(self) -> "RemoteNwb":
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the child at once."""
        self._process.close()
        self._remove_folder()

    def find(self, types: Sequence[str]) -> List[str]:
        """Find groups and datasets by their NWB types.

        Args:
            types: Names of types, such as ``["TimeSeries"]``. Types derived from them are not found
                unless they are named too.

        Returns:
            Their paths, at most 20, those nearest to the root first. The search ends after 500
            groups and 1,000 datasets.

        Raises:
            NwbError: The file cannot be used.
        """
        from devaria.nwb.sandbox.checks import checked_texts

        return checked_texts(self._value("find", types=list(types)))

    def look(self, path: str, depth: int = 1) -> "Node":
        """Describe a group or dataset.

        Args:
            path: Its path in the file.
            depth: How many levels below it to describe, from 0 to 8.

        Returns:
            What is there.

        Raises:
            NotInFileError: The path names nothing.
            InvalidInputError: ``depth`` is out of range.
            NwbError: The file cannot be used, or there are more than 2,000 objects.
        """
        from devaria.nwb.sandbox.checks import checked_node

        if not 0 <= depth <= _MAX_DEPTH:
            raise InvalidInputError(f"depth must be from 0 to {_MAX_DEPTH}, not {depth}")
        return checked_node(self._value("look", path=path, depth=depth), depth)

    def read(
        self, path: str, rows: Optional[slice] = None, dtype: Any = None
    ) -> "npt.NDArray[Any]":
        """Read a dataset of numbers.

        Args:
            path: Its path in the file.
            rows: The rows to read: a slice of the first axis with a step of 1 or more. Default:
                all.
            dtype: The type of the result, to which numpy can convert the values without a change of
                kind, such as ``"float32"``. Default: the type of the dataset.

        Returns:
            The values in this machine's byte order, the rows along the first axis; without axes for
            a dataset that is a single value. The array is the caller's.

        Raises:
            NotInFileError: The path names nothing.
            InvalidInputError: The path names a group, or an argument is wrong.
            NwbError: The dataset holds no numbers, is too large, or cannot be read.
        """
        (values,) = self.read_each([(path, rows)], dtype)
        return values

    def read_each(
        self, wanted: Iterable[Tuple[str, Optional[slice]]], dtype: Any = None
    ) -> Iterator["npt.NDArray[Any]"]:
        """Read datasets of numbers one after another: much faster than one ``read`` for each.

        Args:
            wanted: For each dataset, its path and its rows, as for ``read``.
            dtype: The type of all results, as for ``read``.

        Yields:
            The values of each dataset, as ``read`` returns them.

        Raises:
            NwbError: As for ``read``, like the other exceptions there.
        """
        from devaria.nwb.sandbox.checks import checked_array

        pairs = list(wanted)
        dtype = result_type(dtype)
        request = {
            "wanted": [[path, bounds(rows)] for path, rows in pairs],
            "dtype": type_name(dtype),
        }
        with self._process.exchange("read", **request) as exchange:
            for _, rows in pairs:
                event = exchange.array()
                values = checked_array(event, self._folder, rows, dtype, self._max_bytes)
                exchange.release()
                yield values
                del values  # before the next ones are loaded
            exchange.value()

    def batches(
        self,
        path: str,
        rows: Optional[slice] = None,
        *,
        batch_bytes: int = 32 * 2**20,
        dtype: Any = None,
    ) -> Iterator["npt.NDArray[Any]"]:
        """Read the rows of one dataset in pieces, the next one while the caller works on this one.

        Args:
            path: As for ``read``.
            rows: As for ``read``.
            batch_bytes: The longest piece in bytes; a piece has at least one row.
            dtype: As for ``read``.

        Yields:
            The rows in their order, one or more at a time.

        Raises:
            NwbError: As for ``read``, like the other exceptions there.
        """
        from devaria.nwb.sandbox.checks import checked_piece, checked_shape, num_rows

        dtype = result_type(dtype)
        request = {"path": path, "rows": bounds(rows), "batch_bytes": int(batch_bytes)}
        with self._process.exchange("batches", dtype=type_name(dtype), **request) as exchange:
            whole = checked_shape(exchange.about().get("shape"))
            left = num_rows(whole, rows)
            while left > 0:
                event = exchange.array()
                piece = checked_piece(event, self._folder, whole, left, dtype, self._max_bytes)
                left -= len(piece) if whole else 1
                exchange.release()
                yield piece
            exchange.value()

    def text(self, path: str) -> List[str]:
        """Read a dataset of texts.

        Args:
            path: Its path in the file.

        Returns:
            The texts; one, if the dataset is a single text.

        Raises:
            NotInFileError: The path names nothing.
            InvalidInputError: The path names a group.
            NwbError: The dataset holds no texts, too many or too long ones, or cannot be read.
        """
        from devaria.nwb.sandbox.checks import checked_texts

        return checked_texts(self._value("text", path=path))

    def units_table(self, path: str = "/units") -> "UnitsTable":
        """Read the spike trains of a units table.

        Args:
            path: The table's path in the file.

        Returns:
            The table. Its spike times stay in the folder, and are read as they are needed.

        Raises:
            InvalidInputError: The file has no units table at the path.
            NwbError: The table is broken, hostile, too large, or has no spikes.
        """
        from devaria.nwb.units.table import load_table

        self._value("units_table", path=path)
        return load_table(self._folder)

    def _value(self, operation: str, **arguments: Any) -> Any:
        with self._process.exchange(operation, **arguments) as exchange:
            return exchange.value()

    def _remove_folder(self) -> None:
        if self._own_folder is not None:
            remove_folder(self._own_folder)
        # The reader may have put anything in their places.
        for path in self._folder.glob("values-*"):
            remove_folder(path)
