"""The times of the frames of a pose estimation.

The times are the file's own. The parts may have different ones, since a tracker may skip frames;
where they are equal, the parts share one array.
"""

from dataclasses import dataclass
from typing import Dict, List, Optional

import numpy as np
import numpy.typing as npt

#: A larger number is no time in seconds.
LARGEST_SEC = 1e12


@dataclass(frozen=True)
class FrameTimes:
    """The times of the frames of one or more parts.

    Attributes:
        times: float64, shape (frames,), ascending.
        order: Positions of these frames among those that were read; None if they are the same.
        num_dropped: How many frames were left out, since their time is not a number.
        was_sorted: Whether the file has the times in another order.
    """

    times: "npt.NDArray[np.float64]"
    order: "Optional[npt.NDArray[np.intp]]" = None
    num_dropped: int = 0
    was_sorted: bool = False

    def ordered(self, values: "npt.NDArray[np.float64]") -> "npt.NDArray[np.float64]":
        """Return the values of these frames, from those of all frames that were read."""
        return values if self.order is None else values[self.order]


class Clocks:
    """Makes times. Of equal times, the array is the same object."""

    def __init__(self) -> None:
        self._known: List[npt.NDArray[np.float64]] = []
        self._numbers: Dict[int, FrameTimes] = {}

    def of_timestamps(self, values: "npt.NDArray[np.float64]") -> Optional[FrameTimes]:
        """Return the times of a part that has timestamps; None if none of these is a number.

        Args:
            values: float64, shape (frames,), seconds.
        """
        are_times = np.abs(values) <= LARGEST_SEC
        order = None if are_times.all() else np.flatnonzero(are_times)
        times = values if order is None else values[order]
        if not len(times):
            return None
        num_dropped = len(values) - len(times)
        if (times[1:] >= times[:-1]).all():
            return FrameTimes(self._shared(times), order, num_dropped)
        ascending = np.argsort(times, kind="stable")
        order = ascending if order is None else order[ascending]
        return FrameTimes(self._shared(times[ascending]), order, num_dropped, was_sorted=True)

    def of_rate(self, start_sec: float, rate_hz: float, num_frames: int, step: int) -> FrameTimes:
        """Return the times of a part that has a rate.

        Args:
            start_sec: Time of the first frame.
            rate_hz: Frames a second, above 0.
            num_frames: Number of frames in the file.
            step: Every how many-th of them is read.
        """
        times = start_sec + np.arange(0, num_frames, step) / rate_hz
        return FrameTimes(self._shared(times))

    def of_numbers(self, num_frames: int, step: int) -> FrameTimes:
        """Return the numbers of the frames that are read, as times."""
        if num_frames not in self._numbers:
            numbers = np.arange(0, num_frames, step, dtype=np.float64)
            self._numbers[num_frames] = FrameTimes(numbers)
        return self._numbers[num_frames]

    def _shared(self, times: "npt.NDArray[np.float64]") -> "npt.NDArray[np.float64]":
        for known in self._known:
            if len(known) == len(times) and known[-1] == times[-1] and np.array_equal(known, times):
                return known
        self._known.append(times)
        return times
