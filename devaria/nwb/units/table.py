"""The spike trains of an NWB units table, in memory and as files.

One process reads the table and writes it to files. Another process loads them and draws the figure.
This module does not import h5py, so the second process need not load it.
"""

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import numpy.typing as npt

from devaria.common.files import open_regular, read_regular
from devaria.nwb.errors import NwbError


@dataclass(frozen=True)
class UnitsTable:
    """The spike trains of all units that have spikes, in the table's order.

    Attributes:
        unit_ids: Ids of the U units, as text.
        unit_rows: int64, shape (U,), ascending: their rows in the table, from 0.
        spike_times_sec: float32, shape (N,), seconds: one unit after another.
        unit_stops: int64, shape (U,), ascending: for each unit, the position after its last spike.
        start_time_sec: The earliest spike, before rounding to float32.
        end_time_sec: The latest spike, before rounding to float32.
        num_rows: Rows of the table, including units without spikes.
        num_dropped: How many spike times were NaN or infinite, and are left out.
        time_offset_sec: The second of the file from which all these times count; 0 unless they are
            too late for float32.
    """

    unit_ids: List[str]
    unit_rows: "npt.NDArray[np.int64]"
    spike_times_sec: "npt.NDArray[np.float32]"
    unit_stops: "npt.NDArray[np.int64]"
    start_time_sec: float
    end_time_sec: float
    num_rows: int
    num_dropped: int
    time_offset_sec: float = 0.0


_TIMES, _STOPS, _ROWS, _REST = (
    "spike_times_sec.npy",
    "unit_stops.npy",
    "unit_rows.npy",
    "table.json",
)

_MAX_UNITS = 65_536
_MAX_ID_CHARACTERS = 200
#: More than the ids of all units take, each character written as an escape of 12 bytes.
_MAX_REST_BYTES = 200_000_000


def save_table(table: UnitsTable, folder: Path) -> None:
    """Write a table as files.

    Args:
        table: A table as `read_units_table` returns it.
        folder: An existing folder. Files of the same names are replaced.

    Raises:
        OSError: The files cannot be written.
    """
    # Not through a memory map: its pages would count as memory of this process.
    np.save(folder / _TIMES, table.spike_times_sec, allow_pickle=False)
    np.save(folder / _STOPS, table.unit_stops, allow_pickle=False)
    np.save(folder / _ROWS, table.unit_rows, allow_pickle=False)
    rest = {
        "unit_ids": table.unit_ids,
        "start_time_sec": table.start_time_sec,
        "end_time_sec": table.end_time_sec,
        "num_rows": table.num_rows,
        "num_dropped": table.num_dropped,
        "time_offset_sec": table.time_offset_sec,
    }
    (folder / _REST).write_text(json.dumps(rest), encoding="ascii")


def load_table(folder: Path) -> UnitsTable:
    """Load and check the files of ``save_table``.

    Args:
        folder: The folder of the files. They must stay there, because the spike times are
            memory-mapped.

    Returns:
        The table.

    Raises:
        NwbError: The files do not hold a valid table.
    """
    try:
        table = _loaded(folder)
        _check(table)
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise NwbError("the reading process returned no valid units table") from error
    return table


def _loaded(folder: Path) -> UnitsTable:
    for name in (_TIMES, _STOPS):  # numpy would wait for a pipe that has no writer
        os.close(open_regular(folder / name, os.O_RDONLY))
    rest: Dict[str, Any] = json.loads(read_regular(folder / _REST, _MAX_REST_BYTES))
    return UnitsTable(
        unit_ids=list(rest["unit_ids"]),
        # As a plain array: numpy's class memmap is slower in every operation.
        spike_times_sec=np.asarray(np.load(folder / _TIMES, mmap_mode="r", allow_pickle=False)),
        unit_stops=np.load(folder / _STOPS, allow_pickle=False),
        unit_rows=np.load(folder / _ROWS, allow_pickle=False),
        start_time_sec=float(rest["start_time_sec"]),
        end_time_sec=float(rest["end_time_sec"]),
        num_rows=int(rest["num_rows"]),
        num_dropped=int(rest["num_dropped"]),
        time_offset_sec=float(rest["time_offset_sec"]),
    )


def _check(table: UnitsTable) -> None:
    times, stops, ids = table.spike_times_sec, table.unit_stops, table.unit_ids
    if times.dtype != np.float32 or times.ndim != 1 or stops.dtype != np.int64 or stops.ndim != 1:
        raise ValueError("arrays of another type or shape")
    if not 0 < len(stops) == len(ids) <= min(_MAX_UNITS, table.num_rows) or table.num_dropped < 0:
        raise ValueError("numbers that do not fit together")
    if not all(isinstance(text, str) and len(text) <= _MAX_ID_CHARACTERS for text in ids):
        raise ValueError("ids that are not short texts")
    if stops[-1] != len(times) or np.diff(stops, prepend=0).min() < 1:
        raise ValueError("units that do not follow each other")
    rows = table.unit_rows
    if rows.dtype != np.int64 or rows.shape != stops.shape or np.diff(rows, prepend=-1).min() < 1:
        raise ValueError("rows that do not ascend")
    if rows[-1] >= table.num_rows or not math.isfinite(table.time_offset_sec):
        raise ValueError("rows or times that cannot be")
    # If both extremes are finite, all values are: a NaN would be the minimum.
    ends = (times.min(), times.max())
    expected = (np.float32(table.start_time_sec), np.float32(table.end_time_sec))
    if ends != expected or not all(math.isfinite(end) for end in expected):
        raise ValueError("times that are not in their range")
