"""Datasets of any shape, type and layout: whatever rows are wanted, h5py reads the same."""

import ctypes
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple
from unittest.mock import patch

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from range_server import RangeServer
from remote_values import file_bytes, read_by_h5py, read_values

from devaria.nwb.errors import InvalidInputError, NwbError
from devaria.nwb.hdf5 import chunked, contiguous, values
from devaria.nwb.http import prefetch, ranges

RNG = np.random.default_rng(0)

#: Name → type and options of a dataset in chunks.
KINDS: Dict[str, Tuple[Any, Dict[str, Any]]] = {
    "int8": ("i1", {"compression": "gzip"}),
    "uint8": ("u1", {}),
    "int16": ("<i2", {"compression": "gzip", "shuffle": True}),
    "uint16": ("<u2", {"compression": "gzip"}),
    "int32": ("<i4", {"shuffle": True}),
    "uint32": (">u4", {"compression": "gzip", "shuffle": True}),
    "int64": (">i8", {}),
    "uint64": ("<u8", {"compression": "lzf"}),
    "float16": ("<f2", {"compression": "gzip"}),
    "float32": (">f4", {"compression": "gzip", "shuffle": True}),
    "float64": ("<f8", {"compression": "gzip", "shuffle": True, "fletcher32": True}),
    "long double": (np.longdouble, {"compression": "gzip"}),
    "complex64": ("<c8", {"compression": "gzip"}),
    "complex128": (">c16", {"compression": "lzf", "shuffle": True}),
    "bool": ("?", {"compression": "gzip"}),
    "enum": (h5py.enum_dtype({"A": 0, "B": 1}, "i2"), {"compression": "gzip"}),
    "scaled integers": ("<i4", {"scaleoffset": 0}),
    "scaled floats": ("<f8", {"scaleoffset": 3}),
    "checksum": ("<i4", {"fletcher32": True}),
    "szip": ("<i2", {"compression": "szip", "compression_opts": ("nn", 4)}),
    "nbit": ("nbit", {}),
}
KINDS = {
    name: kind
    for name, kind in KINDS.items()
    if kind[1].get("compression") != "szip" or h5py.h5z.filter_avail(h5py.h5z.FILTER_SZIP)
}

#: Kinds that need a minimum of values in a chunk, or another way to write them.
UNFIT = ("nbit", "szip")

SHAPES: List[Tuple[Tuple[int, ...], Tuple[int, ...]]] = [
    ((500,), (37,)),
    ((60, 2), (7, 1)),
    ((23, 9, 11), (1, 9, 11)),
    ((23, 9, 11), (5, 4, 11)),
    ((9, 4, 5, 3), (2, 3, 5, 2)),
]

SLICES = [
    slice(None),
    slice(3, 9),
    slice(-5, None),
    slice(1, None, 3),
    slice(None, None, 8),
    slice(4, 4),
    slice(100_000, None),
]


@pytest.fixture(scope="module")
def server() -> Iterator[RangeServer]:
    """Serve the files that tests add."""
    with RangeServer({}) as running:
        yield running


def small_parts() -> ExitStack:
    """Return a context in which everything is so small that small datasets have many of it."""
    stack = ExitStack()
    stack.enter_context(
        patch.multiple(prefetch, PART_BYTES=3000, _FIRST_PART_BYTES=1000, WINDOW_BYTES=12_000)
    )
    stack.enter_context(patch.object(ranges, "FIRST_BYTES", 2048))
    stack.enter_context(patch.multiple(chunked, _MAX_GAP_BYTES=300, _SURVEYED=6, _GROUP_BYTES=2000))
    stack.enter_context(
        patch.multiple(contiguous, _MAX_GAP_BYTES=300, _READ_BYTES=700, _PLANNED_ROWS=3)
    )
    return stack


def numbers(dtype: Any, shape: Tuple[int, ...]) -> Any:
    """Return values of a type, as compressible as real ones."""
    drawn = RNG.integers(0, 100, shape)
    if dtype == "?":
        return drawn % 2 == 0
    if np.dtype(dtype).kind == "c":
        return (drawn + 1j * drawn[::-1]).astype(dtype)
    return drawn.astype(dtype)


def write(file: h5py.File, dtype: Any, shape: Tuple[int, ...], **options: Any) -> h5py.Dataset:
    """Write a dataset `x`."""
    if dtype != "nbit":
        return file.create_dataset("x", data=numbers(dtype, shape), dtype=dtype, **options)
    stored_type = h5py.h5t.STD_U16LE.copy()
    stored_type.set_precision(9)
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk(options["chunks"])
    plist.set_filter(h5py.h5z.FILTER_NBIT, h5py.h5z.FLAG_OPTIONAL)
    made = h5py.h5d.create(file.id, b"x", stored_type, h5py.h5s.create_simple(shape), plist)
    dataset = h5py.Dataset(made)
    dataset[...] = numbers("u2", shape)
    return dataset


def assert_same(server: RangeServer, content: bytes, rows: slice) -> None:
    """Check that both readers give equal values of equal types."""
    here, there = read_by_h5py(content, rows=rows), read_values(server, content, rows=rows)
    assert there.dtype == here.dtype.newbyteorder("=")
    np.testing.assert_array_equal(there, here)


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("kind", KINDS)
def test_types_and_filters(server: RangeServer, kind: str, libver: str) -> None:
    """Every type of numbers and every filter that HDF5 has."""
    dtype, options = KINDS[kind]
    for number, (shape, chunks) in enumerate(SHAPES[1:4]):
        told = {"shape": shape, "chunks": chunks, **options}
        content = file_bytes(partial(write, dtype=dtype, **told), libver=libver)
        with small_parts():
            assert_same(server, content, SLICES[0])
            assert_same(server, content, SLICES[1 + number])


@pytest.mark.parametrize("rows", SLICES, ids=str)
@pytest.mark.parametrize(("shape", "chunks"), [*SHAPES, ((12, 30), None), ((400, 3, 70), None)])
def test_shapes_and_slices(server: RangeServer, shape: Any, chunks: Any, rows: slice) -> None:
    """Any slice of the first axis, in chunks that do not divide the axes, and contiguous."""
    for options in ({"compression": "gzip"}, {}) if chunks else ({},):
        content = file_bytes(partial(write, dtype=">i2", shape=shape, chunks=chunks, **options))
        with small_parts():
            assert_same(server, content, rows)


class Layout:
    """A dataset whose chunks were written in any order, with gaps, and some not at all."""

    def __init__(self, draw: Any) -> None:
        self.shape = tuple(draw(st.lists(st.integers(1, 12), min_size=1, max_size=4), "shape"))
        # Not too many, since writing them takes longest.
        self.chunks = tuple(
            draw(st.integers(-(-length // 4), length), "chunk") for length in self.shape
        )
        self.dtype, self.options = KINDS[
            draw(st.sampled_from([kind for kind in sorted(KINDS) if kind not in UNFIT]), "kind")
        ]
        self.is_shuffled = draw(st.booleans(), "random order")
        self.missing = draw(st.sampled_from([0, 0, 0.1, 0.9]), "share of chunks missing")
        self.gap = draw(st.sampled_from([0, 0, 200, 1000]), "bytes between chunks")
        self.libver = draw(st.sampled_from(["earliest", "latest"]), "format")
        fills = [None, 1] if np.dtype(self.dtype).kind in "iuf" else [None]
        self.fill = draw(st.sampled_from(fills), "fill value")
        axes = st.sets(st.integers(0, len(self.shape) - 1))
        self.unlimited = draw(st.just({0}) | axes, "unlimited axes")
        self.way = draw(st.sampled_from(["indexed", "indexed", "streamed", "by HDF5"]), "way")
        self.batch_bytes = draw(st.sampled_from([0, 1, 50, 500]), "batch bytes")
        bound = st.none() | st.integers(-15, 15)
        self.rows = slice(
            draw(bound, "start"), draw(bound, "stop"), draw(st.integers(1, 5), "step")
        )

    def write(self, file: h5py.File) -> None:
        """Write it."""
        rng = np.random.default_rng(self.shape[0])
        dataset = file.create_dataset(
            "x",
            self.shape,
            self.dtype,
            chunks=self.chunks,
            fillvalue=self.fill,
            maxshape=tuple(
                None if axis in self.unlimited else length for axis, length in enumerate(self.shape)
            ),
            **self.options,
        )
        values = numbers(self.dtype, self.shape)
        places = list(dataset.iter_chunks())
        if self.is_shuffled:
            rng.shuffle(places)
        for number, place in enumerate(tuple(each) for each in places):
            if rng.random() >= self.missing:
                dataset[place] = values[place]
                if self.gap:
                    file[f"other {number}"] = rng.integers(0, 255, self.gap, np.uint8)
                file.flush()  # else HDF5 keeps chunks, and writes them in an order of its own


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_generated_layouts(server: RangeServer, data: Any) -> None:
    """Wherever chunks lie, and whichever are missing, the values are those that h5py reads."""
    layout = Layout(data.draw)
    content = file_bytes(layout.write, libver=layout.libver)
    ahead, most = {"indexed": (10**6, 10**6), "streamed": (0, 10**6), "by HDF5": (0, 0)}[layout.way]
    told = {"rows": layout.rows, "batch_bytes": layout.batch_bytes}
    with small_parts(), patch.multiple(values, MAX_CHUNKS_AHEAD=ahead, MAX_CHUNKS=most):
        try:
            there = read_values(server, content, **told)
        except NwbError as error:
            # Where few chunks are stored, they look like a bomb.
            if not layout.missing or "bytes are stored" not in str(error):
                raise
            return
    here = read_by_h5py(content, rows=layout.rows)
    if layout.batch_bytes:
        row_bytes = here.dtype.itemsize * int(np.prod(here.shape[1:]))
        assert all(0 < part.nbytes <= max(layout.batch_bytes, row_bytes) for part in there)
        there = np.concatenate([here[:0], *there])
    np.testing.assert_array_equal(there, here)


@pytest.mark.parametrize("maxshape", [(64, None), (None, 64), (None, None)])
def test_axes_without_limit(server: RangeServer, maxshape: Any) -> None:
    """Each kind of index, also where h5py gives wrong places for chunks, and some are missing."""

    def add(file: h5py.File) -> None:
        written = file.create_dataset("x", (24, 64), "i4", chunks=(8, 8), maxshape=maxshape)
        written[:, :40] = np.arange(24 * 40).reshape(24, 40)

    assert_same(server, file_bytes(add, libver="latest"), slice(None))


@pytest.mark.parametrize("batch_bytes", [1, 100, 5000])
@pytest.mark.parametrize("step", [1, 7])
def test_contiguous_pieces(server: RangeServer, step: int, batch_bytes: int) -> None:
    """Rows of a contiguous dataset come in pieces too."""
    content = file_bytes(partial(write, dtype=">i2", shape=(60, 5, 3)))
    with small_parts():
        pieces = read_values(server, content, rows=slice(3, None, step), batch_bytes=batch_bytes)
    here = read_by_h5py(content, rows=slice(3, None, step))
    np.testing.assert_array_equal(np.concatenate(pieces), here)
    assert max(map(len, pieces)) == min(len(here), max(1, batch_bytes // 30))


def test_single_values_and_compact_ones(server: RangeServer) -> None:
    """A single value has no axes; compact values lie in the object's header."""

    def add(file: h5py.File) -> None:
        file["x"] = np.float32(1.5)
        file["empty"] = np.zeros((0, 3), np.int16)
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((3, 2))
        made = h5py.h5d.create(file.id, b"compact", h5py.h5t.STD_I16BE, space, plist)
        h5py.Dataset(made)[...] = [[1, 2], [3, 4], [5, 6]]

    content = file_bytes(add)
    single = read_values(server, content)
    assert (single.shape, single.dtype, single[()]) == ((), np.float32, 1.5)
    assert read_values(server, content, "empty").shape == (0, 3)
    assert read_values(server, content, "compact", slice(1, None)).tolist() == [[3, 4], [5, 6]]
    with pytest.raises(InvalidInputError, match="x is a single value: it has no rows"):
        read_values(server, content, rows=slice(0, 1))


def test_edges_that_are_stored_without_filters(server: RangeServer) -> None:
    """A writer may leave filters out where chunks reach beyond the edge; h5py does not tell."""
    libraries = list(Path(h5py.__file__).parents[1].glob("h5py.libs/libhdf5-*"))
    if not libraries:
        pytest.skip("h5py does not bring HDF5 in a place that is known")
    library = ctypes.CDLL(str(libraries[0]))

    def add(file: h5py.File) -> None:
        for name, filters in (("x", ("shuffle",)), ("y", ("shuffle", "deflate"))):
            plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            plist.set_chunk((4, 3))
            for each in filters:
                getattr(plist, f"set_{each}")()
            assert library.H5Pset_chunk_opts(ctypes.c_int64(plist.id), 2) >= 0
            space = h5py.h5s.create_simple((10, 7))
            made = h5py.h5d.create(file.id, name.encode(), h5py.h5t.STD_I32LE, space, plist)
            h5py.Dataset(made)[...] = np.arange(70).reshape(10, 7) ** 3

    content = file_bytes(add, libver="latest")
    for path in ("x", "y"):
        values = read_values(server, content, path)
        np.testing.assert_array_equal(values, np.arange(70).reshape(10, 7) ** 3)


def test_values_become_another_type(server: RangeServer) -> None:
    """The caller's type, also where numbers do not fit; a change of kind is refused."""
    content = file_bytes(partial(write, dtype=">f8", shape=(50, 3), chunks=(7, 3)))
    found = read_values(server, content, dtype="f4")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, read_by_h5py(content).astype("f4"))


@pytest.mark.parametrize("chunks", [(100, 100), None])
def test_only_the_wanted_bytes_are_fetched(server: RangeServer, chunks: Any) -> None:
    """A few rows of a large dataset take a small share of its bytes."""
    values = RNG.integers(0, 255, (8000, 1000), np.uint8)
    content = file_bytes(lambda file: file.create_dataset("x", data=values, chunks=chunks))
    for rows in (slice(4000, 4100), slice(None, None, 2000)):
        server.asked.clear()
        np.testing.assert_array_equal(read_values(server, content, rows=rows), values[rows])
        spans = [line.split("bytes=")[1].split("-") for line in server.asked]
        fetched = sum(int(last) + 1 - int(first) for first, last in spans)
        assert fetched < len(content) / 2


def test_faults_of_the_server_are_tried_again(server: RangeServer) -> None:
    """Breaks, wrong ranges and errors in between change nothing."""
    content = file_bytes(
        partial(write, dtype="<i4", shape=(3000, 40, 5), chunks=(50, 40, 5), compression="gzip")
    )
    server.faults = [None, "short", 503, "drop", "shifted", "html", 429, None, "whole", "short"]
    with patch.multiple(prefetch, PART_BYTES=20_000, _FIRST_PART_BYTES=20_000):
        assert_same(server, content, slice(None))
    assert server.faults == []
