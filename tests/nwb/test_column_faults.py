"""Damaged and hostile columns end in a clear error, before they take memory."""

import io
import tracemalloc
import zlib
from contextlib import closing
from typing import Any, Iterator

import h5py
import numpy as np
import pytest
from nwb_files import add_units, read_over_http, units_bytes
from range_server import LOOPBACK, RangeServer

from devaria.nwb.decoding.codecs import Step
from devaria.nwb.decoding.decoder import ThreadDecoder
from devaria.nwb.errors import NwbError
from devaria.nwb.hdf5.contiguous import ContiguousReader
from devaria.nwb.hdf5.remote_file import open_remote_file
from devaria.nwb.http.prefetch import Prefetcher
from devaria.nwb.http.ranges import HttpRanges
from devaria.nwb.limits import ReadLimits
from devaria.nwb.units.reader import read_units_table

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def server() -> Iterator[RangeServer]:
    """Serve the files that tests add."""
    with RangeServer({}) as running:
        yield running


@pytest.mark.parametrize("options", [{"compression": "gzip"}, {"fletcher32": True}], ids=str)
@pytest.mark.parametrize("chunks", [100, 20_000])
def test_damaged_chunk_is_named(server: RangeServer, options: Any, chunks: int) -> None:
    """A chunk that a filter finds damaged is an error, as with h5py alone."""
    content = bytearray(
        units_bytes(
            [np.sort(np.round(RNG.uniform(0, 900, 20_000)) / 32) for _ in range(3)],
            chunks=(chunks,),
            **options,
        )
    )
    with h5py.File(io.BytesIO(bytes(content)), "r") as file:
        info = file["units/spike_times"].id.get_chunk_info(1)
    middle = info.byte_offset + info.size // 2
    content[middle : middle + 8] = b"\xff" * 8
    with pytest.raises(NwbError, match="is damaged: "):
        read_over_http(server, bytes(content))


def test_bomb_by_fill_value(server: RangeServer) -> None:
    """Values that are declared but not stored are refused before they take memory."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["other"] = np.zeros(1_000_000, np.uint8)
        units = file.create_group("units")
        times = units.create_dataset(
            "spike_times", (10**8,), "f8", chunks=(10_000,), compression="gzip", fillvalue=1.0
        )
        times[:100] = 2.0
        units["spike_times_index"] = [10**8]
    with pytest.raises(NwbError, match=r"declares 100,000,000 values, but only \d+ bytes are st"):
        read_over_http(server, buffer.getvalue())


def test_bomb_by_inflation(server: RangeServer) -> None:
    """A chunk that decompresses to more than its size is an error: HDF5 would go on."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        units = add_units(file, [[1.0] * 1000], chunks=(1000,), compression="gzip")
        units["spike_times"].id.write_direct_chunk((0,), zlib.compress(bytes(10**7)))
    with pytest.raises(NwbError, match="a compressed chunk is far longer than it may be"):
        read_over_http(server, buffer.getvalue())


def test_junk_behind_a_stream_is_not_looked_at() -> None:
    """HDF5 leaves it out too. To collect it takes a time that grows with its square."""
    decoder = ThreadDecoder(np.dtype("u1"), 1000, [Step("zlib")])
    stored = memoryview(zlib.compress(bytes(1000)) + bytes(2_000_000))
    tracemalloc.start()
    try:
        assert decoder.decode([stored], 0).tolist() == [0] * 1000
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("limits", [{"max_fetch_bytes": 300_000}])
def test_fetched_bytes_are_bounded(server: RangeServer, limits: Any) -> None:
    """No more is fetched than the operator allows."""
    server.files["/file.nwb"] = units_bytes([np.arange(200_000) / 100])
    with pytest.raises(
        NwbError, match=r"more than the 0 MB that may be fetched \(DEVARIA_MAX_FETCH"
    ), open_remote_file(
        HttpRanges(server.url("/file.nwb"), allow_hosts=LOOPBACK, limits=ReadLimits(**limits))
    ) as (file, file_bytes):
        read_units_table(file, "/units", file_bytes=file_bytes)


def test_values_that_were_not_fetched_are_an_error() -> None:
    """A contiguous dataset never passes on memory that nothing was read into."""
    content = units_bytes([[1.0, 2.0]])
    with h5py.File(io.BytesIO(content), "r") as file, closing(
        Prefetcher(lambda start, stop: content[start:stop], 1, 1, len(content))
    ) as prefetcher:
        reader = ContiguousReader(file["units/spike_times"], range(2), prefetcher, len(content))
        reader.plan()
        prefetcher.clear()
        with pytest.raises(AssertionError, match="rows 0 to 1 were not fetched"):
            reader.read(0, 2, pytest.fail)
