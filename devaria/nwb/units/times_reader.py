"""Read the spike times of a units table in an HDF5 file. There may be many."""

from typing import Any, Optional

import h5py
import numpy.typing as npt

from devaria.nwb.decoding.pipeline import Consume
from devaria.nwb.decoding.selection import Where
from devaria.nwb.decoding.wanted import ReadProgress
from devaria.nwb.errors import NwbError
from devaria.nwb.hdf5.values import RowsReader
from devaria.nwb.limits import ReadLimits
from devaria.nwb.units.column import Column


class TimesReader:
    """Reads the column of spike times.

    Args:
        file: The open file.
        column: The column.
        file_bytes: Length of the file.
        limits: How much is read at most.

    Raises:
        NwbError: The file gives the column an impossible place, or has it as one row that is too
            long.
    """

    def __init__(
        self, file: h5py.File, column: Column, file_bytes: int, limits: ReadLimits
    ) -> None:
        self._column = column
        self._rows_told = (file, column.dataset, column.name)
        self._bounds_told = (file_bytes, limits)
        self._reader = self._new_reader()
        # Rows are read whole.
        if column.axis > 0 and column.dataset.nbytes > limits.max_read_bytes:
            raise NwbError(f"{column.name} is one row of {len(column):,} values: too long")

    def survey(self) -> None:
        """Look at where the first values lie, before `read`.

        Raises:
            NwbError: The column's index is wrong, or the server fails.
        """
        if self._reader is not None:
            self._reader.survey()

    def read(self, count: int, consume: Consume, progress: ReadProgress) -> None:
        """Read the times. This may be done again.

        Args:
            count: How many: the first ones.
            consume: Called with the values, in any order, perhaps by several threads. Each place
                is one slice.
            progress: Called with the bytes read and to read.

        Raises:
            NwbError: The column declares far more values than are stored, or the server fails.
        """
        column, dataset = self._column, self._column.dataset
        reader, self._reader = self._reader or self._new_reader(), None
        if reader is None:
            consume((slice(0, count),), column.values(count))
            return
        if column.axis == 0:
            reader.shorten(count)

        def put(where: Where, slab: "npt.NDArray[Any]") -> None:
            """Pass on values of any shape, of which those after the last spike are left out."""
            part = where[column.axis] if column.axis < len(where) else slice(0, len(column))
            stop = min(part.stop, count)
            if part.start < stop:
                consume((slice(part.start, stop),), slab.reshape(-1)[: stop - part.start])

        reader.read_all(consume if dataset.ndim == 1 else put, progress)

    def _new_reader(self) -> Optional[RowsReader]:
        if self._column.dataset.ndim == 0:
            return None
        rows = range(self._column.dataset.shape[0])
        return RowsReader(*self._rows_told, rows, *self._bounds_told)
