"""Whether spike times can be seconds of a session, as NWB demands."""

from typing import Iterator

import numpy as np
import numpy.typing as npt

from devaria.nwb.errors import NwbError
from devaria.nwb.limits import ReadLimits

#: From this time on, neighbouring float32 numbers are more than a second apart. figpack stores
#: spike times as float32.
FLOAT32_SECONDS_END = 2.0**24

#: Milliseconds taken for seconds make a session of days, whose neurons fire once in many seconds
#: and hardly ever twice within a second, since neurons pause for a millisecond after a spike.
_MILLISECONDS_SPAN_SEC = 86_400
_MILLISECONDS_MEDIAN_SEC = 5.0
_MILLISECONDS_SHORTEST_SEC = 1.0

#: Fewer intervals say nothing. Of a long table, the first ones of some units are enough.
_MIN_INTERVALS = 100
_INTERVALS_A_UNIT, _UNITS = 1_000, 1_000


def refuse_implausible_times(
    times: "npt.NDArray[np.float32]", stops: "npt.NDArray[np.int64]", span_sec: float
) -> None:
    """Refuse times that are probably milliseconds.

    Args:
        times: Spike times, one unit after another.
        stops: For each unit, the position after its last spike.
        span_sec: From the first spike to the last.

    Raises:
        NwbError: They are.
    """
    if span_sec < _MILLISECONDS_SPAN_SEC:
        return
    intervals = np.concatenate([*_intervals(times, stops), np.empty(0, np.float32)])
    if len(intervals) < _MIN_INTERVALS:
        return
    shortest, median = np.percentile(intervals, [1, 50])
    if shortest >= _MILLISECONDS_SHORTEST_SEC and median >= _MILLISECONDS_MEDIAN_SEC:
        raise NwbError(
            f"the spike times span {span_sec / 86_400:,.1f} days, with {median:,.0f} s (median) "
            "from one spike of a unit to the next: milliseconds? NWB files must give seconds"
        )


def refuse_long_span(span_sec: float, limits: ReadLimits) -> None:
    """Refuse times that are probably sample numbers.

    Args:
        span_sec: From the first spike to the last.
        limits: The longest span.

    Raises:
        NwbError: They are.
    """
    if span_sec > limits.max_span_sec:
        raise NwbError(
            f"the spike times span {span_sec / 86_400:,.1f} days: they are probably sample "
            "numbers; NWB files must give seconds"
        )


def _intervals(
    times: "npt.NDArray[np.float32]", stops: "npt.NDArray[np.int64]"
) -> Iterator["npt.NDArray[np.float32]"]:
    starts = [0, *stops[:-1].tolist()]
    for start, stop in list(zip(starts, stops.tolist()))[:_UNITS]:
        yield np.diff(np.sort(times[start : min(stop, start + _INTERVALS_A_UNIT)]))
