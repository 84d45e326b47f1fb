"""The end of a file is requested with its start, and may fail in any way without harm."""

import io
import time
from contextlib import closing
from typing import Any

import h5py
import numpy as np
import pytest
from nwb_files import add_units
from range_server import LOOPBACK, RangeServer

from devaria.nwb.errors import NwbError
from devaria.nwb.hdf5.remote_file import open_remote_file
from devaria.nwb.http.block_file import BLOCK_BYTES
from devaria.nwb.http.ranges import HttpRanges
from devaria.nwb.http.retry import HttpTiming
from devaria.nwb.units.reader import read_units_table

CONTENT = bytes(np.random.default_rng(0).integers(0, 256, 1_000_000, np.uint8))
END_BYTES = 300_000

FAULTS = [404, 416, 429, 503, "drop", "short", "shifted", "gzip", "whole", "html", "new etag"]


def opened(server: RangeServer, path: str = "/file", **options: Any) -> HttpRanges:
    """Open a file with its end. No fault of the end may lead to a retry."""
    options = {"end_bytes": END_BYTES, "allow_hosts": LOOPBACK, "wait": pytest.fail, **options}
    return HttpRanges(server.url(path), **options)


def test_end_is_there() -> None:
    """The end has the bytes of the file, and none from before it."""
    with RangeServer({"/file": CONTENT}) as server, closing(opened(server)) as ranges:
        assert ranges.peek_tail(len(CONTENT) - 1) == (700_000, CONTENT[700_000:])
        assert ranges.peek_tail(700_000) == (700_000, CONTENT[700_000:])
        assert ranges.peek_tail(699_999) is None
        assert len(server.asked) == 2


def test_file_that_is_shorter() -> None:
    """A file shorter than the end is returned as a whole."""
    with RangeServer({"/file": b"abc"}) as server, closing(opened(server)) as ranges:
        assert ranges.peek_tail(0) == (0, b"abc")


@pytest.mark.parametrize("fault", FAULTS)
def test_end_that_fails(fault: object) -> None:
    """A failed request for the end does not disturb other reads."""
    with RangeServer({"/file": CONTENT}) as server:
        server.end_fault = fault
        with closing(opened(server)) as ranges:
            assert ranges.peek_tail(len(CONTENT) - 1) is None
            assert ranges.read(0, len(CONTENT)) == CONTENT


@pytest.mark.parametrize("fault", ["hang", "hang in mid-body", "drip"])
def test_end_that_never_comes(fault: str) -> None:
    """The end is waited for once, not for each read."""
    with RangeServer({"/file": CONTENT}) as server:
        server.end_fault = fault
        with closing(opened(server, timing=HttpTiming(tail_wait_sec=0.25))) as ranges:
            began = time.monotonic()
            assert [ranges.peek_tail(len(CONTENT) - 1) for _ in range(20)] == [None] * 20
            assert time.monotonic() - began < 20 * 0.25 / 2


def test_end_that_lies_elsewhere_leads_nobody_there() -> None:
    """Ranges are requested from where the start came from, wherever the end was redirected."""
    with RangeServer({"/file": CONTENT}) as server:
        server.end_redirect_to = "/gone"
        with closing(opened(server, path="/to/file")) as ranges:
            assert ranges.peek_tail(len(CONTENT) - 1) is None
            server.asked.clear()
            assert ranges.read(0, len(CONTENT)) == CONTENT
        assert [line.split("?")[0] for line in server.asked] == ["/file"]


def test_start_that_fails_is_the_error() -> None:
    """If the start fails, its error is raised, whatever the end brought."""
    with RangeServer({}) as server, pytest.raises(NwbError, match="HTTP 404"):
        opened(server)


@pytest.mark.parametrize(("end_bytes", "num_blocks"), [(0, 1), (END_BYTES, 0)])
def test_metadata_at_the_end_costs_no_request(end_bytes: int, num_blocks: int) -> None:
    """Metadata that came with the end needs no request of its own."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["before"] = np.zeros(2_000_000, np.uint8)
        add_units(file, [[1.0, 2.0], [3.0]])
    with RangeServer({"/file": buffer.getvalue()}) as server:
        ranges = opened(server, end_bytes=end_bytes)
        with open_remote_file(ranges) as (file, file_bytes):
            table = read_units_table(file, "/units", file_bytes=file_bytes)
    assert table.spike_times_sec.tolist() == [1.0, 2.0, 3.0]
    starts = [line.split("bytes=")[1].split("-")[0] for line in server.asked]
    blocks = [int(start) for start in starts if start and int(start) % BLOCK_BYTES == 0]
    assert len(blocks) == 1 + num_blocks
