"""The arrays of a pose figure: quantised positions in blocks of time, and overviews of them.

Parts whose frames have the same times stand in one array, with one array of times. A front end can
slice an array of figpack by its first axis only, so this axis counts blocks of time. Each block is
one chunk: all rows of all parts, a row after the other, for up to some thousand frames.

For a long view there are overviews: in each, an entry stands for 8 entries of the one before, by
its smallest and its largest value.
"""

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
import numpy.typing as npt

from devaria.nwb.pose.parts import PosePart

#: 0 is no value; 1 to 65,535 divide the range of a row evenly.
STEPS = 65_534

#: Most bytes of the positions in a figure, 2 for x and 2 for y. More frames are thinned evenly.
MAX_POSITION_BYTES = 150_000_000
_POSITION_BYTES = 4

#: An entry of an overview stands for so many of the level below.
_COARSER = 8

#: The coarsest overview has at most this many entries.
_COARSEST = 1_024

#: Bounds of a block: of its bytes, which the front end fetches at once, and of its entries.
_BLOCK_BYTES = 2**19
_BLOCK_ENTRIES = (256, 16_384)

#: Most samples of the whole track, of one part and of all.
_TRACK_SAMPLES = 10_000
_ALL_TRACK_SAMPLES = 200_000

#: Of a part: x, y and confidence. In overviews each has two rows: smallest and largest value.
_ROWS = 3


def frames_apart(frames: List[int]) -> int:
    """Return how far the frames that a figure keeps must be apart.

    Args:
        frames: The number of frames of each part.

    Returns:
        1 for all frames, 2 for every second one, and so on: the least for which the figure has at
        most `MAX_POSITION_BYTES` of positions.
    """
    step = 1
    while sum(-(-each // step) for each in frames) * _POSITION_BYTES > MAX_POSITION_BYTES:
        step += 1
    return step


def quantised(
    values: "npt.NDArray[np.float64]",
) -> Tuple["npt.NDArray[np.uint16]", Tuple[float, float]]:
    """Store values in 16 bits.

    Args:
        values: float64, one axis; finite or NaN.

    Returns:
        uint16, where 0 stands for NaN; and the values that 1 and 65,535 stand for.
    """
    low, high = np.fmin.reduce(values), np.fmax.reduce(values)
    if np.isnan(low):
        return np.zeros(len(values), np.uint16), (0.0, 0.0)
    exact = values - low
    if high > low:
        exact *= STEPS / (high - low)
    exact += 1.5  # 1, and one half for rounding to the nearest
    np.fmax(exact, 0.0, out=exact)  # NaN becomes 0
    return exact.astype(np.uint16), (float(low), float(high))


@dataclass(frozen=True)
class Level:
    """Frames, or the entries of an overview, in blocks.

    Attributes:
        step: How many frames an entry stands for.
        num_entries: Entries of all blocks, without those that fill up the last one.
        times: float64, shape (blocks, entries): the time of each entry's first frame, or NaN.
        values: uint16, shape (blocks, rows, entries).
    """

    step: int
    num_entries: int
    times: "npt.NDArray[np.float64]"
    values: "npt.NDArray[np.uint16]"


@dataclass(frozen=True)
class Clock:
    """The parts whose frames have the same times.

    Attributes:
        levels: The frames, then overviews, from fine to coarse.
        track: uint16, shape (1, rows, samples): frames of the whole recording, evenly picked.
        frames_per_sample: How many frames apart these are.
        interval: Median of the time from one frame to the next; the mean where most frames have
            the time of the one before. 0 if all have the same time.
        spacing: Median of the time from one frame to the next, without steps of 0; 0 as before.
    """

    levels: List[Level]
    track: "npt.NDArray[np.uint16]"
    frames_per_sample: int
    interval: float
    spacing: float


class PoseArrays:
    """Collects the parts of a pose; each is quantised at once, since it may be large.

    Args:
        num_parts: How many parts there will be.
    """

    def __init__(self, num_parts: int) -> None:
        most = _ALL_TRACK_SAMPLES // max(1, num_parts)
        self._track_samples = max(100, min(_TRACK_SAMPLES, most))
        self._times: List[npt.NDArray[np.float64]] = []
        self._rows: List[List[npt.NDArray[np.uint16]]] = []
        self.parts: List[Dict[str, Any]] = []

    def add(self, part: PosePart) -> None:
        """Take over a part. Its positions and confidence are not kept."""
        clock = self._clock(part.times)
        rows = np.zeros((_ROWS, len(part.times)), np.uint16)
        rows[0], x_range = quantised(part.positions[:, 0])
        rows[1], y_range = quantised(part.positions[:, 1])
        confidence_range: Optional[Tuple[float, float]] = None
        if part.confidence is not None:
            rows[2], confidence_range = quantised(part.confidence)
            confidence_range = confidence_range if rows[2].any() else None
        self.parts.append(
            {
                "name": part.name,
                "clock": clock,
                "place": len(self._rows[clock]),
                "x": x_range,
                "y": y_range,
                "confidence": confidence_range,
            }
        )
        self._rows[clock].append(rows)

    def clocks(self) -> List[Clock]:
        """Return the arrays of all parts. The parts are handed over: call it once."""
        rows, self._rows = self._rows, []
        return [self._assembled(times, each) for times, each in zip(self._times, rows)]

    def _clock(self, times: "npt.NDArray[np.float64]") -> int:
        for number, known in enumerate(self._times):
            if known is times:
                return number
        self._times.append(times)
        self._rows.append([])
        return len(self._times) - 1

    def _assembled(
        self, times: "npt.NDArray[np.float64]", rows: List["npt.NDArray[np.uint16]"]
    ) -> Clock:
        apart = max(1, -(-len(times) // self._track_samples))
        track = np.concatenate([each[:, ::apart] for each in rows])
        interval, spacing = _distances(times)
        return Clock(_levels(times, rows), track[np.newaxis], apart, interval, spacing)


def _distances(times: "npt.NDArray[np.float64]") -> Tuple[float, float]:
    """Return how far frames are apart, and how far different times are."""
    if times[0] == times[-1]:
        return 0.0, 0.0
    steps = np.diff(times)
    interval = float(np.median(steps)) or float(times[-1] - times[0]) / len(steps)
    return interval, float(np.median(steps[steps > 0]))


def _levels(times: "npt.NDArray[np.float64]", rows: List["npt.NDArray[np.uint16]"]) -> List[Level]:
    levels: List[Level] = []
    step = 1
    while True:
        is_last = len(times) <= _COARSEST
        coarser = [] if is_last else [_overview(each) for each in rows]
        levels.append(_in_blocks(step, times, rows))
        if is_last:
            return levels
        step, times, rows = step * _COARSER, times[::_COARSER], coarser


def _in_blocks(
    step: int, times: "npt.NDArray[np.float64]", rows: List["npt.NDArray[np.uint16]"]
) -> Level:
    """Cut into blocks; the rows are freed one after another, so that they lie in memory once."""
    num_entries, per_part = len(times), len(rows[0])
    size = _block_entries(num_entries, per_part * len(rows))
    num_blocks = -(-num_entries // size)
    values = np.zeros((num_blocks, per_part * len(rows), size), np.uint16)
    start = 0
    while rows:
        part = rows.pop(0)
        for number in range(num_blocks):
            piece = part[:, number * size : (number + 1) * size]
            values[number, start : start + per_part, : piece.shape[1]] = piece
        start += per_part
    padded = np.full(num_blocks * size, np.nan)
    padded[:num_entries] = times
    return Level(step, num_entries, padded.reshape(num_blocks, size), values)


def _block_entries(num_entries: int, num_rows: int) -> int:
    fewest, most = _BLOCK_ENTRIES
    fitting = _BLOCK_BYTES // (2 * num_rows)
    return min(num_entries, most, max(fewest, fitting))


def _overview(rows: "npt.NDArray[np.uint16]") -> "npt.NDArray[np.uint16]":
    """Return smallest and largest values of each 8 entries, in rows that alternate."""
    low, high = (rows, rows) if len(rows) == _ROWS else (rows[0::2], rows[1::2])
    num_entries = -(-rows.shape[1] // _COARSER)
    result = np.empty((2 * _ROWS, num_entries), np.uint16)
    # Minus 1, "no value" becomes the largest number, which no minimum takes unless all are it.
    result[0::2] = _reduced(np.minimum, low - np.uint16(1)) + np.uint16(1)
    result[1::2] = _reduced(np.maximum, high)
    return result


def _reduced(function: Any, rows: "npt.NDArray[np.uint16]") -> Any:
    """Apply minimum or maximum to each 8 entries; at the end there may be fewer."""
    whole = rows.shape[1] // _COARSER * _COARSER
    slices = [rows[:, start:whole:_COARSER] for start in range(_COARSER)]
    reduced = function(slices[0], slices[1])
    for each in slices[2:]:
        function(reduced, each, out=reduced)
    rest = rows[:, whole:]
    if not rest.shape[1]:
        return reduced
    return np.concatenate([reduced, function.reduce(rest, axis=1, keepdims=True)], axis=1)
