"""Read the units table of an HDF5 file."""

from contextlib import ExitStack
from typing import Any, List, Optional

import h5py
import numpy as np
import numpy.typing as npt

from devaria.nwb.decoding.pipeline import Consume
from devaria.nwb.decoding.wanted import ReadProgress
from devaria.nwb.errors import NotInFileError, NwbError
from devaria.nwb.hdf5.browse import find_units_tables
from devaria.nwb.hdf5.guards.reads import reading_values
from devaria.nwb.hdf5.heap_guard import refuse_long_strings
from devaria.nwb.hdf5.link_guard import follow
from devaria.nwb.hdf5.remote_file import RemoteFile
from devaria.nwb.limits import ReadLimits
from devaria.nwb.units.build import (
    MAX_ID_CHARACTERS,
    id_text,
    no_table,
    refuse_few_ids,
    refuse_many_rows,
    units_table,
)
from devaria.nwb.units.column import Column, holds_regions, stops_of_regions
from devaria.nwb.units.table import UnitsTable
from devaria.nwb.units.times_reader import TimesReader


def read_units_table(
    file: h5py.File,
    units_path: str,
    *,
    file_bytes: int,
    limits: Optional[ReadLimits] = None,
    progress: Optional[ReadProgress] = None,
) -> UnitsTable:
    """Read the spike trains of one units table.

    Args:
        file: An open NWB file.
        units_path: Path of the table, such as ``/units``.
        file_bytes: Length of the file. Declared sizes are checked against it.
        limits: How much is read at most.
        progress: Called by this thread as ``progress(done_bytes, total_bytes)``. Both count the
            stored bytes of the spike times. ``total_bytes`` is 1 or more and constant; for a
            column of many chunks it is an estimate from the first ones. ``done_bytes`` starts at
            0, never decreases, and ends at ``total_bytes``. There may be many calls a second, and
            none for minutes while a server fails. If it raises an exception, the reading ends.

    Returns:
        The units with spikes. NaN and infinite times are left out and counted. Times that float32
        cannot resolve, such as those since 1970, count from the first spike's whole second on.

    Raises:
        InvalidInputError: ``units_path`` is not the path of a units table of this file.
        NwbError: The table is broken, hostile, too large, or has no spikes.
    """
    limits = limits or ReadLimits()
    group = _units_group(file, units_path)
    with _Hdf5Columns(file, group, file_bytes, limits) as columns:
        return units_table(columns, units_path, limits, progress)


class _Hdf5Columns(ExitStack):
    """The columns of a table in an HDF5 file. At the end of a ``with`` block, it drops ranges."""

    def __init__(
        self, file: h5py.File, group: h5py.Group, file_bytes: int, limits: ReadLimits
    ) -> None:
        super().__init__()
        self._file = file
        self._times = _column(group, "spike_times", file_bytes, limits)
        self._times.refuse_others("iuf")
        self._index = _column(group, "spike_times_index", file_bytes, limits)
        if not holds_regions(self._index):
            self._index.refuse_others("iu")
        self._ids = _ids(group, file_bytes, limits)
        small = [self._index] if self._ids is None else [self._index, self._ids]
        self._small = self.enter_context(_prefetch_contiguous(file, small, file_bytes))
        self._reader = TimesReader(file, self._times, file_bytes, limits)
        self._reader.survey()
        self.num_times = len(self._times)
        self.times_dtype: np.dtype[Any] = self._times.dataset.dtype

    def index(self, max_rows: int) -> "npt.NDArray[Any]":
        num_rows = len(self._index)
        refuse_many_rows(num_rows, max_rows)
        if holds_regions(self._index):
            return stops_of_regions(self._index, self._times)
        return self._index.values(num_rows)

    def unit_ids(self, rows: "npt.NDArray[np.int64]", num_rows: int) -> List[str]:
        unit_ids = _read_ids(self._file, self._ids, rows, num_rows)
        self._small.close()
        return unit_ids

    def read_times(self, count: int, consume: Consume, progress: ReadProgress) -> None:
        self._reader.read(count, consume, progress)


def _units_group(file: h5py.File, units_path: str) -> h5py.Group:
    try:
        group = follow(file["/"], units_path)
    except NotInFileError:
        raise _not_a_table(file, units_path, "is not in the file") from None
    if not isinstance(group, h5py.Group):
        raise _not_a_table(file, units_path, "is a dataset, not a units table")
    if group.get("spike_times", getlink=True) is None:
        raise _not_a_table(file, units_path, "is not a units table: it has no spike_times")
    return group


def _not_a_table(file: h5py.File, units_path: str, fault: str) -> Exception:
    tables = find_units_tables(file)
    is_nwb_1 = file.get("nwb_version", getlink=True) is not None  # in NWB 2 it is an attribute
    if is_nwb_1 and not tables:
        return NwbError("this is an NWB 1.x file; only NWB 2 files have units tables to draw")
    return no_table(units_path, fault, tables)


def _column(group: h5py.Group, name: str, file_bytes: int, limits: ReadLimits) -> Column:
    try:
        return Column(group, name, file_bytes, limits)
    except NotInFileError:
        raise NwbError(f"the units table has no {name}") from None


def _ids(group: h5py.Group, file_bytes: int, limits: ReadLimits) -> Optional[Column]:
    try:
        return Column(group, "id", file_bytes, limits)
    except NotInFileError:
        return None


def _prefetch_contiguous(file: h5py.File, columns: List[Column], file_bytes: int) -> ExitStack:
    """Fetch the small columns while HDF5 looks for the first chunks of the large one.

    Returns:
        Drops them when it is closed.
    """
    stack = ExitStack()
    if not isinstance(file, RemoteFile):
        return stack
    places = []
    for column in columns:
        stored = column.dataset.id
        start = stored.get_offset()  # None for a column in chunks
        if start is not None:
            places.append((start, min(start + stored.get_storage_size(), file_bytes)))
    stack.callback(file.prefetcher.plan(sorted(places)).close)
    return stack


def _read_ids(
    file: h5py.File, ids: Optional[Column], rows: "npt.NDArray[np.int64]", num_rows: int
) -> List[str]:
    if ids is None:
        return [str(row) for row in rows]
    refuse_few_ids(len(ids), num_rows)
    dtype = ids.dataset.dtype
    if h5py.check_string_dtype(dtype) is not None and dtype.kind == "O":
        if isinstance(file, RemoteFile):
            longest = 4 * MAX_ID_CHARACTERS
            refuse_long_strings(ids.dataset, rows, longest, file.blocks.read_at)
        # One by one, since a thousand strings may all refer to the same 100 MB of the file.
        with reading_values():
            return [id_text(ids.item(int(row))) for row in rows]
    if dtype.kind not in "iufbS" or dtype.itemsize > MAX_ID_CHARACTERS:
        raise NwbError(f"the ids of the units are neither numbers nor short strings: {dtype}")
    return [id_text(value) for value in ids.values(num_rows)[rows]]
