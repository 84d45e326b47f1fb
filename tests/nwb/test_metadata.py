"""Metadata is fetched in generations; what leads nowhere costs a request and does no harm."""

import io
from contextlib import closing
from typing import Any, Callable, Dict, List, Optional, Tuple

import h5py
import numpy as np
import pytest
from remote_values import file_bytes

from devaria.nwb.hdf5 import metadata
from devaria.nwb.hdf5.metadata import MetadataPrefetcher, address_of
from devaria.nwb.hdf5.pointers import _PARSERS, Pointer, Wanted, header, pointers_in

RNG = np.random.default_rng(0)


class Source:
    """The bytes of a file, and what was fetched of them."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.fetched: List[Tuple[int, int]] = []

    def fetch(self, start: int, stop: int) -> bytes:
        """Return a range, and note it."""
        self.fetched.append((start, stop))
        return self.content[start:stop]

    def prefetcher(self, known: int = 0) -> MetadataPrefetcher:
        """Return a prefetcher to which the first bytes are known."""
        head = self.content[:known]

        def peek(position: int) -> Optional[Tuple[int, bytes]]:
            return (0, head) if position < known else None

        return MetadataPrefetcher(self.fetch, 4, len(self.content), peek)


class Watched(io.BytesIO):
    """A file for h5py that notes which places are read."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.read_at: List[Tuple[int, int]] = []

    def readinto(self, buffer: Any) -> int:
        """Read, and note the place."""
        start = self.tell()
        count = super().readinto(buffer)
        self.read_at.append((start, start + count))
        return count


def scattered(file: h5py.File) -> None:
    """Write groups with datasets, and a stretch of noise after each object."""
    noise = iter(range(1000))

    def gap() -> None:
        file.create_dataset(f"noise/{next(noise)}", data=RNG.integers(0, 255, 70_000, np.uint8))

    for number in range(6):
        group = file.create_group(f"a/{number}")
        group.attrs["neurodata_type"] = "Some" + "Type" * number
        gap()
        for name in ("data", "times"):
            group.create_dataset(
                name, (50_000, 2), "f8", chunks=(500, 2), compression="gzip", maxshape=(None, 2)
            )
            group[name].attrs["unit"] = "µV"
            group[name][:] = RNG.integers(0, 9, (50_000, 2))
            gap()


@pytest.fixture(scope="module", params=["earliest", "latest"])
def content(request: Any) -> bytes:
    """Return such a file, in the old or the new format."""
    return file_bytes(scattered, libver=request.param)


def missed(
    content: bytes, prefetcher: MetadataPrefetcher, path: str, work: Callable[[Any], object]
) -> List[Tuple[int, int]]:
    """Return what h5py reads in some work with an object beyond what was fetched ahead."""
    watched = Watched(content)
    with h5py.File(watched, "r") as file:
        thing = file[path]
        watched.read_at.clear()
        work(thing)
        return [place for place in watched.read_at if prefetcher.peek(place[0]) is None]


def root_of(content: bytes) -> int:
    """Return the address of a file's first group."""
    with h5py.File(io.BytesIO(content), "r") as file:
        return address_of(file["a"])


def test_a_tree_is_there_before_it_is_read(content: bytes) -> None:
    """Groups, links, headers and the texts of attributes; few are left to HDF5."""
    source = Source(content)
    with closing(source.prefetcher()) as prefetcher:
        prefetcher.search([header(root_of(content), 2)])

        def look(groups: h5py.Group) -> None:
            for group in groups.values():
                assert group.attrs["neurodata_type"].startswith("Some")
                assert [dataset.attrs["unit"] for dataset in group.values()] == ["µV"] * 2

        assert missed(content, prefetcher, "a", look) == []
    assert sum(stop - start for start, stop in source.fetched) < len(content) / 4
    assert len(source.fetched) > 6


def test_levels_are_those_asked_for(content: bytes) -> None:
    """Nothing below the last level is fetched."""
    lengths = []
    for levels in (0, 1, 2):
        source = Source(content)
        with closing(source.prefetcher()) as prefetcher:
            prefetcher.search([header(root_of(content), levels)])
        lengths.append(sum(stop - start for start, stop in source.fetched))
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[2]


def test_an_index_is_there_before_it_is_read(content: bytes) -> None:
    """All nodes up to the last wanted row, in any format of an index."""
    with h5py.File(io.BytesIO(content), "r") as file:
        address = address_of(file["a/3/data"])
    source = Source(content)
    with closing(source.prefetcher()) as prefetcher:
        start = header(address, 0)
        prefetcher.search_later(start, Wanted(has_index=True))
        prefetcher.wait_for(start)
        assert prefetcher.is_over(start)

        def walk(dataset: h5py.Dataset) -> None:
            infos: List[Any] = []
            dataset.id.chunk_iter(infos.append)
            assert len(infos) == 100

        assert missed(content, prefetcher, "a/3/data", walk) == []


@pytest.mark.parametrize("axes", [1, 2, 5])
def test_nodes_of_an_index_have_the_length_of_their_axes(axes: int) -> None:
    """The children of an inner node are those that HDF5 reads."""
    shape, chunks = (3000, *[2] * (axes - 1)), (10, *[2] * (axes - 1))
    content = file_bytes(
        lambda file: file.create_dataset("x", data=RNG.integers(0, 9, shape), chunks=chunks)
    )
    with h5py.File(io.BytesIO(content), "r") as file:
        start = header(address_of(file["x"]), 0)
    wanted = Wanted(has_index=True)
    found = pointers_in(start, content[start.address :][:2000], wanted)
    (tree,) = [pointer for pointer in found if pointer.kind == "chunk tree"]
    node = content[tree.address :][: tree.num_bytes]
    children = pointers_in(tree, node, wanted)
    assert len(children) == node[6] >= 300 // 64
    for child in children:
        assert content[child.address :][:6] == b"TREE\1\0"
        assert child.kind == "raw"
    assert len(pointers_in(tree, node, Wanted(has_index=True, stop_row=10))) == 1


def test_a_failure_is_left_to_hdf5() -> None:
    """A search ends without an exception, and nothing is there."""

    def fail(_start: int, _stop: int) -> bytes:
        raise RuntimeError("gone")

    with closing(MetadataPrefetcher(fail, 2, 10**6, lambda _position: None)) as prefetcher:
        prefetcher.search([header(5000, 3)])
        assert prefetcher.peek(5000) is None


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest blocks are dropped."""
    monkeypatch.setattr(metadata, "_MAX_BLOCKS", 10)
    source = Source(bytes(10**6))
    with closing(source.prefetcher()) as prefetcher:
        for number in range(1, 31):
            prefetcher.search([Pointer("raw", number * 32 * 1024, 100)])
        found = [prefetcher.peek(number * 32 * 1024) is not None for number in range(1, 31)]
    assert found == [False] * 20 + [True] * 10


def test_a_circle_ends() -> None:
    """A node that points to itself is looked into once."""
    node = bytearray(600)
    node[:8] = b"TREE\0\1\1\0"
    node[32:40] = (4096).to_bytes(8, "little")
    source = Source(bytes(4096) + bytes(node))
    with closing(source.prefetcher()) as prefetcher:
        prefetcher.search([Pointer("group tree", 4096, 544, levels=2)])
    assert len(source.fetched) == 1


@pytest.mark.parametrize("kind", _PARSERS)
def test_noise_is_no_error(kind: str) -> None:
    """Whatever lies there: a limited number of pointers, none longer than a limit."""
    signatures: Dict[str, bytes] = {
        "group tree": b"TREE\0",
        "chunk tree": b"TREE\1",
        "symbols": b"SNOD",
        "heap": b"HEAP",
        "fixed array": b"FAHD",
        "extensible array": b"EAHD",
        "index block": b"EAIB",
        "super block": b"EASB",
        "header": b"OHDR",
        "continuation": b"OCHK",
    }
    rng = np.random.default_rng(1)
    for number in range(300):
        noise = bytes(rng.integers(0, [256, 4][number % 2], 3000, np.uint8))
        piece = noise if number % 3 == 0 else signatures[kind] + noise
        pointer = Pointer(kind, 8, int(rng.integers(0, 3000)), 3, int(rng.integers(0, 34)))
        for found in pointers_in(pointer, piece, Wanted(has_index=True)):
            assert found.num_bytes <= 256 * 1024


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetch little around what is wanted, so that nothing is there by chance."""
    monkeypatch.setattr(metadata, "BLOCK_BYTES", 4096)
