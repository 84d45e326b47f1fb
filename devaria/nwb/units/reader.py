"""Read the units table of an NWB file.

In NWB 2 the spike times of all units are one column, ``spike_times``. The column
``spike_times_index`` holds, for each unit, the position after its last spike (NWB schema, Units and
VectorIndex).
"""

from contextlib import ExitStack
from typing import Any, List, Optional, Tuple

import h5py
import numpy as np
import numpy.typing as npt

from devaria.common.text import one_line
from devaria.nwb.errors import InvalidInputError, NotInFileError, NwbError
from devaria.nwb.hdf5.browse import find_units_tables
from devaria.nwb.hdf5.chunked import ReadProgress
from devaria.nwb.hdf5.filters import refuse_inflation
from devaria.nwb.hdf5.heap_guard import refuse_long_strings
from devaria.nwb.hdf5.link_guard import follow, safe_column
from devaria.nwb.hdf5.remote_file import RemoteFile
from devaria.nwb.hdf5.values import RowsReader
from devaria.nwb.limits import ReadLimits
from devaria.nwb.units.spike_times import SpikeTimes
from devaria.nwb.units.table import UnitsTable

#: From this time on, neighbouring float32 numbers are more than a second apart. figpack stores
#: spike times as float32.
_FLOAT32_SECONDS_END = 2.0**24

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
        The units with spikes. NaN and infinite times are left out and counted.

    Raises:
        InvalidInputError: ``units_path`` is not the path of a units table of this file.
        NwbError: The table is broken, hostile, too large, or has no spikes.
    """
    limits = limits or ReadLimits()
    group = _units_group(file, units_path)
    times = _numeric(group, "spike_times", "iuf", file_bytes, limits)
    index = _numeric(group, "spike_times_index", "iu", file_bytes, limits)
    ids = _ids(group, file_bytes, limits)
    small = _prefetch_contiguous(file, [index] if ids is None else [index, ids], file_bytes)
    column = RowsReader(file, times, "spike_times", range(len(times)), file_bytes, limits)
    column.survey()
    stops = _read_stops(index, times.shape[0], limits)
    rows = np.flatnonzero(np.diff(stops, prepend=0))
    if len(rows) == 0:
        raise NwbError(f"the units table {one_line(units_path)} has no spikes")
    if len(rows) > limits.max_units:
        raise NwbError(
            f"{len(rows):,} units have spikes; at most {limits.max_units:,} can be drawn"
        )
    unit_ids = _read_ids(file, ids, rows, len(stops))
    small.close()
    spikes = SpikeTimes(int(stops[-1]))
    column.shorten(len(spikes.values))
    column.read_all(spikes.put, progress or (lambda _done, _total: None))
    values, kept_stops = _without_non_finite(spikes, stops[rows])
    if len(values) == 0:
        raise NwbError(f"the units table {one_line(units_path)} has no finite spike times")
    _refuse_implausible_times(spikes.first, spikes.last, limits)
    has_some = np.diff(kept_stops, prepend=0) > 0
    return UnitsTable(
        unit_ids=[unit_id for unit_id, kept in zip(unit_ids, has_some) if kept],
        spike_times_sec=values,
        unit_stops=kept_stops[has_some],
        start_time_sec=spikes.first,
        end_time_sec=spikes.last,
        num_rows=len(stops),
        num_dropped=spikes.num_non_finite,
    )


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


def _numeric(
    group: h5py.Group, name: str, kinds: str, file_bytes: int, limits: ReadLimits
) -> h5py.Dataset:
    try:
        dataset = safe_column(group, name, file_bytes, limits)
    except NotInFileError:
        raise NwbError(f"the units table has no {name}") from None
    if dataset.dtype.kind not in kinds:
        expected = "real numbers" if "f" in kinds else "integers"
        raise NwbError(f"{name} holds {dataset.dtype}, not {expected}")
    return dataset


def _read_stops(index: h5py.Dataset, num_times: int, limits: ReadLimits) -> "npt.NDArray[np.int64]":
    if index.shape[0] > limits.max_rows:
        raise NwbError(f"the table has {index.shape[0]:,} rows: more than {limits.max_rows:,}")
    refuse_inflation(index, range(index.shape[0]))
    stops = np.asarray(index[:])
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


def _refuse_implausible_times(first: float, last: float, limits: ReadLimits) -> None:
    if last - first > limits.max_span_sec:
        raise NwbError(
            f"the spike times span {(last - first) / 86_400:,.1f} days: they are probably sample "
            "numbers; NWB files must give seconds"
        )
    if max(-first, last) >= _FLOAT32_SECONDS_END:
        raise NwbError(
            f"the spike times lie around {last:,.0f} s: probably seconds since 1970. NWB "
            "files must give seconds since the session's start; figures cannot resolve later times"
        )


def _ids(group: h5py.Group, file_bytes: int, limits: ReadLimits) -> Optional[h5py.Dataset]:
    try:
        return safe_column(group, "id", file_bytes, limits)
    except NotInFileError:
        return None


def _prefetch_contiguous(
    file: h5py.File, columns: List[h5py.Dataset], file_bytes: int
) -> ExitStack:
    """Fetch the small columns while HDF5 looks for the first chunks of the large one.

    Returns:
        Drops them when it is closed.
    """
    stack = ExitStack()
    if not isinstance(file, RemoteFile):
        return stack
    places = []
    for column in columns:
        start = column.id.get_offset()  # None for a column in chunks
        if start is not None:
            places.append((start, min(start + column.id.get_storage_size(), file_bytes)))
    stack.callback(file.prefetcher.plan(sorted(places)).close)
    return stack


def _read_ids(
    file: h5py.File,
    ids: Optional[h5py.Dataset],
    rows: "npt.NDArray[np.int64]",
    num_rows: int,
) -> List[str]:
    if ids is None:
        return [str(row) for row in rows]
    if ids.shape[0] < num_rows:
        raise NwbError(f"the units table has {num_rows:,} units, but only {ids.shape[0]:,} ids")
    if h5py.check_string_dtype(ids.dtype) is not None and ids.dtype.kind == "O":
        if isinstance(file, RemoteFile):
            refuse_long_strings(ids, rows, 4 * _MAX_ID_CHARACTERS, file.blocks.read_at)
        # One by one, since a thousand strings may all refer to the same 100 MB of the file.
        return [_id_text(ids[int(row)]) for row in rows]
    if ids.dtype.kind not in "iufbS" or ids.dtype.itemsize > _MAX_ID_CHARACTERS:
        raise NwbError(f"the ids of the units are neither numbers nor short strings: {ids.dtype}")
    refuse_inflation(ids, range(num_rows))
    values = ids[:num_rows]
    return [_id_text(values[row]) for row in rows]


def _id_text(value: Any) -> str:
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    if len(text) > _MAX_ID_CHARACTERS:
        raise NwbError(f"a unit's id has {len(text):,} characters")
    return text
