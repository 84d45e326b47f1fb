"""Read damaged files one after another, in a process that may crash.

As a script, it reads a URL from each line of its input, and writes an outcome for each: "table" or
"error: <text>".
"""

import resource
import sys

from devaria.nwb.errors import InvalidInputError, NwbError
from devaria.nwb.hdf5.remote_file import open_remote_file
from devaria.nwb.http.ranges import HttpRanges
from devaria.nwb.units_reader import read_units_table

#: Most memory that the process may allocate.
MAX_BYTES = 1024**3


def outcome(url: str) -> str:
    """Read ``/units`` of one file, and return the outcome."""
    try:
        with open_remote_file(HttpRanges(url, allow_hosts=["127.0.0.1"])) as (file, file_bytes):
            table = read_units_table(file, "/units", file_bytes=file_bytes)
    except (NwbError, InvalidInputError) as error:
        text = str(error)
        return f"error: {text}" if text.isprintable() else f"unprintable: {text!a}"
    assert len(table.unit_ids) == len(table.unit_stops) > 0
    assert table.unit_stops[-1] == len(table.spike_times_sec) > 0
    assert table.start_time_sec <= table.end_time_sec
    return "table"


def main() -> None:
    """Answer each line of the input."""
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_BYTES, MAX_BYTES))
    for line in sys.stdin:
        print(outcome(line.strip()), flush=True)


if __name__ == "__main__":
    main()
