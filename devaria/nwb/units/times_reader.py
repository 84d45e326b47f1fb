"""Read the spike times of a units table, which may be many."""

from typing import Any, Optional

import h5py
import numpy.typing as npt

from devaria.nwb.errors import NwbError
from devaria.nwb.hdf5.chunked import ReadProgress
from devaria.nwb.hdf5.selection import Where
from devaria.nwb.hdf5.values import RowsReader
from devaria.nwb.limits import ReadLimits
from devaria.nwb.units.columns import Column
from devaria.nwb.units.spike_times import SpikeTimes


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

    def read(self, count: int, progress: ReadProgress, offset_sec: float = 0.0) -> SpikeTimes:
        """Read the times.

        Args:
            count: How many: the first ones.
            progress: Called with the bytes read and to read.
            offset_sec: This is subtracted from each time.

        Raises:
            NwbError: The column declares far more values than are stored, or the server fails.
        """
        spikes = SpikeTimes(count, offset_sec)
        reader, self._reader = self._reader or self._new_reader(), None
        if reader is None:
            spikes.put((slice(0, count),), self._column.values()[:count])
            return spikes
        if self._column.axis == 0:
            reader.shorten(count)

        def put(where: Where, slab: "npt.NDArray[Any]") -> None:
            """Store values of any shape, of which those after the last spike are left out."""
            axis = self._column.axis
            part = where[axis] if axis < len(where) else slice(0, len(self._column))
            stop = min(part.stop, count)
            if part.start < stop:
                spikes.put((slice(part.start, stop),), slab.reshape(-1)[: stop - part.start])

        reader.read_all(spikes.put if self._column.dataset.ndim == 1 else put, progress)
        return spikes

    def _new_reader(self) -> Optional[RowsReader]:
        if self._column.dataset.ndim == 0:
            return None
        rows = range(self._column.dataset.shape[0])
        return RowsReader(*self._rows_told, rows, *self._bounds_told)
