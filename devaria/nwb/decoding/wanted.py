"""Wanted rows of one dataset of numbers, of any kind of file, and many of them after another."""

import math
from abc import ABC, abstractmethod
from typing import Any, Callable, Iterator, List, Protocol, Sequence, Tuple

import numpy as np
import numpy.typing as npt

from devaria.nwb.decoding.pipeline import Consume
from devaria.nwb.decoding.selection import Where
from devaria.nwb.errors import InvalidInputError, NwbError
from devaria.nwb.limits import ReadLimits

#: So many bytes of values are planned ahead of the reading.
_AHEAD_BYTES = 128 * 1024 * 1024

#: Returns an array without values, of a shape and a type.
Empty = Callable[[Tuple[int, ...], "np.dtype[Any]"], "npt.NDArray[Any]"]

#: Start, stop and step of a slice of the first axis.
Rows = Tuple[Any, Any, Any]

#: Called with what is read and what is to be read, in any unit.
ReadProgress = Callable[[int, int], None]


class PieceReader(Protocol):
    """Reads wanted rows in pieces: what `RowsReader` of HDF5 and `ZarrRows` share."""

    def is_ready(self) -> bool:
        """Return whether `plan` will not wait for the network."""

    def pieces(self, most_rows: int) -> List[Tuple[int, int]]:
        """Divide the rows into pieces: the first row of each, and the row after its last."""

    def plan(self) -> None:
        """Start to fetch them; after `pieces`."""

    def read_piece(self, number: int, consume: Consume, progress: ReadProgress) -> None:
        """Read a piece; one after another."""


class WantedRows(ABC):
    """Wanted rows of a dataset of numbers.

    Args:
        shown: Name of the dataset, for errors.
        shape: Lengths of its axes.
        stored: Type of its values.
        rows: The rows, as ``slice`` has them.
        dtype: Type of the result, as numpy names it; None for the type of the dataset.
        limits: How much is read at most.
        empty: Makes the arrays for the values.

    Attributes:
        shape: Lengths of the dataset's axes.
        num_bytes: Length of the values.

    Raises:
        InvalidInputError: The dataset is a single value, which has no rows; or its values cannot
            become of that type.
    """

    def __init__(
        self,
        shown: str,
        shape: Tuple[int, ...],
        stored: "np.dtype[Any]",
        rows: Rows,
        dtype: Any,
        limits: ReadLimits,
        empty: Empty,
    ) -> None:
        self._empty = empty
        self._shown = shown
        self._limits = limits
        self.shape = shape
        self._dtype = self._result_type(stored, dtype)
        self._rows = self._numbers(rows)
        self._row_shape = self.shape[1:]
        item_bytes = max(self._dtype.itemsize, stored.itemsize)
        self._row_bytes: int = math.prod(self._row_shape) * item_bytes
        self.num_bytes = len(self._rows) * self._row_bytes
        self._has_values = bool(self.shape) and self.num_bytes > 0

    @property
    @abstractmethod
    def _pieces(self) -> PieceReader:
        """Read the rows in pieces."""

    @abstractmethod
    def _single(self) -> "npt.NDArray[Any]":
        """Read the value of a dataset without axes."""

    @abstractmethod
    def read_into(self, count: int, consume: Consume, progress: ReadProgress) -> None:
        """Read the first of the wanted rows, in any order.

        Args:
            count: How many.
            consume: Called with the values, perhaps by several threads.
            progress: Called with bytes read and bytes in all.

        Raises:
            NwbError: The values cannot be read.
        """

    def is_ready(self) -> bool:
        """Return whether `plan` will not wait for the network."""
        return not self._has_values or self._pieces.is_ready()

    def plan(self) -> None:
        """Start to fetch all values.

        Raises:
            NwbError: The values are more than the limit, or cannot be found.
        """
        self._refuse_size(self.num_bytes)
        if self._has_values:
            self._pieces.pieces(len(self._rows))
            self._pieces.plan()

    def begin(self) -> None:
        """Start to fetch, before it is known how many rows `read_into` will read."""
        if self._has_values:
            self._pieces.pieces(len(self._rows))
            self._pieces.plan()

    def read(self, progress: ReadProgress) -> "npt.NDArray[Any]":
        """Read all values, after `plan`.

        Args:
            progress: Called with what is read and what is to be read, in any unit.

        Returns:
            The values, with an axis of the wanted rows first; for a single value, without axes.

        Raises:
            NwbError: The values cannot be read.
        """
        if not self._has_values:
            return self._without_reader()
        return self._piece(0, len(self._rows), 0, progress)

    def batches(self, batch_bytes: int, progress: ReadProgress) -> Iterator["npt.NDArray[Any]"]:
        """Read the rows in pieces.

        Args:
            batch_bytes: The longest piece; each has a row at least.
            progress: Called with bytes read and bytes in all.

        Yields:
            The rows in their order, one or more at a time; nothing if there are none.

        Raises:
            NwbError: The values cannot be read.
        """
        self._refuse_size(min(self.num_bytes, max(batch_bytes, self._row_bytes)))
        if not self._has_values:
            if self._rows:
                yield self._without_reader()
            return
        pieces = self._pieces.pieces(max(1, batch_bytes // self._row_bytes))
        self._pieces.plan()
        for number, (first, stop) in enumerate(pieces):
            done, share = first * self._row_bytes, (stop - first) * self._row_bytes
            yield self._piece(first, stop, number, _within(progress, done, share, self.num_bytes))

    def _piece(
        self, first: int, stop: int, number: int, progress: ReadProgress
    ) -> "npt.NDArray[Any]":
        values = self._empty((stop - first, *self._row_shape), self._dtype)
        self._pieces.read_piece(number, lambda where, part: put(values, where, part), progress)
        return values

    def _without_reader(self) -> "npt.NDArray[Any]":
        if self.shape:
            return self._empty((len(self._rows), *self._row_shape), self._dtype)
        return self._single().astype(self._dtype)

    def _numbers(self, rows: Rows) -> range:
        if not self.shape:
            if rows != (None, None, None):
                raise InvalidInputError(f"{self._shown} is a single value: it has no rows")
            return range(1)
        return range(*slice(*rows).indices(self.shape[0]))

    def _result_type(self, dtype: "np.dtype[Any]", name: Any) -> "np.dtype[Any]":
        stored: np.dtype[Any] = dtype.newbyteorder("=")
        wanted = stored if name is None else np.dtype(name)
        if not np.can_cast(stored, wanted, "same_kind"):
            raise InvalidInputError(f"{self._shown} holds {stored}, which cannot become {wanted}")
        return wanted

    def _refuse_size(self, num_bytes: int) -> None:
        most = self._limits.max_read_bytes
        if num_bytes > most:
            raise NwbError(
                f"{self._shown} needs {num_bytes:,} bytes; at most {most:,} may be read at once "
                "(DEVARIA_MAX_READ_BYTES)"
            )


def read_each(wanted: Sequence[WantedRows], progress: ReadProgress) -> Iterator["npt.NDArray[Any]"]:
    """Read datasets one after another, and fetch the next ones meanwhile.

    Args:
        wanted: The datasets.
        progress: Called with bytes read and bytes in all.

    Yields:
        The values of each.

    Raises:
        NwbError: Values are more than the limit, or cannot be read.
    """
    total_bytes = max(1, sum(each.num_bytes for each in wanted))
    done_bytes = planned_bytes = planned = 0
    for number, each in enumerate(wanted):
        while planned < len(wanted) and (
            planned == number
            or (planned_bytes - done_bytes < _AHEAD_BYTES and wanted[planned].is_ready())
        ):
            wanted[planned].plan()
            planned_bytes += wanted[planned].num_bytes
            planned += 1
        yield each.read(_within(progress, done_bytes, each.num_bytes, total_bytes))
        done_bytes += each.num_bytes
    progress(total_bytes, total_bytes)


def _within(
    progress: ReadProgress, done_bytes: int, share_bytes: int, total_bytes: int
) -> ReadProgress:
    """Return the progress of a part, which is told as progress of the whole."""
    return lambda done, total: progress(done_bytes + share_bytes * done // total, total_bytes)


def put(values: "npt.NDArray[Any]", where: Where, part: "npt.NDArray[Any]") -> None:
    """Store some of the values."""
    # Threads each have their own settings of numpy.
    with np.errstate(over="ignore", invalid="ignore"):
        values[where] = part
