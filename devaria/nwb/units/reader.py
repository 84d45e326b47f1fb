"""Read the units table of an NWB file.

In NWB 2 the spike times of all units are one column, ``spike_times``. The column
``spike_times_index`` holds, for each unit, the position after its last spike (NWB schema, Units and
VectorIndex).
"""

import math
from contextlib import ExitStack
from typing import Any, List, Optional, Tuple

import h5py
import numpy as np
import numpy.typing as npt

from devaria.common.text import one_line
from devaria.nwb.errors import InvalidInputError, NotInFileError, NwbError
from devaria.nwb.hdf5.browse import find_units_tables
from devaria.nwb.hdf5.chunked import ReadProgress
from devaria.nwb.hdf5.guards.reads import reading_values
from devaria.nwb.hdf5.heap_guard import refuse_long_strings
from devaria.nwb.hdf5.link_guard import follow
from devaria.nwb.hdf5.remote_file import RemoteFile
from devaria.nwb.limits import ReadLimits
from devaria.nwb.units.column import Column, holds_regions, stops_of_regions
from devaria.nwb.units.plausible import (
    FLOAT32_SECONDS_END,
    refuse_implausible_times,
    refuse_long_span,
)
from devaria.nwb.units.spike_times import SpikeTimes
from devaria.nwb.units.table import UnitsTable
from devaria.nwb.units.times_reader import TimesReader

_MAX_ID_CHARACTERS = 200


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
    times = _column(group, "spike_times", file_bytes, limits)
    times.refuse_others("iuf")
    index = _column(group, "spike_times_index", file_bytes, limits)
    if not holds_regions(index):
        index.refuse_others("iu")
    ids = _ids(group, file_bytes, limits)
    small = _prefetch_contiguous(file, [index] if ids is None else [index, ids], file_bytes)
    reader = TimesReader(file, times, file_bytes, limits)
    reader.survey()
    stops = _read_stops(index, times, limits)
    rows = np.flatnonzero(np.diff(stops, prepend=0))
    if len(rows) == 0:
        raise NwbError(f"the units table {one_line(units_path)} has no spikes")
    if len(rows) > limits.max_units:
        raise NwbError(
            f"{len(rows):,} units have spikes; at most {limits.max_units:,} can be drawn"
        )
    unit_ids = _read_ids(file, ids, rows, len(stops))
    small.close()
    spikes, offset = _read_spikes(reader, times, int(stops[-1]), limits, progress or _nothing)
    values, kept_stops = _without_non_finite(spikes, stops[rows])
    if len(values) == 0:
        raise NwbError(f"the units table {one_line(units_path)} has no finite spike times")
    refuse_implausible_times(values, kept_stops, spikes.last - spikes.first)
    refuse_long_span(spikes.last - spikes.first, limits)
    has_some = np.diff(kept_stops, prepend=0) > 0
    return UnitsTable(
        unit_ids=[unit_id for unit_id, kept in zip(unit_ids, has_some) if kept],
        unit_rows=rows[has_some],
        spike_times_sec=values,
        unit_stops=kept_stops[has_some],
        start_time_sec=spikes.first,
        end_time_sec=spikes.last,
        num_rows=len(stops),
        num_dropped=spikes.num_non_finite,
        time_offset_sec=offset,
    )


def _nothing(_done: int, _total: int) -> None:
    """Report no progress."""


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
    there = ", ".join(tables) if tables else "none"
    shown = one_line(units_path)
    return InvalidInputError(f"units_path {shown} {fault}; units tables in the file: {there}")


def _column(group: h5py.Group, name: str, file_bytes: int, limits: ReadLimits) -> Column:
    try:
        return Column(group, name, file_bytes, limits)
    except NotInFileError:
        raise NwbError(f"the units table has no {name}") from None


def _read_stops(index: Column, times: Column, limits: ReadLimits) -> "npt.NDArray[np.int64]":
    if len(index) > limits.max_rows:
        raise NwbError(f"the table has {len(index):,} rows: more than {limits.max_rows:,}")
    num_times = len(times)
    stops = stops_of_regions(index, times) if holds_regions(index) else index.values(len(index))
    # Compared before the cast, which would make a uint64 beyond int64 negative.
    if len(stops) and (stops.max() > num_times or stops.min() < 0):
        raise NwbError(f"spike_times_index is corrupt: it points past the {num_times:,} spikes")
    stops = stops.astype(np.int64)
    if np.any(np.diff(stops) < 0):
        raise NwbError("spike_times_index is corrupt: it descends")
    if len(stops) and stops[-1] > limits.max_spikes:
        raise NwbError(
            f"the table has {stops[-1]:,} spikes; at most {limits.max_spikes:,} can be drawn"
        )
    return stops


def _without_non_finite(
    times: SpikeTimes, stops: "npt.NDArray[np.int64]"
) -> Tuple["npt.NDArray[np.float32]", "npt.NDArray[np.int64]"]:
    if times.num_non_finite == 0:
        return times.values, stops
    values, kept_stops = times.values, np.empty_like(stops)
    start = kept = 0
    for unit, stop in enumerate(stops):
        train = values[start:stop]
        train = train[np.isfinite(train)]
        # In place: a second array of all spikes may not fit into memory.
        values[kept : kept + len(train)] = train
        start, kept = stop, kept + len(train)
        kept_stops[unit] = kept
    return values[:kept], kept_stops


def _read_spikes(
    reader: TimesReader, times: Column, count: int, limits: ReadLimits, progress: ReadProgress
) -> Tuple[SpikeTimes, float]:
    """Read the spike times; late ones from the first one's whole second on.

    Returns:
        The times, and the second from which they count.
    """
    spikes = SpikeTimes(count)
    reader.read(count, spikes.put, progress)
    latest = max(-spikes.first, spikes.last)
    if latest < FLOAT32_SECONDS_END or spikes.last - spikes.first > limits.max_span_sec:
        return spikes, 0.0
    if times.dataset.dtype.itemsize < 8 and times.dataset.dtype.kind == "f":
        raise NwbError(
            f"the spike times lie around {spikes.last:,.0f} s, probably since 1970, in "
            f"{times.dataset.dtype}, which has no seconds there. NWB files must give seconds since "
            "the session's start"
        )
    offset = float(math.floor(spikes.first))
    # What the figure cannot resolve was read, too: so all of it again.
    spikes = SpikeTimes(count, offset)
    reader.read(count, spikes.put, _nothing)
    return spikes, offset


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
    if len(ids) < num_rows:
        raise NwbError(f"the units table has {num_rows:,} units, but only {len(ids):,} ids")
    dtype = ids.dataset.dtype
    if h5py.check_string_dtype(dtype) is not None and dtype.kind == "O":
        if isinstance(file, RemoteFile):
            longest = 4 * _MAX_ID_CHARACTERS
            refuse_long_strings(ids.dataset, rows, longest, file.blocks.read_at)
        # One by one, since a thousand strings may all refer to the same 100 MB of the file.
        with reading_values():
            return [_id_text(ids.item(int(row))) for row in rows]
    if dtype.kind not in "iufbS" or dtype.itemsize > _MAX_ID_CHARACTERS:
        raise NwbError(f"the ids of the units are neither numbers nor short strings: {dtype}")
    return [_id_text(value) for value in ids.values(num_rows)[rows]]


def _id_text(value: Any) -> str:
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    if len(text) > _MAX_ID_CHARACTERS:
        raise NwbError(f"a unit's id has {len(text):,} characters")
    return text
