"""The arrays of a figpack raster plot, built with numpy from a units table.

They equal, bit for bit, what figpack-spike-sorting 0.1.17 makes of the same units
(``RasterPlot.write_to_zarr_group``), which walks the spikes one by one; each rule below is its.
"""

import math
from typing import List, Tuple

import numpy as np
import numpy.typing as npt

from devaria.nwb.errors import NwbError
from devaria.nwb.units_table import UnitsTable

#: Cells of the table of counts, 2 bytes each: units times seconds.
_MAX_COUNTS = 250_000_000


def spikes_in_time_order(
    table: UnitsTable,
) -> Tuple["npt.NDArray[np.float32]", "npt.NDArray[np.uint16]"]:
    """Merge the spike trains into one.

    Args:
        table: Units with finite spike times, in any order within a unit; at most 65,536 units.

    Returns:
        Times (float32, seconds, ascending) and, for each, the number of its unit (uint16).
        Equal times are in the order of the units. Of units with equal ids the last one's
        number stands for all.
    """
    # The key holds the time's bits above the unit's number: numbers that sort as the pairs do.
    bits = _sortable_bits(table.spike_times_sec)
    keys = bits.astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= np.repeat(np.arange(len(table.unit_ids), dtype=np.uint32), _spikes_per_unit(table))
    # numpy's stable sort finds the units as runs that are sorted already, and merges them.
    keys.sort(kind="stable")
    units = _last_of_equal_ids(table.unit_ids)[(keys & np.uint64(0xFFFF)).astype(np.uint16)]
    keys >>= np.uint64(32)
    return _from_sortable_bits(keys.astype(np.uint32), table), units


def reference_points(
    times: "npt.NDArray[np.float32]",
) -> Tuple["npt.NDArray[np.float32]", "npt.NDArray[np.uint32]"]:
    """Pick spikes a second or more apart, by which the front end finds its way in time.

    Args:
        times: float32, seconds, ascending, not empty.

    Returns:
        Times of these spikes (float32) and their positions (uint32), from the first spike on.
        Where all spikes lie within a second, the end is added as a second point, which figpack
        does not do: the front end draws from point to point, and with one alone nothing.
    """
    positions: List[int] = []
    position = 0
    while position < len(times):
        positions.append(position)
        # In float32, as figpack adds. From 2**24 s on the sum may be the time itself: go on by one.
        target = times[position] + np.float32(1)
        position += 1
        position += int(times[position:].searchsorted(target))
    indices = np.array(positions, dtype=np.uint32)
    if len(indices) == 1:
        return times[[0, -1]], np.array([0, len(times)], dtype=np.uint32)
    return times[indices], indices


def counts_per_second(table: UnitsTable) -> "npt.NDArray[np.uint16]":
    """Count each unit's spikes in bins of a second from the first spike on.

    Args:
        table: Units with finite spike times.

    Returns:
        uint16, shape (seconds, units), at most 65,535 a cell. As in figpack, a spike exactly on
        the end of a whole number of seconds is not counted.

    Raises:
        NwbError: The table of counts would be too large.
    """
    num_bins = math.ceil(table.end_time_sec - table.start_time_sec)
    num_units = len(table.unit_ids)
    if num_bins * num_units > _MAX_COUNTS:
        raise NwbError(f"{num_units:,} units over {num_bins:,} s are too many to draw")
    counts = np.zeros((num_bins, num_units), dtype=np.uint16)
    start = 0
    for unit, stop in enumerate(table.unit_stops):
        bins = (table.spike_times_sec[start:stop] - np.float32(table.start_time_sec)).astype(int)
        bins = bins[(bins >= 0) & (bins < num_bins)]
        counts[:, unit] = np.bincount(bins, minlength=num_bins).clip(max=65535)
        start = stop
    return counts


def _spikes_per_unit(table: UnitsTable) -> "npt.NDArray[np.int64]":
    return np.diff(table.unit_stops, prepend=0)


def _sortable_bits(times: "npt.NDArray[np.float32]") -> "npt.NDArray[np.uint32]":
    # Adding zero turns -0.0 into 0.0, which is equal to it but has other bits.
    bits = (times + np.float32(0)).view(np.uint32)
    if times.min() < 0:
        bits ^= np.where(bits >> 31, np.uint32(0xFFFFFFFF), np.uint32(0x80000000))
    return bits


def _from_sortable_bits(
    bits: "npt.NDArray[np.uint32]", table: UnitsTable
) -> "npt.NDArray[np.float32]":
    if table.spike_times_sec.min() < 0:
        bits ^= np.where(bits >> 31, np.uint32(0x80000000), np.uint32(0xFFFFFFFF))
    return bits.view(np.float32)


def _last_of_equal_ids(unit_ids: List[str]) -> "npt.NDArray[np.uint16]":
    last = {unit_id: number for number, unit_id in enumerate(unit_ids)}
    return np.array([last[unit_id] for unit_id in unit_ids], dtype=np.uint16)
