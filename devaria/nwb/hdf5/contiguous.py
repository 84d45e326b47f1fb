"""Read a dataset that is stored contiguously, without filters."""

import math
from collections import deque
from typing import Any, Callable, Deque, Tuple

import h5py
import numpy as np
import numpy.typing as npt

from devaria.nwb.decoding.pipeline import Consume
from devaria.nwb.decoding.wanted import ReadProgress
from devaria.nwb.errors import NwbError
from devaria.nwb.http.plan import Plan
from devaria.nwb.http.prefetch import Prefetcher

#: Rows are read in parts of about this many bytes of the file.
_READ_BYTES = 1024 * 1024

#: Rows that are fetched one by one are planned in groups of this many.
_PLANNED_ROWS = 1024

#: Rows with longer gaps between them are fetched one by one.
_MAX_GAP_BYTES = 128 * 1024


class ContiguousReader:
    """Reads some rows of a dataset that is stored contiguously.

    Args:
        dataset: A dataset of this layout with one axis or more, of a type that numpy has.
        rows: Numbers of the wanted rows.
        prefetcher: Fetches ranges of the file.
        file_bytes: Length of the file.

    Attributes:
        rows: Numbers of the wanted rows. They may become fewer at the end before ``plan``.

    Raises:
        NwbError: The dataset ends beyond the end of the file.
    """

    def __init__(
        self, dataset: h5py.Dataset, rows: range, prefetcher: Prefetcher, file_bytes: int
    ) -> None:
        self._dtype: np.dtype[Any] = dataset.dtype
        self._row_shape: Tuple[int, ...] = dataset.shape[1:]
        self._row_bytes: int = math.prod(self._row_shape) * self._dtype.itemsize
        self._start: int = dataset.id.get_offset()
        self._prefetcher = prefetcher
        self._plans: Deque[Tuple[int, Plan]] = deque()
        self._planned = 0
        self.rows = rows
        if self._start + dataset.shape[0] * self._row_bytes > file_bytes:
            raise NwbError(f"the file is damaged: {dataset.name} ends beyond its end")

    def plan(self) -> None:
        """Start to fetch the rows."""
        self._plans = deque()
        self._planned = 0
        for _ in range(2):
            self._plan_next()

    def read_all(self, consume: Consume, progress: ReadProgress) -> None:
        """Read the rows.

        Args:
            consume: Called with the values, in order.
            progress: Called with the bytes that are read, and with those to read.

        Raises:
            NwbError: The server fails.
        """
        total_bytes = max(1, len(self.rows) * self._row_bytes)
        progress(0, total_bytes)
        self.plan()
        self.read(
            0,
            len(self.rows),
            consume,
            lambda stop: progress(stop * self._row_bytes, total_bytes),
        )

    def read(
        self,
        first: int,
        stop: int,
        consume: Consume,
        note_read: Callable[[int], object] = lambda _stop: None,
    ) -> None:
        """Read some of the wanted rows, after `plan`, in their order.

        Args:
            first: The first row, counted among the wanted.
            stop: The row after the last one.
            consume: Called with the values, in order.
            note_read: Called with the row up to which all are read.

        Raises:
            NwbError: The server fails.
        """
        step = self._rows_a_read()
        for start in range(first, stop, step):
            end = min(start + step, stop)
            consume((slice(start, end),), self._read(start, self.rows[start:end]))
            note_read(end)

    def _rows_a_read(self) -> int:
        if self._has_gaps():
            return 1
        return max(1, _READ_BYTES // max(1, self._row_bytes * self.rows.step))

    def _has_gaps(self) -> bool:
        return (self.rows.step - 1) * self._row_bytes > _MAX_GAP_BYTES

    def _plan_next(self) -> None:
        """Plan all rows; of rows that are fetched one by one, the next few."""
        if self._planned == len(self.rows):
            return
        rows = self.rows[self._planned :]
        if self._has_gaps():
            rows = rows[:_PLANNED_ROWS]
            ranges = [self._place(row, row) for row in rows]
        else:
            ranges = [self._place(rows[0], rows[-1])]
        self._planned += len(rows)
        self._plans.append((self._planned, self._prefetcher.plan(ranges)))

    def _place(self, first: int, last: int) -> Tuple[int, int]:
        return self._start + first * self._row_bytes, self._start + (last + 1) * self._row_bytes

    def _read(self, first: int, rows: range) -> "npt.NDArray[Any]":
        while self._plans[0][0] <= first:
            self._plans.popleft()[1].close()
            self._plan_next()
        pieces = self._plans[0][1].read(*self._place(rows[0], rows[-1]))
        if not pieces:
            # All of it is planned, so this cannot happen. Going on would leave these values
            # uninitialised.
            raise AssertionError(f"rows {rows[0]:,} to {rows[-1]:,} were not fetched")
        stored = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        values = np.frombuffer(stored, self._dtype)
        return values.reshape(-1, *self._row_shape)[:: rows.step]
