"""Servers that hang, are slow, or have no ranges give the file or a clear error, in time."""

import threading
import time
from typing import Any, Iterator, List

import h5py
import numpy as np
import pytest
from nwb_files import units_bytes
from range_server import LOOPBACK, SECRET, RangeServer

from devaria.nwb.errors import NwbError
from devaria.nwb.hdf5.remote_file import open_remote_file
from devaria.nwb.http import download
from devaria.nwb.http.ranges import HttpRanges
from devaria.nwb.http.retry import HttpTiming
from devaria.nwb.limits import ReadLimits
from devaria.nwb.units.reader import read_units_table
from devaria.nwb.units.table import UnitsTable

TIMES = np.sort(np.random.default_rng(0).uniform(0, 900, 400_000))
GOOD = units_bytes([TIMES], chunks=(5000,))

#: The first request does not reach its units table.
METADATA_BEHIND = units_bytes([TIMES], chunks=(5000,), before=np.zeros(1_000_000, np.uint8))

#: A two-hundredth of the real time-out for a read, and less of that without progress.
SHORT = HttpTiming(read_timeout_sec=0.15, no_progress_sec=0.5)

#: For servers that recover: much longer without progress.
LENIENT = HttpTiming(read_timeout_sec=0.15, no_progress_sec=60)


@pytest.fixture
def server() -> Iterator[RangeServer]:
    """Serve a file of 3.2 MB, most of it spike times."""
    with RangeServer({"/good.nwb": GOOD}) as running:
        yield running


def read(server: RangeServer, timing: HttpTiming = SHORT, **options: Any) -> UnitsTable:
    """Read ``/units``, with real time-outs."""
    url = server.url(f"/good.nwb?{SECRET}")
    ranges = HttpRanges(url, allow_hosts=LOOPBACK, timing=timing, **options)
    with open_remote_file(ranges) as (file, size):
        return read_units_table(file, "/units", file_bytes=size)


def no_wait(_seconds: float) -> None:
    """Try again at once."""


@pytest.mark.parametrize("fault", ["hang", "drip", "drip head", "hang in mid-body"])
@pytest.mark.parametrize("place", ["start", "metadata", "data"])
def test_hang_ends(server: RangeServer, fault: str, place: str) -> None:
    """A server that sends nothing, or single bytes, is given up after a time without progress.

    This holds for the first request, for metadata and for data.
    """
    if place == "metadata":
        server.files["/good.nwb"] = METADATA_BEHIND
    server.faults = [] if place == "start" else [None]
    server.always = fault
    began = time.monotonic()
    with pytest.raises(NwbError, match=r"given up after \d+ s without progress") as caught:
        read(server)
    assert time.monotonic() - began < 10
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("fault", ["hang", "drip", "drip head", "hang in mid-body"])
def test_hang_that_passes_changes_nothing(server: RangeServer, fault: str) -> None:
    """After a silence the request is sent again, and the table is right."""
    server.faults = [None, fault, fault]
    table = read(server, LENIENT, wait=no_wait)
    np.testing.assert_array_equal(table.spike_times_sec, TIMES.astype(np.float32))


def test_reading_that_fails_leaves_no_threads(server: RangeServer) -> None:
    """When one range fails for good, no thread continues to fetch."""
    server.faults, server.always = [None], 403
    with pytest.raises(NwbError, match="denies access"):
        read(server)
    for thread in threading.enumerate():
        if thread.name == "fetch":
            thread.join(20)
            assert not thread.is_alive()


def test_server_without_ranges(server: RangeServer) -> None:
    """The whole file is downloaded, with a console line, and the table is right."""
    said: List[str] = []
    server.always = "whole"
    table = read(server, say=said.append)
    np.testing.assert_array_equal(table.spike_times_sec, TIMES.astype(np.float32))
    assert said == ["The server has no byte ranges: fetching the whole file of 3.2 MB"]
    assert len(server.asked) == 1


def test_long_download_is_told_of(server: RangeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long download writes console lines, even if its length is not known."""
    monkeypatch.setattr(download, "_LINE_GAP_SEC", -1)
    said: List[str] = []
    server.always = "whole, unknown length"
    read(server, say=said.append)
    assert said[0] == "The server has no byte ranges: fetching the whole file"
    assert said[-1] == "Fetched 3.2 MB"


@pytest.mark.parametrize("fault", ["whole", "whole, unknown length"])
def test_whole_file_is_bounded(server: RangeServer, fault: str) -> None:
    """No more is downloaded than the operator allows."""
    server.always = fault
    with pytest.raises(NwbError, match=r"more than the 1 MB .*DEVARIA_MAX_DOWNLOAD_BYTES"):
        read(server, limits=ReadLimits(max_download_bytes=1_000_000))
    assert len(server.asked) == 1


def test_broken_download_starts_again(server: RangeServer) -> None:
    """A download that breaks off starts again, also if the server now has ranges."""
    server.faults, server.always = ["whole, short", "whole, short"], "whole"
    assert (
        len(read(server, HttpTiming(no_progress_sec=60), wait=no_wait).spike_times_sec) == 400_000
    )
    server.faults, server.always = ["whole, short"], None
    assert (
        len(read(server, HttpTiming(no_progress_sec=60), wait=no_wait).spike_times_sec) == 400_000
    )


def test_h5py_can_be_used_elsewhere_meanwhile(server: RangeServer) -> None:
    """Fetching continues while another thread waits for h5py's lock."""
    stop = threading.Event()

    def use_h5py() -> None:
        while not stop.is_set():
            with h5py.File("other", "w", driver="core", backing_store=False) as file:
                file["x"] = [1]

    other = threading.Thread(target=use_h5py)
    other.start()
    try:
        for _ in range(3):
            assert len(read(server, HttpTiming()).spike_times_sec) == 400_000
    finally:
        stop.set()
        other.join()
