"""The spike trains of an NWB units table: which spike belongs to which unit, and when it was fired.

Nothing of HDF5 is in here: whoever builds figures of a table need not load that.
"""

from dataclasses import dataclass
from typing import List

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class UnitsTable:
    """The spike trains of the units that have spikes, in the table's order.

    Attributes:
        unit_ids: Their ids as text, U of them.
        spike_times_sec: float32, shape (N,), seconds: one unit after another.
        unit_stops: int64, shape (U,), ascending: where each unit's spikes end.
        start_time_sec: The earliest spike, before rounding to float32.
        end_time_sec: The latest spike, before rounding to float32.
        num_rows: Rows of the table, those without spikes included.
        num_dropped: Spike times that were NaN or infinite and are left out.
    """

    unit_ids: List[str]
    spike_times_sec: "npt.NDArray[np.float32]"
    unit_stops: "npt.NDArray[np.int64]"
    start_time_sec: float
    end_time_sec: float
    num_rows: int
    num_dropped: int
