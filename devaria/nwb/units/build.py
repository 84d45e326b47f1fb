"""Build a units table from its columns, whatever kind of file they lie in.

In NWB 2 the spike times of all units are one column, ``spike_times``. The column
``spike_times_index`` holds, for each unit, the position after its last spike (NWB schema, Units and
VectorIndex).
"""

import math
from typing import Any, List, Optional, Protocol, Tuple

import numpy as np
import numpy.typing as npt

from devaria.common.text import one_line
from devaria.nwb.decoding.pipeline import Consume
from devaria.nwb.decoding.wanted import ReadProgress
from devaria.nwb.errors import InvalidInputError, NwbError
from devaria.nwb.limits import ReadLimits
from devaria.nwb.units.plausible import (
    FLOAT32_SECONDS_END,
    refuse_implausible_times,
    refuse_long_span,
)
from devaria.nwb.units.spike_times import SpikeTimes
from devaria.nwb.units.table import UnitsTable

MAX_ID_CHARACTERS = 200


class Columns(Protocol):
    """The columns of a units table, of any kind of file.

    Attributes:
        num_times: How many spike times there are.
        times_dtype: Their type in the file.
    """

    num_times: int
    times_dtype: "np.dtype[Any]"

    def index(self, max_rows: int) -> "npt.NDArray[Any]":
        """Read ``spike_times_index``: integers, along one axis."""

    def unit_ids(self, rows: "npt.NDArray[np.int64]", num_rows: int) -> List[str]:
        """Read the ids of some rows."""

    def read_times(self, count: int, consume: Consume, progress: ReadProgress) -> None:
        """Read the first spike times, in any order, by several threads. This may be done again."""


def units_table(
    columns: Columns,
    units_path: str,
    limits: ReadLimits,
    progress: Optional[ReadProgress] = None,
) -> UnitsTable:
    """Read the spike trains of one units table, whatever kind of file it lies in.

    Args:
        columns: Its columns.
        units_path: Its path, for errors.
        limits: How much is read at most.
        progress: As for `read_units_table`.

    Returns:
        As `read_units_table`.

    Raises:
        NwbError: See there.
    """
    stops = _checked_stops(columns.index(limits.max_rows), columns.num_times, limits)
    rows = np.flatnonzero(np.diff(stops, prepend=0))
    if len(rows) == 0:
        raise NwbError(f"the units table {one_line(units_path)} has no spikes")
    if len(rows) > limits.max_units:
        raise NwbError(
            f"{len(rows):,} units have spikes; at most {limits.max_units:,} can be drawn"
        )
    unit_ids = columns.unit_ids(rows, len(stops))
    spikes, offset = _read_spikes(columns, int(stops[-1]), limits, progress or nothing)
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


def nothing(_done: int, _total: int) -> None:
    """Report no progress."""


def refuse_many_rows(num_rows: int, max_rows: int) -> None:
    """Refuse a table that is too long.

    Raises:
        NwbError: It is.
    """
    if num_rows > max_rows:
        raise NwbError(f"the table has {num_rows:,} rows: more than {max_rows:,}")


def _checked_stops(
    stops: "npt.NDArray[Any]", num_times: int, limits: ReadLimits
) -> "npt.NDArray[np.int64]":
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
    columns: Columns, count: int, limits: ReadLimits, progress: ReadProgress
) -> Tuple[SpikeTimes, float]:
    """Read the spike times; late ones from the first one's whole second on.

    Returns:
        The times, and the second from which they count.
    """
    spikes = SpikeTimes(count)
    columns.read_times(count, spikes.put, progress)
    latest = max(-spikes.first, spikes.last)
    if latest < FLOAT32_SECONDS_END or spikes.last - spikes.first > limits.max_span_sec:
        return spikes, 0.0
    dtype = columns.times_dtype
    if dtype.itemsize < 8 and dtype.kind == "f":
        raise NwbError(
            f"the spike times lie around {spikes.last:,.0f} s, probably since 1970, in {dtype}, "
            "which has no seconds there. NWB files must give seconds since the session's start"
        )
    offset = float(math.floor(spikes.first))
    # What the figure cannot resolve was read, too: so all of it again.
    spikes = SpikeTimes(count, offset)
    columns.read_times(count, spikes.put, nothing)
    return spikes, offset


def no_table(units_path: str, fault: str, tables: List[str]) -> InvalidInputError:
    """Return the error for a path that is no units table.

    Args:
        units_path: The path.
        fault: The predicate of a sentence about it.
        tables: The paths of the tables that the file has.
    """
    there = ", ".join(tables) if tables else "none"
    shown = one_line(units_path)
    return InvalidInputError(f"units_path {shown} {fault}; units tables in the file: {there}")


def refuse_few_ids(num_ids: int, num_rows: int) -> None:
    """Refuse a table that has fewer ids than units.

    Raises:
        NwbError: It has.
    """
    if num_ids < num_rows:
        raise NwbError(f"the units table has {num_rows:,} units, but only {num_ids:,} ids")


def id_text(value: Any) -> str:
    """Return an id as text.

    Raises:
        NwbError: It is too long.
    """
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    if len(text) > MAX_ID_CHARACTERS:
        raise NwbError(f"a unit's id has {len(text):,} characters")
    return text
