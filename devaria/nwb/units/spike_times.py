"""Collect spike times as float32, the precision of figures."""

import math
import threading
from typing import Any, Tuple

import numpy as np
import numpy.typing as npt


class SpikeTimes:
    """Spike times in float32, the precision of figpack, and their range in full precision.

    Args:
        count: Number of spike times.
        offset_sec: This is subtracted from each time.

    Attributes:
        values: float32, shape (count,), seconds.
        first: The earliest finite time before rounding; infinity if there is none.
        last: The latest finite time before rounding; minus infinity if there is none.
        num_non_finite: How many are NaN, or infinite in float32.
    """

    def __init__(self, count: int, offset_sec: float = 0.0) -> None:
        self._offset = np.float64(offset_sec)
        self.values = np.empty(count, dtype=np.float32)
        self.first, self.last = math.inf, -math.inf
        self.num_non_finite = 0
        self._lock = threading.Lock()

    def put(self, where: Tuple[slice, ...], slab: "npt.NDArray[Any]") -> None:
        """Store some of the values. Several threads may do so at once.

        Args:
            where: The place of the values: one slice.
            slab: Real numbers of any dtype.
        """
        target = self.values[where]
        if self._offset:
            slab = slab - self._offset
        # A number beyond the range of float32 becomes infinite, and is left out later.
        with np.errstate(over="ignore", invalid="ignore"):
            target[:] = slab
            low, high, num_non_finite = _finite_range(slab, target)
        with self._lock:
            self.first, self.last = min(self.first, low), max(self.last, high)
            self.num_non_finite += num_non_finite


def _finite_range(
    slab: "npt.NDArray[Any]", as_float32: "npt.NDArray[np.float32]"
) -> Tuple[float, float, int]:
    low, high = float(slab.min()), float(slab.max())
    # If both extremes are finite, all values are: NaN propagates, and rounding keeps the order.
    if all(math.isfinite(np.float32(extreme)) for extreme in (low, high)):
        return low, high, 0
    is_finite = np.isfinite(as_float32)
    finite = slab[is_finite]
    if len(finite) == 0:
        return math.inf, -math.inf, len(slab)
    return float(finite.min()), float(finite.max()), len(slab) - len(finite)
