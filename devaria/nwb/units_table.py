"""The spike trains of an NWB units table: which spike belongs to which unit, and when it was fired.

Nothing of HDF5 is in here: whoever builds figures of a table need not load that.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import numpy.typing as npt

from devaria.nwb.errors import NwbError


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


_TIMES, _STOPS, _REST = "spike_times_sec.npy", "unit_stops.npy", "table.json"

_MAX_UNITS = 65_536
_MAX_ID_CHARACTERS = 200


def save_table(table: UnitsTable, folder: Path) -> None:
    """Write a table's files.

    Args:
        table: The table.
        folder: Where its files go; it exists.

    Raises:
        OSError: There is no room.
    """
    # Not through a memory map, whose pages would count as this process's memory.
    np.save(folder / _TIMES, table.spike_times_sec, allow_pickle=False)
    np.save(folder / _STOPS, table.unit_stops, allow_pickle=False)
    rest = {
        "unit_ids": table.unit_ids,
        "start_time_sec": table.start_time_sec,
        "end_time_sec": table.end_time_sec,
        "num_rows": table.num_rows,
        "num_dropped": table.num_dropped,
    }
    (folder / _REST).write_text(json.dumps(rest), encoding="ascii")


def load_table(folder: Path) -> UnitsTable:
    """Load and check what ``save_table`` wrote.

    Args:
        folder: Where the files are. They must stay there: spike times are read as they are needed.

    Returns:
        The table.

    Raises:
        NwbError: The files hold no table.
    """
    try:
        table = _loaded(folder)
        _check(table)
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise NwbError("what was read of the file is no units table") from error
    return table


def _loaded(folder: Path) -> UnitsTable:
    rest: Dict[str, Any] = json.loads((folder / _REST).read_text(encoding="ascii"))
    return UnitsTable(
        unit_ids=list(rest["unit_ids"]),
        # A memory map is a class of its own in numpy, slower at everything: take its array.
        spike_times_sec=np.asarray(np.load(folder / _TIMES, mmap_mode="r", allow_pickle=False)),
        unit_stops=np.load(folder / _STOPS, allow_pickle=False),
        start_time_sec=float(rest["start_time_sec"]),
        end_time_sec=float(rest["end_time_sec"]),
        num_rows=int(rest["num_rows"]),
        num_dropped=int(rest["num_dropped"]),
    )


def _check(table: UnitsTable) -> None:
    times, stops, ids = table.spike_times_sec, table.unit_stops, table.unit_ids
    if times.dtype != np.float32 or times.ndim != 1 or stops.dtype != np.int64 or stops.ndim != 1:
        raise ValueError("arrays of another kind")
    if not 0 < len(stops) == len(ids) <= min(_MAX_UNITS, table.num_rows) or table.num_dropped < 0:
        raise ValueError("numbers that do not fit together")
    if not all(isinstance(text, str) and len(text) <= _MAX_ID_CHARACTERS for text in ids):
        raise ValueError("ids that are no short texts")
    if stops[-1] != len(times) or np.diff(stops, prepend=0).min() < 1:
        raise ValueError("units that are not one after the other")
    # Where both ends are finite and right, so is all between them: NaN would be the minimum.
    ends = (times.min(), times.max())
    expected = (np.float32(table.start_time_sec), np.float32(table.end_time_sec))
    if ends != expected or not all(math.isfinite(end) for end in expected):
        raise ValueError("times that are not in their range")
