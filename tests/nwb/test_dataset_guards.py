"""Datasets that must not be read are refused, whatever their shape, before they take memory."""

import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any, Dict, Iterator

import h5py
import numpy as np
import pytest
from range_server import LOOPBACK, RangeServer
from remote_values import file_bytes, read_values

from devaria.nwb import open_remote
from devaria.nwb.errors import NwbError
from devaria.nwb.hdf5 import browse
from devaria.nwb.hdf5.remote_file import open_remote_file
from devaria.nwb.hdf5.texts import read_texts
from devaria.nwb.http.ranges import HttpRanges
from devaria.nwb.limits import ReadLimits


@pytest.fixture(scope="module")
def server() -> Iterator[RangeServer]:
    """Serve the files that tests add."""
    with RangeServer({}) as running:
        yield running


def refuse(server: RangeServer, content: bytes, text: str, **options: Any) -> None:
    """Check that reading ends in an error, and takes almost no memory."""
    tracemalloc.start()
    try:
        with pytest.raises(NwbError, match=text):
            read_values(server, content, **options)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("rows", [slice(None), slice(0, 1), slice(None, None, 1000)], ids=str)
@pytest.mark.parametrize("chunks", [(1, 1000, 2), (10, 10, 1), None], ids=str)
def test_frames_that_were_never_stored(server: RangeServer, chunks: Any, rows: slice) -> None:
    """A hundred thousand frames are declared, and nothing is stored."""
    content = file_bytes(
        lambda file: file.create_dataset("x", (10**5, 10**5, 2), "u2", chunks=chunks)
    )
    text = r"x declares 20,000,000,000 values, but only [\d,]+ bytes are stored"
    refuse(server, content, text, rows=rows)


def test_frames_that_are_partly_stored(server: RangeServer) -> None:
    """What is stored can be read; what is not is a bomb, once the file is long enough for it."""

    def add(file: h5py.File) -> None:
        frames = file.create_dataset("x", (10**5, 100, 100), "u2", chunks=(1, 100, 100))
        frames[:3] = np.arange(3)[:, None, None]
        frames[50_000] = 7
        file["other"] = np.zeros(2_000_000, np.uint8)

    content = file_bytes(add)
    assert read_values(server, content, rows=slice(0, 3))[2, 99, 99] == 2
    assert read_values(server, content, rows=slice(49_999, 50_002))[:, 5, 5].tolist() == [0, 7, 0]
    refuse(server, content, "declares .* values, but only", rows=slice(0, 90_000))


def test_large_chunks(server: RangeServer) -> None:
    """A chunk of a gigabyte is not decompressed, whatever its axes."""
    content = file_bytes(
        lambda file: file.create_dataset(
            "x", (1000, 1000, 1000), "u1", chunks=(1000, 1000, 1000), compression="gzip"
        )
    )
    refuse(server, content, "x has chunks of 1,000,000,000 bytes: too large")


#: Chunks that are read by threads, by HDF5's filters, and by HDF5 from the file.
BOMBS: Dict[str, Dict[str, Any]] = {
    "threads": {},
    "filters": {"shuffle": True, "fletcher32": True},
    "a filter left out": {"shuffle": True, "filter_mask": 1, "fletcher32": True},
    "HDF5": {"maxshape": (64, None)},
    "texts": {"dtype": "S8"},
}


@pytest.mark.parametrize("kind", BOMBS)
def test_decompression_bombs(server: RangeServer, kind: str) -> None:
    """A chunk that inflates to far more than its length never comes to HDF5."""
    options = {"dtype": "f8", "compression": "gzip", **BOMBS[kind]}
    filter_mask = options.pop("filter_mask", 0)
    shape = (8192,) if kind == "texts" else (64, 128)
    raw = zlib.compress(bytes(3_000_000))

    def add(file: h5py.File) -> None:
        dataset = file.create_dataset("x", shape, chunks=shape, **options)
        dataset.id.write_direct_chunk((0,) * len(shape), raw, filter_mask)

    content = file_bytes(add, libver="latest")
    refused = pytest.raises(NwbError, match="a compressed chunk is far longer than it may be")
    if kind != "texts":
        with refused:
            read_values(server, content)
        return
    server.files["/b.nwb"] = content
    ranges = HttpRanges(server.url("/b.nwb"), allow_hosts=LOOPBACK)
    with open_remote_file(ranges) as (file, num_bytes), refused:
        read_texts(file, "x", num_bytes, ReadLimits())


def test_filters_that_hide_a_bomb(server: RangeServer) -> None:
    """What is compressed twice is not inflated."""

    def add(file: h5py.File) -> None:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((1000,))
        plist.set_deflate(9)
        plist.set_deflate(9)
        space = h5py.h5s.create_simple((1000,))
        made = h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F64LE, space, plist)
        h5py.Dataset(made)[...] = 1.0

    refuse(server, file_bytes(add), "x has filters after gzip: not supported")


def test_more_than_may_be_read(server: RangeServer) -> None:
    """Each request has a limit, which counts what is wanted, in the type that is wanted."""
    content = file_bytes(lambda file: file.create_dataset("x", data=np.ones((1000, 50), "u1")))
    limits = ReadLimits(max_read_bytes=100_000)
    assert read_values(server, content, limits=limits).shape == (1000, 50)
    refuse(server, content, r"x needs 400,000 bytes; at most 100,000", limits=limits, dtype="f8")
    some = read_values(server, content, rows=slice(0, None, 10), limits=limits, dtype="f8")
    assert some.shape == (100, 50)


def test_values_elsewhere(server: RangeServer, tmp_path: Path) -> None:
    """External storage and virtual datasets of any rank are not read."""
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(80))
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["y"] = np.zeros((2, 5))

    def add(file: h5py.File) -> None:
        file.create_dataset("x", (2, 5), "f8", external=[(str(secret), 0, 80)])
        layout = h5py.VirtualLayout((2, 5), "f8")
        layout[:] = h5py.VirtualSource(str(other), "y", (2, 5))
        file.create_virtual_dataset("virtual", layout)

    content = file_bytes(add)
    refuse(server, content, r"x keeps its values in another file \(external storage\)")
    refuse(server, content, "virtual takes its values from other datasets", path="virtual")


def test_unknown_filters(server: RangeServer) -> None:
    """They are named."""

    def add(file: h5py.File) -> None:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((10, 2))
        plist.set_filter(307, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple((10, 2))
        h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F64LE, space, plist)

    refuse(server, file_bytes(add), "x is compressed by a filter not known here: 307")


def test_too_many_axes(server: RangeServer) -> None:
    """HDF5's 32 axes are read, if numpy can."""
    shape = (2, 3, *[1] * 30)
    content = file_bytes(lambda file: file.create_dataset("x", data=np.ones(shape, "u1")))
    assert read_values(server, content).shape == shape


@pytest.mark.parametrize(
    ("texts", "options"),
    [
        (["x"] * 10_001, {}),
        (["x" * 50_000], {}),
        ([b"x" * 50_000], {"dtype": "S50000"}),
        (["x" * 10] * 100, {"chunks": (10,), "compression": "lzf"}),
        ([["a", "b"]], {}),
        (["x" * 9_000] * 200, {}),
        ([b"x" * 9_000] * 1_000, {"dtype": "S9000"}),
    ],
    ids=[
        *("many", "long", "long and fixed", "in a form that hides lengths", "two axes"),
        *("long together", "long together and fixed"),
    ],
)
def test_texts(server: RangeServer, texts: Any, options: Any) -> None:
    """Too many and too long texts are refused, and those whose lengths cannot be checked."""
    options = {"dtype": h5py.string_dtype(), **options}
    server.files["/t.nwb"] = file_bytes(lambda f: f.create_dataset("x", data=texts, **options))
    ranges = HttpRanges(server.url("/t.nwb"), allow_hosts=LOOPBACK)
    with open_remote_file(ranges) as (file, num_bytes), pytest.raises(NwbError):
        read_texts(file, "x", num_bytes, ReadLimits())


def test_searches_are_bounded(server: RangeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """By groups, datasets, what is listed, and what is described."""

    def add(file: h5py.File) -> None:
        for number in range(60):
            file.create_group(f"a{number:02}").attrs["neurodata_type"] = "T"
            file.create_dataset(f"d{number:02}", data=1).attrs["neurodata_type"] = "D"
        file["a00/loop"] = file["/"]

    server.files["/s.nwb"] = file_bytes(add)
    ranges = HttpRanges(server.url("/s.nwb"), allow_hosts=LOOPBACK)
    with open_remote_file(ranges) as (file, _):
        assert browse.find_types(file, ["T"]) == [f"/a{number:02}" for number in range(20)]
        assert len(browse.find_types(file, ["D"])) == 20
        assert browse.find_types(file, ["No"]) == []
        assert len(browse.look(file, "/a00", 4).children["loop"].children["a00"].children) == 1
        monkeypatch.setattr(browse, "_MAX_DATASETS_SEARCHED", 10)
        assert browse.find_types(file, ["D"]) == []  # the names of groups come first
        monkeypatch.setattr(browse, "_MAX_DATASETS_SEARCHED", 70)
        assert browse.find_types(file, ["D"]) == [f"/d{number:02}" for number in range(10)]
        monkeypatch.setattr(browse, "_MAX_GROUPS_SEARCHED", 5)
        assert len(browse.find_types(file, ["T"])) == 4
        monkeypatch.setattr(browse, "_MAX_NODES", 100)
        with pytest.raises(NwbError, match="is one of more than 100 objects: too many"):
            browse.look(file, "/", 1)
        monkeypatch.setattr(browse, "_MAX_NODES", 1_000)
        monkeypatch.setattr(browse, "_MAX_CHARACTERS", 2_000)
        with pytest.raises(NwbError, match="have too long names and attributes"):
            browse.look(file, "/", 1)


def test_broken_links_are_bounded(server: RangeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """They count as objects, wherever they are: one group may be listed a thousand times."""

    def add(file: h5py.File) -> None:
        for number in range(20):
            file[f"a/{number:02}"] = h5py.SoftLink("/nowhere")
        for number in range(20):
            file[f"b/{number:02}"] = file["a"]

    server.files["/l.nwb"] = file_bytes(add)
    ranges = HttpRanges(server.url("/l.nwb"), allow_hosts=LOOPBACK)
    with open_remote_file(ranges) as (file, _):
        monkeypatch.setattr(browse, "_MAX_NODES", 100)
        assert len(browse.look(file, "/a", 1).refused) == 20
        with pytest.raises(NwbError, match="is one of more than 100 objects: too many"):
            browse.look(file, "/b", 2)


def test_the_longest_answer_arrives(server: RangeServer) -> None:
    """Texts of the greatest length, of characters that take most as JSON."""
    texts = ["\U0001f9e0" * 9_900] * 100

    def add(file: h5py.File) -> None:
        file.create_dataset("x", data=texts, dtype=h5py.string_dtype())
        for number in range(60):
            group = file.create_group(f"g/{number}")
            for name in ("a", "b", "c", "d"):
                group.attrs[name] = "\U0001f9e0" * 4_000

    server.files["/l.nwb"] = file_bytes(add)
    with open_remote(server.url("/l.nwb"), allow_hosts=LOOPBACK) as file:
        assert file.text("/x") == texts
        assert len(file.look("/g").children["59"].attributes["d"]) == 4_000


def test_attributes_are_short(server: RangeServer) -> None:
    """Long, many-valued and odd ones are left out, and many are cut off."""

    def add(file: h5py.File) -> None:
        attrs = file.create_group("x").attrs
        attrs["text"] = "é" * 100
        attrs["long"] = "x" * 10_000
        attrs["fixed"] = np.bytes_("abc")
        attrs["numbers"] = np.arange(64)
        attrs["more"] = np.arange(65)
        attrs["record"] = np.zeros(2, [("a", "f8")])
        attrs["complex"] = 1j
        attrs["empty"] = h5py.Empty("f8")
        attrs["none"] = np.zeros(0)
        attrs["infinite"] = np.array([1.0, np.inf])
        attrs["large"] = np.uint64(2**64 - 1)
        attrs["odd\x1b"] = 1
        many = file.create_group("many").attrs
        for number in range(300):
            many[f"{number:03}"] = number

    server.files["/a.nwb"] = file_bytes(add)
    ranges = HttpRanges(server.url("/a.nwb"), allow_hosts=LOOPBACK)
    with open_remote_file(ranges) as (file, _):
        assert browse.look(file, "/x", 0).attributes == {
            "text": "é" * 100,
            "fixed": "abc",
            "numbers": list(range(64)),
            "none": [],
            "large": 2**64 - 1,
        }
        assert len(browse.look(file, "/many", 0).attributes) == 200


def test_attributes_that_refer_to_one_long_text(server: RangeServer) -> None:
    """HDF5 would read it as often as an attribute refers to it."""
    text = b"x" * 1_100_000

    def add(file: h5py.File) -> None:
        file.attrs.create("z", [text, *[b"y"] * 63], dtype=h5py.string_dtype("ascii"))

    content = bytearray(file_bytes(add))
    place = content.index(struct.pack("<I", len(text)))
    assert content[place + 16 : place + 20] == struct.pack("<I", 1)
    content[place : place + 64 * 16] = content[place : place + 16] * 64
    server.files["/a.nwb"] = bytes(content)
    ranges = HttpRanges(server.url("/a.nwb"), allow_hosts=LOOPBACK)
    with pytest.raises(
        NwbError, match=r"a text of about 1,100,\d+ bytes in an attribute"
    ), open_remote_file(ranges) as (file, _), file.explained():
        browse.look(file, "/", 0)
