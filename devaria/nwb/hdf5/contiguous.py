"""Read a dataset that is stored contiguously, without filters."""

import math
from typing import Any, List, Optional, Tuple

import h5py
import numpy as np
import numpy.typing as npt

from devaria.nwb.errors import NwbError
from devaria.nwb.hdf5.chunked import ReadProgress
from devaria.nwb.hdf5.pipeline import Consume
from devaria.nwb.http.prefetch import Plan, Prefetcher

#: Rows are passed on in pieces of about this many bytes of the file.
_PIECE_BYTES = 1024 * 1024

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
        rows: Numbers of the wanted rows. They may become fewer at the end before ``read``.

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
        self._plan: Optional[Plan] = None
        self.rows = rows
        if self._start + dataset.shape[0] * self._row_bytes > file_bytes:
            raise NwbError(f"the file is damaged: {dataset.name} ends beyond its end")

    def plan(self) -> None:
        """Start to fetch the rows."""
        self._plan = self._prefetcher.plan(self._ranges())

    def read(self, consume: Consume, progress: ReadProgress) -> None:
        """Read the rows.

        Args:
            consume: Called with the values, in order.
            progress: Called with the bytes that are read, and with those to read.

        Raises:
            NwbError: The server fails.
        """
        plan = self._plan or self._prefetcher.plan(self._ranges())
        rows, step = self.rows, self._rows_a_piece()
        total_bytes = max(1, len(rows) * self._row_bytes)
        progress(0, total_bytes)
        for first in range(0, len(rows), step):
            part = rows[first : first + step]
            consume((slice(first, first + len(part)),), self._read(plan, part))
            progress((first + len(part)) * self._row_bytes, total_bytes)
        plan.close()

    def _rows_a_piece(self) -> int:
        if self._has_gaps():
            return 1
        return max(1, _PIECE_BYTES // max(1, self._row_bytes * self.rows.step))

    def _has_gaps(self) -> bool:
        return (self.rows.step - 1) * self._row_bytes > _MAX_GAP_BYTES

    def _ranges(self) -> List[Tuple[int, int]]:
        if self._has_gaps():
            return [self._place(row, row) for row in self.rows]
        return [self._place(self.rows[0], self.rows[-1])] if self.rows else []

    def _place(self, first: int, last: int) -> Tuple[int, int]:
        return self._start + first * self._row_bytes, self._start + (last + 1) * self._row_bytes

    def _read(self, plan: Plan, rows: range) -> "npt.NDArray[Any]":
        pieces = plan.read(*self._place(rows[0], rows[-1]))
        if pieces is None:
            # All of it is planned, so this cannot happen. Going on would leave these values
            # uninitialised.
            raise AssertionError(f"rows {rows[0]:,} to {rows[-1]:,} were not fetched")
        stored = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        values = np.frombuffer(stored, self._dtype)
        return values.reshape(-1, *self._row_shape)[:: rows.step]
