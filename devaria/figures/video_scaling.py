"""How the values of a series of frames become grey levels, with numpy.

Most frames are dim with a few bright pixels. So black and white are percentiles of a sample, and
not the smallest and the largest value.
"""

import math
from typing import Any, NamedTuple, Optional

import numpy as np
import numpy.typing as npt

from devaria.nwb.errors import NwbError

#: The percentiles of the sample that are shown black and white.
BLACK_PERCENTILE, WHITE_PERCENTILE = 0.5, 99.5

#: Values of a sample that are looked at. A larger sample is thinned evenly in both directions.
_MAX_SAMPLE_VALUES = 4_000_000

#: Values that are scaled at once, as many as a processor's cache holds with their intermediates.
_STRIP_VALUES = 2**17

#: The largest integers whose levels are looked up in a table, in bytes.
_TABLE_ITEM_BYTES = 2


class ValueRange(NamedTuple):
    """The values that are shown black and white.

    Args:
        low: The value that is black, as is everything below it.
        high: The value that is white, as is everything above it. Larger than `low`.
        in_words: What they are, as a sentence.
    """

    low: float
    high: float
    in_words: str = ""


def value_range(sample: "npt.NDArray[Any]") -> ValueRange:
    """Find the values to show black and white.

    Args:
        sample: Some frames: shape (frames, rows, columns), or (frames, rows, columns, channels).

    Returns:
        The 0.5th and the 99.5th percentile of the finite values. If both are equal, the smallest
        and the largest value. If these are equal too, a range around them, which makes them grey.

    Raises:
        NwbError: No value is finite.
    """
    frames = f"{len(sample):,} frames" if len(sample) > 1 else "one frame"
    step = math.ceil(math.sqrt(sample.size / _MAX_SAMPLE_VALUES))
    values = sample[:, ::step, ::step].ravel()
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    if not len(values):
        raise NwbError(
            f"there is nothing to show: in the {frames} that were looked at, all values are NaN or "
            "infinite"
        )
    basis = f"the percentiles {BLACK_PERCENTILE} and {WHITE_PERCENTILE} of {frames}"
    low, high = np.percentile(values, [BLACK_PERCENTILE, WHITE_PERCENTILE]).tolist()
    if low == high:
        basis = f"the smallest and the largest value of {frames}"
        low, high = float(values.min()), float(values.max())
    if low == high:
        half = max(0.5, abs(low) * 2**-20)  # more than the rounding of so large a number
        return ValueRange(
            low - half, low + half, f"Grey: all values of {frames} are {_number(low)}"
        )
    levels = f"Black is {_number(low)} and white {_number(high)}"
    return ValueRange(low, high, f"{levels}: {basis}")


class GreyScale:
    """Makes grey levels of frames.

    A value becomes `255 (value - low) / (high - low)`, rounded half up, at least 0 and at most 255;
    computed in float64. NaN becomes 0, which is black.

    Args:
        shown: The values that are black and white.
        dtype: The type of all values. Any numbers will do.
    """

    def __init__(self, shown: ValueRange, dtype: "np.dtype[Any]") -> None:
        self._shown = shown
        self._table: Optional[npt.NDArray[np.uint8]] = None
        self._index_type = np.dtype(dtype.str.replace("i", "u"))
        if dtype.kind in "iu" and dtype.itemsize <= _TABLE_ITEM_BYTES:
            # Looked up, since that takes a third of the time.
            bits = np.arange(256**dtype.itemsize).astype(self._index_type)
            self._table = np.empty(len(bits), np.uint8)
            self._compute(bits.view(dtype), self._table)

    def scale(self, frame: "npt.NDArray[Any]", out: "npt.NDArray[np.uint8]") -> None:
        """Make grey levels of one frame.

        Args:
            frame: Values of two or more dimensions.
            out: The levels go here. It has the frame's shape.
        """
        if self._table is None:
            self._compute(frame, out)
        else:
            np.take(self._table, frame.view(self._index_type), out=out, mode="clip")

    def _compute(self, values: "npt.NDArray[Any]", out: "npt.NDArray[np.uint8]") -> None:
        shown = self._shown
        factor = 255 / (shown.high - shown.low)
        rows = max(1, _STRIP_VALUES * len(values) // max(1, values.size))
        buffer = np.empty((rows, *values.shape[1:]))
        for start in range(0, len(values), rows):
            strip = values[start : start + rows]
            levels = buffer[: len(strip)]
            np.subtract(strip, shown.low, out=levels, dtype=np.float64)
            np.multiply(levels, factor, out=levels)
            np.add(levels, 0.5, out=levels)
            np.fmax(levels, 0, out=levels)  # fmax turns NaN into 0, maximum would not
            np.minimum(levels, 255, out=levels)
            np.copyto(out[start : start + rows], levels, casting="unsafe")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) and abs(value) < 1e9 else f"{value:,.6g}"
