"""The arrays of a figpack raster plot, built with numpy from a units table.

They are equal, bit for bit, to those of figpack-spike-sorting 0.1.17 for the same units
(``RasterPlot.write_to_zarr_group``), which loops over single spikes. Each rule below comes from it.
Two things differ, since its figures lack spikes at their end: see ``reference_points`` and
``counts_per_second``. And figpack draws units with equal ids in one row.

The spikes are merged in windows of time. Within a unit they are in order, so a window consists of
one slice of each unit. A window fits into the processor's cache and needs little extra memory.
"""

import math
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, List, Tuple

import numpy as np
import numpy.typing as npt

from devaria.nwb.errors import NwbError
from devaria.nwb.units.table import UnitsTable

#: Called with the number of spikes sorted so far, and the number of all.
BuildProgress = Callable[[int, int], None]

#: Threads that sort. numpy releases the GIL meanwhile; more than two would wait for the memory.
_THREADS = 2

#: Spikes in a window: as many as a processor's cache holds, but on average at least
#: `_WINDOW_SPIKES_PER_UNIT` of each unit, so that slices do not become tiny.
_WINDOW_SPIKES = 2**18
_WINDOW_SPIKES_PER_UNIT = 256

#: The edges of the windows are estimated from a sample with this many spikes of each window. The
#: sample is picked by multiples of the golden ratio: evenly, and not in step with any unit.
_SAMPLES_PER_WINDOW = 64
_GOLDEN = (5**0.5 - 1) / 2

#: Positions of the more and the less significant half of a 64-bit number in memory.
_HIGH, _LOW = (1, 0) if sys.byteorder == "little" else (0, 1)

#: Units that are counted together. Their cells in one row of the table fill a cache line.
_COUNTED_TOGETHER = 32

#: Most cells of the table of counts (units times seconds), 2 bytes each.
_MAX_COUNTS = 250_000_000


def spikes_in_time_order(
    table: UnitsTable, progress: BuildProgress = lambda _done, _all: None
) -> Tuple["npt.NDArray[np.float32]", "npt.NDArray[np.uint16]"]:
    """Merge the spike trains into one.

    Args:
        table: At most 65,536 units with finite spike times, in any order within a unit.
        progress: Called after each window.

    Returns:
        Times (float32, seconds, ascending) and, for each, the number of its unit (uint16). Equal
        times are in the order of the units.
    """
    num_spikes = len(table.spike_times_sec)
    times = np.empty(num_spikes, np.float32)
    units = np.empty(num_spikes, np.uint16)
    trains = [in_order(train) for train in trains_of(table)]
    cuts = _window_cuts(trains, table.spike_times_sec)
    sizes = np.diff(cuts, axis=1)
    stops = sizes.sum(axis=0).cumsum().tolist()

    def fill(window: int, start: int, stop: int) -> int:
        bounds = zip(trains, cuts[:, window].tolist(), cuts[:, window + 1].tolist())
        parts = [train[begin:end] for train, begin, end in bounds]
        owners = np.arange(len(trains), dtype=np.uint16).repeat(sizes[:, window])
        _merge(parts, owners, times[start:stop], units[start:stop])
        return stop

    with ThreadPoolExecutor(_THREADS) as pool:
        for done in pool.map(fill, range(len(stops)), [0, *stops[:-1]], stops):
            progress(done, num_spikes)
    return times, units


def reference_points(
    times: "npt.NDArray[np.float32]",
) -> Tuple["npt.NDArray[np.float32]", "npt.NDArray[np.uint32]"]:
    """Pick spikes a second or more apart, with which the front end finds spikes by time.

    Args:
        times: float32, seconds, ascending, not empty.

    Returns:
        Times of these spikes (float32) and their positions (uint32), starting with the first
        spike; and as a last point the last spike's time and the number of spikes. figpack's own
        figures lack that point. But its front end draws from point to point, so they lack the
        spikes of up to a second at the end, too.
    """
    positions: List[int] = []
    position = 0
    while position < len(times):
        positions.append(position)
        # The sum is float32, as in figpack. From 2**24 s on it may equal the time: go on by one.
        target = times[position] + np.float32(1)
        position += 1
        position += int(times[position:].searchsorted(target))
    indices = np.array([*positions, len(times)], dtype=np.uint32)
    return times[[*positions, -1]], indices


def refuse_many_counts(table: UnitsTable) -> None:
    """Refuse units for which the result of ``counts_per_second`` would be too large.

    Raises:
        NwbError: There are too many units, over too many seconds.
    """
    num_bins, num_units = _num_bins(table), len(table.unit_stops)
    if num_bins * num_units > _MAX_COUNTS:
        raise NwbError(f"{num_units:,} units over {num_bins:,} s are too many to draw")


def counts_per_second(table: UnitsTable) -> "npt.NDArray[np.uint16]":
    """Count each unit's spikes in bins of one second, starting at the first spike.

    Args:
        table: Units with finite spike times.

    Returns:
        uint16, shape (seconds, units). Counts above 65,535 are stored as 65,535. The last bin
        includes its end. figpack's own figures do not count a spike exactly there.
    """
    num_bins = _num_bins(table)
    trains = trains_of(table)
    counts = np.empty((num_bins, len(trains)), dtype=np.uint16)
    start = np.float32(table.start_time_sec)

    def count(first: int) -> None:
        block = trains[first : first + _COUNTED_TOGETHER]
        rows = np.empty((len(block), num_bins), dtype=np.uint16)
        for row, train in zip(rows, block):
            bins = (train - start).astype(np.intp)
            # No bin is negative. A time may be rounded to beyond the last bin's end.
            counted = np.bincount(bins, minlength=num_bins)
            counted[num_bins - 1] = counted[num_bins - 1 :].sum()
            row[:] = counted[:num_bins].clip(max=65535)
        counts[:, first : first + len(block)] = rows.T

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(count, range(0, len(trains), _COUNTED_TOGETHER)))
    return counts


def _num_bins(table: UnitsTable) -> int:
    return math.ceil(table.end_time_sec - table.start_time_sec)


def trains_of(table: UnitsTable) -> List["npt.NDArray[np.float32]"]:
    """Return the spike times of each unit, without a copy."""
    stops = table.unit_stops.tolist()
    return [table.spike_times_sec[start:stop] for start, stop in zip([0, *stops], stops)]


def in_order(train: "npt.NDArray[np.float32]") -> "npt.NDArray[np.float32]":
    """Return the spikes of a unit in their order, as a copy only if they are not."""
    return train if (train[1:] >= train[:-1]).all() else np.sort(train, kind="stable")


def _window_cuts(
    trains: List["npt.NDArray[np.float32]"], spikes: "npt.NDArray[np.float32]"
) -> "npt.NDArray[np.int64]":
    """Return for each train the positions where the windows start, and where the last one ends."""
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
    """Merge sorted parts; equal times stay in the order of the parts.

    ``owners`` holds the number of each spike's train.
    """
    np.concatenate(parts, out=times)
    if np.signbit(times).any():
        # The bits of negative floats sort in reverse, and -0.0 has other bits than 0.0.
        order = times.argsort(kind="stable")
        units[:] = owners[order]
        times[:] = times[order]
        return
    # The key is the time's bits followed by the train's number: it sorts as the pair would.
    keys = np.empty(len(times), np.uint64)
    halves = keys.view(np.uint32).reshape(-1, 2)
    halves[:, _HIGH] = times.view(np.uint32)
    halves[:, _LOW] = owners
    # numpy's stable sort detects the sorted parts and merges them.
    keys.sort(kind="stable")
    times.view(np.uint32)[:] = halves[:, _HIGH]
    units[:] = halves[:, _LOW]
