"""Columns fetched in parallel: in any layout, the values are those that h5py reads."""

import io
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from typing import Any, Callable, Dict, Iterator, List, Optional
from unittest.mock import patch

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nwb_files import add_units, read_in_memory, read_over_http, units_bytes
from range_server import LOOPBACK, RangeServer

from devaria.nwb.decoding.selection import Selection
from devaria.nwb.errors import NwbError
from devaria.nwb.hdf5 import chunk_index, chunked
from devaria.nwb.hdf5.chunk_index import ChunkIndex
from devaria.nwb.hdf5.pointers import Pointer
from devaria.nwb.hdf5.remote_file import open_remote_file
from devaria.nwb.http import prefetch, ranges
from devaria.nwb.units.table import UnitsTable

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def server() -> Iterator[RangeServer]:
    """Serve the files that tests add."""
    with RangeServer({}) as running:
        yield running


@pytest.fixture
def _small_parts() -> Iterator[None]:
    """Fetch such small parts that small files have many of them."""
    with small_parts():
        yield


def small_parts() -> ExitStack:
    """Return a context in which parts have a few kilobytes, and few are kept."""
    stack = ExitStack()
    stack.enter_context(
        patch.multiple(prefetch, PART_BYTES=3000, _FIRST_PART_BYTES=1000, WINDOW_BYTES=12_000)
    )
    stack.enter_context(patch.object(ranges, "FIRST_BYTES", 2048))
    stack.enter_context(patch.multiple(chunked, _MAX_GAP_BYTES=500, _SURVEYED=16))
    return stack


def assert_same(server: RangeServer, content: bytes) -> UnitsTable:
    """Check that both tables are equal, and return the remote one."""
    here, there = read_in_memory(content), read_over_http(server, content)
    for name, value in asdict(here).items():
        np.testing.assert_array_equal(getattr(there, name), value, name)
    return there


def trains(count: int, units: int = 3) -> List[Any]:
    """Return spike trains that compress like real ones."""
    return [np.sort(np.round(RNG.uniform(0, 900, count)) / 32) for _ in range(units)]


LAYOUTS: Dict[str, Dict[str, Any]] = {
    "gzip": {"compression": "gzip"},
    "shuffled gzip": {"compression": "gzip", "shuffle": True},
    "shuffle alone": {"shuffle": True},
    "chunks alone": {},
    "lzf": {"compression": "lzf"},
    "fletcher32": {"fletcher32": True},
    "gzip and fletcher32": {"compression": "gzip", "shuffle": True, "fletcher32": True},
    "float32": {"compression": "gzip", "shuffle": True, "dtype": np.float32},
    "float16": {"compression": "gzip", "dtype": np.float16},
    "long double": {"compression": "gzip", "dtype": np.longdouble},
    "big-endian": {"compression": "gzip", "shuffle": True, "dtype": ">f8"},
    "integers": {"compression": "gzip", "shuffle": True, "dtype": np.int32},
    "big-endian integers": {"dtype": ">u2"},
    "scaled integers": {"scaleoffset": 0, "dtype": np.int64},
    "scaled floats": {"scaleoffset": 3},
}


@pytest.mark.usefixtures("_small_parts")
@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_filters_and_types(server: RangeServer, layout: str, libver: str) -> None:
    """Every filter and number type of HDF5 gives what h5py reads, in either file format."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=libver) as file:
        add_units(file, trains(4000), chunks=(190,), **LAYOUTS[layout])
    assert_same(server, buffer.getvalue())


@pytest.mark.usefixtures("_small_parts")
def test_contiguous_and_compact(server: RangeServer) -> None:
    """Columns that are not in chunks are read, also if they are longer than their index says."""
    for options in ({}, {"dtype": ">f4"}, {"dtype": np.longdouble}):
        assert_same(server, units_bytes(trains(5000), **options))
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        units = add_units(file, trains(10))
        del units["spike_times"], units["spike_times_index"]
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((30,))
        made = h5py.h5d.create(units.id, b"spike_times", h5py.h5t.NATIVE_DOUBLE, space, plist)
        h5py.Dataset(made)[:] = np.arange(30) / 8
        units["spike_times_index"] = [5, 9, 20]
    assert len(assert_same(server, buffer.getvalue()).spike_times_sec) == 20


@pytest.mark.usefixtures("_small_parts")
def test_user_block(server: RangeServer) -> None:
    """Files with a user block, whose offsets differ, are read by HDF5 alone."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", userblock_size=1024) as file:
        add_units(file, trains(5000), chunks=(100,), compression="gzip")
    assert_same(server, buffer.getvalue())


class Layout:
    """A column whose chunks were written in any order, with gaps, and some not at all."""

    def __init__(self, draw: Any) -> None:
        self.count = draw(st.integers(1, 4000), "spikes")
        self.length = draw(st.integers(1, min(200, self.count)), "chunk length")
        self.filters = LAYOUTS[draw(st.sampled_from(sorted(LAYOUTS)), "filters")]
        self.order = draw(
            st.sampled_from(["ascending", "descending", "random", "two ends"]), "order"
        )
        self.missing = draw(st.sampled_from([0, 0, 0.1, 0.9]), "share of chunks missing")
        self.gap = draw(st.sampled_from([0, 0, 300, 4000]), "bytes between chunks")
        self.cover = draw(st.floats(0.1, 1), "share that the index covers")
        self.libver = draw(st.sampled_from(["earliest", "latest"]), "format")
        self.fill = draw(st.sampled_from([None, 7]), "fill value")

    def content(self) -> bytes:
        """Return the bytes of a file with this column."""
        rng = np.random.default_rng(self.count)
        options = {"dtype": np.float64, **self.filters}
        dtype = options.pop("dtype")
        times = np.sort(rng.integers(0, 3200, self.count) / 32).astype(dtype)
        buffer = io.BytesIO()
        with h5py.File(buffer, "w", libver=self.libver) as file:
            units = file.create_group("units")
            last = max(1, int(self.count * self.cover))
            units["spike_times_index"] = [last // 2, last]
            times_column = units.create_dataset(
                "spike_times",
                (self.count,),
                dtype,
                chunks=(self.length,),
                fillvalue=self.fill,
                **options,
            )
            for number in self._written(rng):
                part = slice(number * self.length, (number + 1) * self.length)
                times_column[part] = times[part]
                if self.gap:
                    file[f"other {number}"] = rng.integers(0, 255, self.gap, np.uint8)
                # Else HDF5 keeps chunks in memory, and writes them in an order of its own.
                file.flush()
        return buffer.getvalue()

    def _written(self, rng: Any) -> List[int]:
        numbers = np.arange(-(-self.count // self.length))
        if self.order == "descending":
            numbers = numbers[::-1]
        elif self.order == "random":
            rng.shuffle(numbers)
        elif self.order == "two ends":
            numbers = np.concatenate([numbers[::2], numbers[1::2]])
        return [int(number) for number in numbers if rng.random() >= self.missing]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_generated_layouts(server: RangeServer, data: Any) -> None:
    """Wherever chunks lie, and whichever are missing, the values are those that h5py reads."""
    content = Layout(data.draw).content()
    with small_parts():
        here, there = (
            outcome(read_in_memory, content),
            outcome(partial(read_over_http, server), content),
        )
        if isinstance(here, str):
            assert there == here
        else:
            assert_same(server, content)


def outcome(read: Callable[[bytes], UnitsTable], content: bytes) -> Any:
    """Return the table, or the start of the error."""
    try:
        return read(content)
    except NwbError as error:
        return str(error).split(",")[0]


def test_few_requests_and_no_byte_twice(server: RangeServer) -> None:
    """A column among other data is fetched with few requests, and almost no byte twice."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["before"] = RNG.integers(0, 255, 3_000_000, np.uint8)
        add_units(file, [np.sort(RNG.uniform(0, 900, 900_000))], chunks=(5000,))
        file["after"] = RNG.integers(0, 255, 3_000_000, np.uint8)
    server.asked.clear()
    assert_same(server, buffer.getvalue())
    assert 900_000 * 8 // prefetch.PART_BYTES < len(server.asked) < 16 + 9
    ranges = [line.split("bytes=")[1].split("-") for line in server.asked]
    fetched = sum(int(stop) + 1 - int(start) for start, stop in ranges)
    assert 900_000 * 8 < fetched < 1.25 * 900_000 * 8


def guess_of(server: RangeServer, content: bytes, rows: Optional[range] = None) -> Any:
    """Return where the chunks of spike times are guessed to lie, and where they lie."""
    server.files["/file.nwb"] = content
    opened = ranges.HttpRanges(server.url("/file.nwb"), allow_hosts=LOOPBACK)
    with open_remote_file(opened) as (file, file_bytes):
        times = file["units/spike_times"]
        selection = Selection(times.shape, times.chunks, rows or range(len(times)))
        index = ChunkIndex(times, selection, file.metadata, file_bytes)
        guess = index.guess()
        chunks = index.first(selection.num_chunks)
        return guess, min(chunks).start, max(chunk.stop for chunk in chunks)


@pytest.mark.parametrize("num_chunks", [70, 700])
def test_chunks_that_were_written_together_are_guessed(
    server: RangeServer, num_chunks: int
) -> None:
    """The guess begins before the first chunk, and nearly all chunks lie in it."""
    spikes = [np.sort(RNG.uniform(0, 900, 500 * num_chunks))]
    content = units_bytes(spikes, chunks=(500,), compression="gzip")
    (start, stop), first, last = guess_of(server, content)
    assert start <= first < start + 4096
    assert abs(stop - last) < 0.1 * (last - first)


@pytest.mark.parametrize(
    ("gap", "libver", "rows"),
    [(4000, "earliest", None), (0, "latest", None), (0, "earliest", range(20_000, 35_000))],
)
def test_nothing_is_guessed_of_other_layouts(
    server: RangeServer, gap: int, libver: str, rows: Optional[range]
) -> None:
    """Neither of chunks among other data, nor of other indexes, nor of some rows."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=libver) as file:
        times = file.create_dataset("units/spike_times", (35_000,), "f8", chunks=(500,))
        for start in range(0, 35_000, 500):
            times[start : start + 500] = RNG.uniform(0, 900, 500)
            file[f"other {start}"] = RNG.integers(0, 255, gap, np.uint8)
            file.flush()
    assert guess_of(server, buffer.getvalue(), rows)[0] is None


def test_a_header_that_leads_to_itself_ends_the_guess(server: RangeServer) -> None:
    """HDF5 has read the header before; the bytes that are looked into may be others."""
    content = units_bytes(trains(12_000), chunks=(500,))
    endless = Pointer("header", 1, 1)
    with patch.object(chunk_index, "pointers_in", lambda *_arguments: [endless]):
        assert guess_of(server, content)[0] is None


def test_a_wrong_guess_changes_no_value(server: RangeServer) -> None:
    """Whatever is fetched for nothing."""
    content = units_bytes(trains(12_000), chunks=(200,), compression="gzip")
    for start, stop in ((0, 900), (len(content) // 2, len(content)), (8, len(content))):
        with small_parts(), patch.object(ChunkIndex, "guess", lambda _, s=start, e=stop: (s, e)):
            assert_same(server, content)


def test_progress_is_told_in_stored_bytes(server: RangeServer) -> None:
    """Progress starts at 0, never decreases, and ends at the stored bytes."""
    content = units_bytes(trains(40_000), chunks=(1000,), compression="gzip")
    told: List[Any] = []
    read_over_http(server, content, progress=lambda done, total: told.append((done, total)))
    with h5py.File(io.BytesIO(content), "r") as file:
        stored = file["units/spike_times"].id.get_storage_size()
    assert told[0][0] == 0
    assert told == sorted(told)
    assert told[-1] == (told[0][1], told[0][1])
    assert told[0][1] == pytest.approx(stored, rel=0.1)
    assert len(told) > 100


def test_what_progress_raises_ends_the_reading(server: RangeServer) -> None:
    """An exception of the progress callback ends the reading."""

    def tell(done: int, _total: int) -> None:
        if done:
            raise KeyboardInterrupt

    content = units_bytes(trains(40_000), chunks=(1000,), compression="gzip")
    with pytest.raises(KeyboardInterrupt):
        read_over_http(server, content, progress=tell)
