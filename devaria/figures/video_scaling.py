"""How the values of a series of frames become grey levels, with numpy.

Most frames are dim with a few bright pixels. So black and white are percentiles of a sample, and
not the smallest and the largest value.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from devaria.nwb.errors import NwbError

#: The percentiles of the sample that are shown black and white.
BLACK_PERCENTILE, WHITE_PERCENTILE = 0.5, 99.5

#: Values of a sample that are looked at. A larger sample is thinned evenly in both directions.
_MAX_SAMPLE_VALUES = 4_000_000

#: Values that are scaled at once, as many as a processor's cache holds with their intermediates.
_STRIP_VALUES = 2**17


class ValueRange(NamedTuple):
    """The values that are shown black and white.

    Args:
        low: The value that is black, as is everything below it.
        high: The value that is white, as is everything above it. Larger than `low`.
    """

    low: float
    high: float

    @property
    def in_words(self) -> str:
        """Both values, such as `12 (black) to 3,400 (white)`."""
        return f"{_number(self.low)} (black) to {_number(self.high)} (white)"


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
    step = math.ceil(math.sqrt(sample.size / _MAX_SAMPLE_VALUES))
    values = sample[:, ::step, ::step].ravel()
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    if not len(values):
        raise NwbError(
            f"there is nothing to show: in the {len(sample):,} frames that were looked at, "
            "all values are NaN or infinite"
        )
    low, high = np.percentile(values, [BLACK_PERCENTILE, WHITE_PERCENTILE]).tolist()
    if low == high:
        low, high = float(values.min()), float(values.max())
    if low == high:
        half = max(0.5, abs(low) * 2**-20)  # more than the rounding of so large a number
        low, high = low - half, high + half
    return ValueRange(low, high)


def scaled(
    frame: "npt.NDArray[Any]", shown: ValueRange, out: "npt.NDArray[np.uint8]"
) -> "npt.NDArray[np.uint8]":
    """Make grey levels of a frame's values.

    A value becomes `255 (value - low) / (high - low)`, rounded half up, at least 0 and at most 255;
    computed in float64. NaN becomes 0, which is black.

    Args:
        frame: Numbers of any type, in any shape of two or more dimensions.
        shown: The values that are black and white.
        out: The result goes here. It has the frame's shape.

    Returns:
        `out`.
    """
    factor = 255 / (shown.high - shown.low)
    rows = max(1, _STRIP_VALUES * len(frame) // max(1, frame.size))
    buffer = np.empty((rows, *frame.shape[1:]))
    for start in range(0, len(frame), rows):
        strip = frame[start : start + rows]
        levels = buffer[: len(strip)]
        np.subtract(strip, shown.low, out=levels, dtype=np.float64)
        np.multiply(levels, factor, out=levels)
        np.add(levels, 0.5, out=levels)
        np.fmax(levels, 0, out=levels)  # fmax turns NaN into 0, maximum would not
        np.minimum(levels, 255, out=levels)
        np.copyto(out[start : start + rows], levels, casting="unsafe")
    return out


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) and abs(value) < 1e9 else f"{value:,.6g}"
