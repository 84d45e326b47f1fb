"""The index of a scattered column is fetched in parallel, and wrong addresses in it do no harm."""

import io
from typing import Any, List, Tuple

import h5py
import numpy as np
import pytest
from nwb_files import add_units, read_over_http
from range_server import RangeServer

from devaria.nwb.hdf5.btree_prefetch import BTreePrefetcher

TIMES = np.arange(300_000) / 64
NUM_CHUNKS = 300


@pytest.fixture(scope="module")
def content() -> bytes:
    """Make a file in which raw data lie between the chunks of the spike times, and their index."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        units = file.create_group("units")
        units["spike_times_index"] = [1000, 300_000]
        options: Any = {"compression": "gzip"}
        length = len(TIMES) // NUM_CHUNKS
        times = units.create_dataset("spike_times", TIMES.shape, "f8", chunks=(length,), **options)
        raw_shape = (NUM_CHUNKS * 20_000,)
        raw = file.create_dataset("raw", raw_shape, "u1", chunks=(20_000,), **options)
        noise = np.random.default_rng(0).integers(0, 255, raw_shape, np.uint8)
        for number in range(NUM_CHUNKS):
            part = slice(number * length, (number + 1) * length)
            times[part] = TIMES[part]
            raw[number * 20_000 : (number + 1) * 20_000] = noise[number * 20_000 :][:20_000]
            file.flush()  # else HDF5 writes chunks in an order of its own
    return buffer.getvalue()


def inner_node(content: bytes) -> Tuple[int, bytes]:
    """Find the inner node of an index: where it starts, and its bytes as HDF5 reads them."""
    starts = [at for at in _found(content, b"TREE\x01") if content[at + 5] > 0]
    return starts[0], content[starts[0] : starts[0] + 2096]


def _found(content: bytes, what: bytes) -> List[int]:
    places, at = [], content.find(what)
    while at >= 0:
        places.append(at)
        at = content.find(what, at + 1)
    return places


def test_leaves_are_fetched_beside_each_other(content: bytes) -> None:
    """Each leaf is fetched by a request of its own, and the values are right."""
    with RangeServer({}) as server:
        table = read_over_http(server, content)
    np.testing.assert_array_equal(table.spike_times_sec, TIMES.astype(np.float32))
    spans = [line.split("bytes=")[1].split("-") for line in server.asked]
    leaves = [int(start) for start, last in spans if int(last) + 1 - int(start) == 2096]
    assert len(leaves) >= NUM_CHUNKS // 64
    assert all(content[start : start + 6] == b"TREE\x01\x00" for start in leaves)


def test_children_of_an_inner_node(content: bytes) -> None:
    """Children of a node read before the start are fetched too; other places are not known."""
    prefetcher = BTreePrefetcher(lambda start, stop: content[start:stop], 4, len(content))
    _, node = inner_node(content)
    prefetcher.note_read(memoryview(node))
    first = int.from_bytes(node[48:56], "little")
    assert prefetcher.peek(first) is None
    prefetcher.start()
    assert prefetcher.peek(first) == (first, content[first : first + 2096])
    assert prefetcher.peek(first + 1) is None


@pytest.mark.parametrize(
    "node",
    [
        b"",
        b"TREE\x01\x01\xff\xff",
        b"TREE\x01\x01\xff\xff" + bytes(16),
        b"TREE\x01\x01\xff\xff" + b"\xff" * 5000,
        b"TREE\x01\x01\xff\xff" + bytes(5000),
        b"TREE\x00\x01\x01\x00" + b"\x01" * 2000,
        b"TREE\x01\x00\x01\x00" + b"\x01" * 2000,
        b"TREE\x01\x01\xff\xff" + b"\x01" * 100_000,
    ],
    ids=["empty", "header alone", "no keys", "far", "nowhere", "groups", "leaf", "too long"],
)
def test_what_leads_nowhere_is_not_fetched(node: bytes) -> None:
    """Bytes that are not an inner node, and addresses outside the file, cost no request."""
    asked: List[Tuple[int, int]] = []

    def fetch(start: int, stop: int) -> bytes:
        asked.append((start, stop))
        return b""

    prefetcher = BTreePrefetcher(fetch, 4, 10**6)
    prefetcher.start()
    prefetcher.note_read(memoryview(node))
    assert asked == []


def test_memory_is_bounded() -> None:
    """A file full of inner nodes does not fill the memory, and nothing is fetched twice."""
    asked: List[int] = []
    size = 0

    def fetch(start: int, stop: int) -> bytes:
        nonlocal size
        asked.append(start)
        size += stop - start
        return bytes(stop - start)

    prefetcher = BTreePrefetcher(fetch, 4, 10**9)
    prefetcher.start()
    for turn in range(30):
        pairs = np.zeros((500, 4), "<u8")
        pairs[:, 3] = turn * 400 + np.arange(1, 501)
        node = b"TREE\x01\x01\xf4\x01" + bytes(16) + pairs.tobytes()
        prefetcher.note_read(memoryview(node))
    assert 10 * 1024 * 1024 < size <= 32 * 1024 * 1024
    assert len(set(asked)) == len(asked)


def test_failure_of_a_fetch_is_the_readers() -> None:
    """A failed request for a child ends the reading."""

    def fetch(start: int, stop: int) -> bytes:
        raise ConnectionError(start, stop)

    prefetcher = BTreePrefetcher(fetch, 4, 10**9)
    prefetcher.note_read(
        memoryview(b"TREE\x01\x01\x01\x00" + bytes(16 + 24) + (64).to_bytes(8, "little"))
    )
    with pytest.raises(ConnectionError):
        prefetcher.start()


def test_column_without_an_index_tree_is_read() -> None:
    """An index of few chunks has no inner node, and the column is read without one."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        add_units(file, [TIMES], chunks=(150_000,))
    with RangeServer({}) as server:
        table = read_over_http(server, buffer.getvalue())
    np.testing.assert_array_equal(table.spike_times_sec, TIMES.astype(np.float32))
