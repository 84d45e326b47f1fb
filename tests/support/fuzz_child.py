"""Read damaged files one after another, in a process that may crash.

As a script, it takes the name of a reader, reads a URL from each line of its input, and writes an
outcome for each: "read" or "error: <text>".
"""

import json
import math
import resource
import sys
import tempfile
from pathlib import Path
from typing import Callable, Dict

from local_nwb import LocalNwb

from devaria.nwb.errors import InvalidInputError, NwbError
from devaria.nwb.hdf5.remote_file import RemoteFile, open_remote_file
from devaria.nwb.http.ranges import HttpRanges
from devaria.nwb.limits import ReadLimits
from devaria.nwb.units_reader import read_units_table

#: Most memory that the process may allocate.
MAX_BYTES = 1024**3


def units(file: RemoteFile, file_bytes: int) -> None:
    """Read ``/units``."""
    table = read_units_table(file, "/units", file_bytes=file_bytes)
    assert len(table.unit_ids) == len(table.unit_stops) > 0
    assert table.unit_stops[-1] == len(table.spike_times_sec) > 0
    assert table.start_time_sec <= table.end_time_sec


def pose(file: RemoteFile, file_bytes: int) -> None:
    """Read a pose, and build its figure."""
    from pose_files import POSE_PATH, read_pose

    from devaria.figures.pose import PoseView
    from devaria.figures.pose_arrays import PoseArrays

    with tempfile.TemporaryDirectory() as folder, file.explained():
        local = LocalNwb(file, file_bytes, Path(folder), ReadLimits())
        parts, setting, notes = read_pose(local, POSE_PATH)
    arrays = PoseArrays(len(parts))
    for part in parts:
        assert len(part.times) == len(part.positions) > 0
        assert (part.times[1:] >= part.times[:-1]).all()
        arrays.add(part)
    attributes = PoseView(setting, arrays, notes)._attributes()
    json.dumps(attributes, allow_nan=False)
    assert math.isfinite(attributes["end_time"] - attributes["start_time"])
    assert all(note.isprintable() for note in notes)


READERS: Dict[str, Callable[[RemoteFile, int], None]] = {"units": units, "pose": pose}


def outcome(reader: Callable[[RemoteFile, int], None], url: str) -> str:
    """Read one file, and return the outcome."""
    try:
        with open_remote_file(HttpRanges(url, allow_hosts=["127.0.0.1"])) as (file, file_bytes):
            reader(file, file_bytes)
    except (NwbError, InvalidInputError) as error:
        text = str(error)
        return f"error: {text}" if text.isprintable() else f"unprintable: {text!a}"
    return "read"


def main() -> None:
    """Answer each line of the input."""
    reader = READERS[sys.argv[1]]
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_BYTES, MAX_BYTES))
    for line in sys.stdin:
        print(outcome(reader, line.strip()), flush=True)


if __name__ == "__main__":
    main()
