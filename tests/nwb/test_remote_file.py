"""Opening a remote file gives a units table, or a line that says what is wrong."""

import io
from typing import Any, Iterator

import h5py
import numpy as np
import pytest
from nwb_files import add_units, units_bytes
from range_server import LOOPBACK, SECRET, FakeTime, RangeServer

from devaria.nwb.errors import InvalidInputError, NwbError
from devaria.nwb.hdf5.remote_file import open_remote_file
from devaria.nwb.http.ranges import HttpRanges
from devaria.nwb.http.retry import HttpTiming
from devaria.nwb.units.reader import read_units_table
from devaria.nwb.units.table import UnitsTable

TRAINS = [np.sort(np.random.default_rng(seed).uniform(0, 900, 20_000)) for seed in range(4)]
GOOD = units_bytes(TRAINS, chunks=(1000,), compression="gzip")


@pytest.fixture(scope="module")
def running() -> Iterator[RangeServer]:
    """Serve a good file, and what tests add."""
    with RangeServer({"/good.nwb": GOOD}) as server:
        yield server


@pytest.fixture
def server(running: RangeServer) -> RangeServer:
    """Return the server without any faults."""
    running.faults, running.always, running.asked = [], None, []
    return running


def read(url: str, **options: Any) -> UnitsTable:
    """Read ``/units`` of a remote file, without real waits between tries."""
    time = FakeTime()
    ranges = HttpRanges(url, allow_hosts=LOOPBACK, wait=time.wait, clock=time.clock, **options)
    with open_remote_file(ranges) as (file, file_bytes):
        return read_units_table(file, "/units", file_bytes=file_bytes)


@pytest.mark.parametrize("path", ["/good.nwb", "/to/good.nwb"])
def test_reads_over_http(server: RangeServer, path: str) -> None:
    """A table read over HTTP is the one that was written, with and without a redirect."""
    table = read(server.url(path))
    assert np.array_equal(table.spike_times_sec, np.concatenate(TRAINS).astype(np.float32))
    assert len(server.asked) < 10


@pytest.mark.parametrize("fault", [503, "drop", "short", "shifted"])
@pytest.mark.parametrize("request_number", [0, 1, 2])
def test_one_fault_anywhere_changes_nothing(
    server: RangeServer, fault: object, request_number: int
) -> None:
    """A temporary fault changes nothing, whether it hits metadata or data."""
    server.faults = [None] * request_number + [fault]
    assert len(read(server.url("/good.nwb")).spike_times_sec) == 80_000


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (503, "HTTP 503; given up after 300 s"),
        ("hang", "no answer in time; given up after 2 s"),
        ("new etag", "changed on the server"),
        (403, "denies access"),
    ],
)
def test_fault_in_mid_file_is_not_called_damage(
    server: RangeServer, fault: object, text: str
) -> None:
    """When the server fails, the error names the server's fault, not a damaged file."""
    server.faults, server.always = [None], fault
    timing = HttpTiming(read_timeout_sec=0.2, no_progress_sec=2 if fault == "hang" else 300)
    with pytest.raises(NwbError, match=text) as caught:
        read(server.url(f"/good.nwb?{SECRET}"), timing=timing)
    assert "s3cr3t" not in str(caught.value)


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 12345\n"


@pytest.mark.parametrize(
    ("path", "content", "text"),
    [
        ("/page.nwb", b"\n<!doctype html><title>Sign in</title>", r"is a web page \(HTML\)"),
        ("/pointer.nwb", LFS, "is a git-LFS pointer"),
        ("/x.nwb.zarr/.zmetadata", b'{"metadata": {}}', "is a zarr store or a part of one"),
        ("/x.nwb", b'{"zarr_format": 2}', "is a zarr store or a part of one"),
        ("/x.lindi.json", b'{"refs": {}}', "is a JSON document"),
        ("/x.zip", b"PK\x03\x04....", "is a zip archive"),
        ("/x.gz", b"\x1f\x8b\x08", "is a gzip archive"),
        ("/x.xml", b"<?xml version='1.0'?><Error/>", "is an XML document"),
        ("/x.bin", b"\x00\x01\x02\x03", "is not HDF5, not an NWB file"),
        ("/cut.nwb", GOOD[:-1000], f"is truncated: {len(GOOD) - 1000} of {len(GOOD)} bytes"),
        ("/zeroed.nwb", GOOD[:2000] + bytes(len(GOOD) - 2000), "is damaged: "),
        ("/x.nwb.zarr/", None, "is a zarr store or a part of one"),
        ("/none.nwb", None, "has no such file"),
    ],
)
@pytest.mark.parametrize("ranges", [True, False])
def test_other_files_are_named(
    server: RangeServer, path: str, content: object, text: str, ranges: bool
) -> None:
    """A file of another format is named, whether or not the server has ranges."""
    if content is not None:
        server.files[path] = content
    server.always = None if ranges else "whole"
    with pytest.raises(NwbError, match=text) as caught:
        read(server.url(path))
    assert str(caught.value).isprintable()


def test_user_block_is_allowed(server: RangeServer) -> None:
    """HDF5 files with a user block are read."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", userblock_size=1024) as file:
        add_units(file, TRAINS[:1])
    server.files["/userblock.nwb"] = buffer.getvalue()
    assert len(read(server.url("/userblock.nwb")).unit_ids) == 1


def test_newest_format(server: RangeServer) -> None:
    """Files of HDF5's newest format are read."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver="latest") as file:
        add_units(file, TRAINS, chunks=(512,), compression="gzip", maxshape=(None,))
    server.files["/latest.nwb"] = buffer.getvalue()
    assert len(read(server.url("/latest.nwb")).spike_times_sec) == 80_000


def test_a_million_units(server: RangeServer) -> None:
    """More units than can be drawn are refused before their spikes are fetched."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        units = file.create_group("units")
        units["spike_times"] = np.arange(1_000_000) / 1000
        units["spike_times_index"] = np.arange(1, 1_000_001)
    server.files["/million.nwb"] = buffer.getvalue()
    with pytest.raises(NwbError, match="1,000,000 units have spikes; at most 65,536 can be drawn"):
        read(server.url("/million.nwb"))
    assert sum(bytes_asked(line) for line in server.asked) < 9_500_000


def bytes_asked(line: str) -> int:
    """Return the length of the range in a line of ``RangeServer.asked``."""
    start, stop = line.split("bytes=")[1].split("-")
    return int(stop) + 1 - int(start)


def test_signature_that_expires_while_many_ranges_are_read(server: RangeServer) -> None:
    """Every connection whose signed URL expires starts again at the original URL."""
    times = np.sort(np.random.default_rng(0).uniform(0, 900, 500_000))
    server.files["/large.nwb"] = units_bytes([times])
    server.faults = [None, None, *[403] * 4]
    table = read(server.url("/to/large.nwb"))
    assert np.array_equal(table.spike_times_sec, times.astype(np.float32))
    assert 1 < len([line for line in server.asked if line.startswith("/to/")]) < 8


def test_mistaken_path_stays_invalid_input(server: RangeServer) -> None:
    """A wrong units path is reported as a wrong parameter, not as a damaged file."""
    server.files["/empty.nwb"] = units_bytes([[1.0]], name="elsewhere")
    with pytest.raises(InvalidInputError, match="units tables in the file: /elsewhere"):
        read(server.url("/empty.nwb"))


def test_mutated_files_give_a_table_or_a_clear_error(server: RangeServer) -> None:
    """Any changed bytes give a table or one of the two kinds of error."""
    rng = np.random.default_rng(0)
    small = units_bytes([[1.0, 2.0], [3.0]], chunks=(2,), compression="gzip")
    for _ in range(100):
        mutant = np.frombuffer(small, np.uint8).copy()
        places = rng.integers(0, len(mutant), rng.integers(1, 8))
        mutant[places] = rng.integers(0, 256, len(places))
        server.files["/mutant.nwb"] = mutant.tobytes()
        try:
            read(server.url("/mutant.nwb"))
        except (NwbError, InvalidInputError) as error:
            assert str(error).isprintable()  # noqa: PT017 - a table is right too
