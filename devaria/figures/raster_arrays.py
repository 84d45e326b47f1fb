"""The arrays of a figpack raster plot, built with numpy from a units table.

They equal, bit for bit, what figpack-spike-sorting 0.1.17 makes of the same units
(``RasterPlot.write_to_zarr_group``), which walks the spikes one by one; each rule below is its.

The spikes are sorted in windows of time: each unit is in order already, so a window is a slice of
each, which fits the processor's cache and needs no memory to speak of.
"""

import math
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, List, Tuple

import numpy as np
import numpy.typing as npt

from devaria.nwb.errors import NwbError
from devaria.nwb.units_table import UnitsTable

#: Called with the spikes that are in their place, and with all of them.
BuildProgress = Callable[[int, int], None]

#: numpy lets other threads run while it sorts; more than two at once wait for the memory.
_THREADS = 2

#: Spikes of a window: their keys fill a processor's own cache. Where units are so many that they
#: would be crumbs, it is this many spikes of each.
_WINDOW_SPIKES = 2**18
_WINDOW_SPIKES_PER_UNIT = 256

#: Windows are cut where a sample of the spikes says; it has so many of each. They are picked by
#: the golden ratio: evenly, and out of step with any unit.
_SAMPLES_PER_WINDOW = 64
_GOLDEN = (5**0.5 - 1) / 2

#: Which half of a 64-bit number is the more significant one.
_HIGH, _LOW = (1, 0) if sys.byteorder == "little" else (0, 1)

#: Units that are counted together: their cells in a row of the table fill a cache line.
_COUNTED_TOGETHER = 32

#: Cells of the table of counts, 2 bytes each: units times seconds.
_MAX_COUNTS = 250_000_000


def spikes_in_time_order(
    table: UnitsTable, progress: BuildProgress = lambda _done, _all: None
) -> Tuple["npt.NDArray[np.float32]", "npt.NDArray[np.uint16]"]:
    """Merge the spike trains into one.

    Args:
        table: Units with finite spike times, in any order within a unit; at most 65,536 units.
        progress: Is called after each window.

    Returns:
        Times (float32, seconds, ascending) and, for each, the number of its unit (uint16).
        Equal times are in the order of the units. Of units with equal ids the last one's
        number stands for all.
    """
    num_spikes = len(table.spike_times_sec)
    times = np.empty(num_spikes, np.float32)
    units = np.empty(num_spikes, np.uint16)
    numbers = _last_of_equal_ids(table.unit_ids)
    trains = [_in_order(train) for train in _trains(table)]
    cuts = _window_cuts(trains, table.spike_times_sec)
    sizes = np.diff(cuts, axis=1)
    stops = sizes.sum(axis=0).cumsum().tolist()

    def fill(window: int, start: int, stop: int) -> int:
        bounds = zip(trains, cuts[:, window].tolist(), cuts[:, window + 1].tolist())
        parts = [train[begin:end] for train, begin, end in bounds]
        owners = np.arange(len(trains), dtype=np.uint16).repeat(sizes[:, window])
        _merge(parts, owners, times[start:stop], units[start:stop])
        units[start:stop] = numbers[units[start:stop]]
        return stop

    with ThreadPoolExecutor(_THREADS) as pool:
        for done in pool.map(fill, range(len(stops)), [0, *stops[:-1]], stops):
            progress(done, num_spikes)
    return times, units


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


def refuse_many_counts(table: UnitsTable) -> None:
    """See to it that ``counts_per_second`` fits into memory.

    Args:
        table: The units.

    Raises:
        NwbError: Their table of counts would be too large.
    """
    num_bins, num_units = _num_bins(table), len(table.unit_ids)
    if num_bins * num_units > _MAX_COUNTS:
        raise NwbError(f"{num_units:,} units over {num_bins:,} s are too many to draw")


def counts_per_second(table: UnitsTable) -> "npt.NDArray[np.uint16]":
    """Count each unit's spikes in bins of a second from the first spike on.

    Args:
        table: Units with finite spike times.

    Returns:
        uint16, shape (seconds, units), at most 65,535 a cell. As in figpack, a spike exactly on
        the end of a whole number of seconds is not counted.
    """
    num_bins = _num_bins(table)
    trains = _trains(table)
    counts = np.empty((num_bins, len(trains)), dtype=np.uint16)
    start = np.float32(table.start_time_sec)

    def count(first: int) -> None:
        block = trains[first : first + _COUNTED_TOGETHER]
        rows = np.empty((len(block), num_bins), dtype=np.uint16)
        for row, train in zip(rows, block):
            bins = (train - start).astype(np.intp)
            # No spike is before the first; those past the last bin make further ones.
            row[:] = np.bincount(bins, minlength=num_bins)[:num_bins].clip(max=65535)
        counts[:, first : first + len(block)] = rows.T

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(count, range(0, len(trains), _COUNTED_TOGETHER)))
    return counts


def _num_bins(table: UnitsTable) -> int:
    return math.ceil(table.end_time_sec - table.start_time_sec)


def _trains(table: UnitsTable) -> List["npt.NDArray[np.float32]"]:
    stops = table.unit_stops.tolist()
    return [table.spike_times_sec[start:stop] for start, stop in zip([0, *stops], stops)]


def _in_order(train: "npt.NDArray[np.float32]") -> "npt.NDArray[np.float32]":
    return train if (train[1:] >= train[:-1]).all() else np.sort(train, kind="stable")


def _window_cuts(
    trains: List["npt.NDArray[np.float32]"], spikes: "npt.NDArray[np.float32]"
) -> "npt.NDArray[np.int64]":
    """Cut all trains at common times: where in each every window starts, and the last one ends."""
    window_spikes = max(_WINDOW_SPIKES, _WINDOW_SPIKES_PER_UNIT * len(trains))
    num_windows = -(-len(spikes) // window_spikes)
    picks = np.arange(num_windows * _SAMPLES_PER_WINDOW) * _GOLDEN % 1
    sample = np.sort(spikes[(picks * len(spikes)).astype(np.intp)])
    edges = sample[_SAMPLES_PER_WINDOW::_SAMPLES_PER_WINDOW]
    cuts = np.zeros((len(trains), num_windows + 1), dtype=np.int64)
    for row, train in zip(cuts, trains):
        row[1:-1] = train.searchsorted(edges)
        row[-1] = len(train)
    return cuts


def _merge(
    parts: List["npt.NDArray[np.float32]"],
    owners: "npt.NDArray[np.uint16]",
    times: "npt.NDArray[np.float32]",
    units: "npt.NDArray[np.uint16]",
) -> None:
    """Sort parts that are in order each, ties by their order; ``owners`` are the spikes' trains."""
    np.concatenate(parts, out=times)
    if np.signbit(times).any():
        # Bits of negative times descend, and -0.0 equals 0.0 without having its bits.
        order = times.argsort(kind="stable")
        units[:] = owners[order]
        times[:] = times[order]
        return
    # The key holds the time's bits above the train's number: numbers that sort as the pairs do.
    keys = np.empty(len(times), np.uint64)
    halves = keys.view(np.uint32).reshape(-1, 2)
    halves[:, _HIGH] = times.view(np.uint32)
    halves[:, _LOW] = owners
    # numpy's stable sort finds the parts as runs that are sorted already, and merges them.
    keys.sort(kind="stable")
    times.view(np.uint32)[:] = halves[:, _HIGH]
    units[:] = halves[:, _LOW]


def _last_of_equal_ids(unit_ids: List[str]) -> "npt.NDArray[np.uint16]":
    last = {unit_id: number for number, unit_id in enumerate(unit_ids)}
    return np.array([last[unit_id] for unit_id in unit_ids], dtype=np.uint16)
