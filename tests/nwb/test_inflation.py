"""What HDF5 itself would inflate or index is bounded before, in every column: memory shows it.

The reading process reads each file, and its peak of memory is looked at.
"""

import zlib
from pathlib import Path
from typing import Any, Callable, Iterator, Optional, Tuple

import h5py
import numpy as np
import pytest
from nwb_files import units_bytes
from range_server import LOOPBACK, RangeServer

from devaria.nwb import open_remote
from devaria.nwb.errors import NwbError
from devaria.nwb.hdf5.browse import names_in
from devaria.nwb.limits import ReadLimits
from devaria.nwb.sandbox.remote import RemoteNwb

#: What bombs inflate to, and the most that a reading process may take for a small table.
BOMB_BYTES, PEAK_BYTES = 1_000_000_000, 160_000_000

#: A hundred bytes each.
COUNT = 100

Use = Callable[[RemoteNwb], object]


@pytest.fixture(scope="module")
def server() -> Iterator[RangeServer]:
    """Serve the files that tests add."""
    with RangeServer({}) as running:
        yield running


@pytest.fixture(scope="module")
def gzip_bomb() -> bytes:
    """Compress zeros."""
    deflater, zeros = zlib.compressobj(1), bytes(10**6)
    parts = [deflater.compress(zeros) for _ in range(BOMB_BYTES // 10**6)]
    return b"".join([*parts, deflater.flush()])


#: One zero, and then repetitions of it, 264 bytes each.
LZF_BOMB = b"\0\0" + b"\xe0\xff\0" * (BOMB_BYTES // 264)


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process has had."""
    (line,) = (
        line
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmHWM")
    )
    return int(line.split()[1]) * 1024


def used(server: RangeServer, content: bytes, use: Use, **limits: int) -> Tuple[str, int]:
    """Use a file; return the error's text, and the reading process's peak of memory."""
    server.files["/x.nwb"] = content
    text = ""
    with open_remote(
        server.url("/x.nwb"), allow_hosts=LOOPBACK, limits=ReadLimits(**limits)
    ) as file:
        try:
            use(file)
        except NwbError as error:
            text = str(error)
        return text, peak_bytes(file.pid)


def refuse(server: RangeServer, content: bytes, use: Use, text: str) -> None:
    """Check that a file is refused, and that it takes almost no memory."""
    found, peak = used(server, content, use)
    assert text in found
    assert peak < PEAK_BYTES


def file_of(tmp_path: Path, add: Callable[[h5py.File], object], **options: Any) -> bytes:
    """Return the bytes of a file. HDF5 leaves holes in it, which need a real file."""
    path = tmp_path / "x.h5"
    with h5py.File(path, "w", **options) as file:
        add(file)
    return path.read_bytes()


def with_column(
    tmp_path: Path, name: str, make: Callable[[h5py.Group, str], object], **options: Any
) -> bytes:
    """Return the bytes of a file of one table, one of whose columns is another."""
    path = tmp_path / "x.nwb"
    path.write_bytes(units_bytes([[number] for number in range(COUNT)]))

    def add(file: h5py.File) -> None:
        with h5py.File(path) as table:
            table.copy("units", file)
        if name in file["units"]:
            del file["units"][name]
        make(file["units"], name)

    return file_of(tmp_path, add, **options)


def read_units(file: RemoteNwb) -> object:
    """Read the units table."""
    return file.units_table()


#: For each column, what reads it.
COLUMNS = {
    "spike_times": read_units,
    "spike_times_index": read_units,
    "id": read_units,
    "texts": lambda file: file.text("/units/texts"),
    "numbers": lambda file: file.read("/units/numbers"),
}


@pytest.mark.parametrize("compression", ["gzip", "lzf"])
@pytest.mark.parametrize("column", COLUMNS)
def test_bombs_in_any_column(
    server: RangeServer, tmp_path: Path, gzip_bomb: bytes, column: str, compression: str
) -> None:
    """A chunk that inflates to a gigabyte never comes to HDF5, whatever compressed it."""

    def make(units: h5py.Group, name: str) -> None:
        dtype = "S8" if name == "texts" else "f8" if name == "spike_times" else "u8"
        options = {"chunks": (COUNT,), "compression": compression, "dtype": dtype}
        made = units.create_dataset(name, (COUNT,), **options)
        made.id.write_direct_chunk((0,), gzip_bomb if compression == "gzip" else LZF_BOMB)

    content = with_column(tmp_path, column, make)
    found, peak = used(server, content, COLUMNS[column])
    assert "longer than it may be" in found or "an index of chunks is wrong" in found
    assert peak < PEAK_BYTES


@pytest.mark.parametrize("column", ["spike_times_index", "id", "numbers"])
def test_honest_lzf_is_read(server: RangeServer, tmp_path: Path, column: str) -> None:
    """Whatever compressed it, and however well."""

    def make(units: h5py.Group, name: str) -> None:
        values = np.arange(COUNT) + (name == "spike_times_index")
        units.create_dataset(name, data=values, chunks=(30,), compression="lzf")

    assert used(server, with_column(tmp_path, column, make), COLUMNS[column])[0] == ""


@pytest.mark.parametrize("kind", ["ones", "random"])
def test_long_chunks_of_lzf_are_read(server: RangeServer, tmp_path: Path, kind: str) -> None:
    """Chunks that are counted, since they are long, are counted right."""
    count = 6_000_000
    random = np.random.default_rng(1).integers(0, 4, count, "u1")
    values = random if kind == "random" else np.ones(count, "u1")
    content = file_of(
        tmp_path,
        lambda file: file.create_dataset("x", data=values, chunks=(count,), compression="lzf"),
    )
    server.files["/x.nwb"] = content
    with open_remote(server.url("/x.nwb"), allow_hosts=LOOPBACK) as file:
        assert np.array_equal(file.read("/x"), values)


def low_level(
    units: h5py.Group,
    name: str,
    prepare: Callable[[Any], object],
    shape: Tuple[int, ...] = (COUNT,),
) -> h5py.Dataset:
    """Make a dataset with any filters."""
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk(shape)
    prepare(plist)
    space = h5py.h5s.create_simple(shape)
    made = h5py.h5d.create(units.id, name.encode(), h5py.h5t.STD_U64LE, space, plist)
    return h5py.Dataset(made)


@pytest.mark.parametrize("column", ["spike_times_index", "id", "numbers"])
def test_filters_one_after_another(server: RangeServer, tmp_path: Path, column: str) -> None:
    """What lzf makes of a chunk must not hide behind gzip."""

    def prepare(plist: Any) -> None:
        plist.set_filter(32000, h5py.h5z.FLAG_OPTIONAL)
        plist.set_deflate(9)

    def make(units: h5py.Group, name: str) -> None:
        low_level(units, name, prepare).id.write_direct_chunk((0,), zlib.compress(LZF_BOMB, 9))

    refuse(
        server,
        with_column(tmp_path, column, make),
        COLUMNS[column],
        "has filters after lzf: not supported",
    )


def test_settings_of_a_filter_that_lie(server: RangeServer, tmp_path: Path) -> None:
    """The scale-offset filter fills as many values as its settings tell."""

    def make(units: h5py.Group, name: str) -> None:
        made = low_level(units, name, lambda plist: plist.set_scaleoffset(2, 0))
        made[...] = 7

    content = bytearray(with_column(tmp_path, "id", make))
    told = (2).to_bytes(4, "little") + bytes(4) + COUNT.to_bytes(4, "little")
    place = content.index(told) + 8
    content[place : place + 4] = (BOMB_BYTES // 8).to_bytes(4, "little")
    refuse(server, bytes(content), read_units, "a filter of /units/id is wrong")


def test_stored_chunks_that_are_too_long(server: RangeServer, tmp_path: Path) -> None:
    """A chunk that has a hundred megabytes in the file is not loaded."""

    def make(units: h5py.Group, name: str) -> None:
        options = {"chunks": (COUNT,), "compression": "gzip", "dtype": "u8"}
        made = units.create_dataset(name, (COUNT,), **options)
        made.id.write_direct_chunk((0,), bytes(100_000_000))

    content = with_column(tmp_path, "id", make)
    refuse(server, content, read_units, "a compressed chunk is far longer than it may be")


# --- indexes -------------------------------------------------------------------------------------

#: So many chunks that HDF5 takes 800 MB to read them at once.
MANY = 120_000


@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("column", ["spike_times_index", "id"])
def test_many_chunks(
    server: RangeServer, tmp_path: Path, column: str, compression: Optional[str]
) -> None:
    """HDF5 is asked for some thousand chunks at once."""

    def make(units: h5py.Group, name: str) -> None:
        options = {"chunks": (1,), "maxshape": (None,), "dtype": "u1", "compression": compression}
        made = units.create_dataset(name, (MANY,), **options)
        made[-1:] = 0
        units.file["room"] = np.zeros(10_000)

    content = with_column(tmp_path, column, make, libver="latest")
    _, peak = used(server, content, read_units)
    assert peak < PEAK_BYTES


def test_many_chunks_in_a_row(server: RangeServer, tmp_path: Path) -> None:
    """A row cannot be divided."""

    def add(file: h5py.File) -> None:
        made = file.create_dataset("x", (1, 2_100_000), "u1", chunks=(1, 1), maxshape=(None, None))
        made[0, :3_000] = 1
        file["room"] = np.zeros(10_000)

    content = file_of(tmp_path, add, libver="latest")
    refuse(server, content, lambda file: file.read("/x"), "2,100,000 chunks in each row: too many")


def test_many_chunks_of_texts(server: RangeServer, tmp_path: Path) -> None:
    """The places of chunks that are not wanted are not kept."""

    def make(units: h5py.Group, name: str) -> None:
        made = units.create_dataset(
            name, (MANY,), h5py.string_dtype(), chunks=(1,), maxshape=(None,)
        )
        made[:COUNT] = "x"
        made[-1:] = "y"

    content = with_column(tmp_path, "id", make, libver="latest")
    found, peak = used(server, content, read_units)
    assert found == ""
    assert peak < PEAK_BYTES


@pytest.mark.parametrize("is_tracked", [False, True], ids=["by name", "by age"])
@pytest.mark.parametrize("count", [5, 2_000])
def test_names_of_large_groups(tmp_path: Path, count: int, is_tracked: bool) -> None:
    """Listing ends with the last name that is wanted, and the order is h5py's."""
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("x", track_order=is_tracked)
        for number in reversed(range(count)):
            group[f"{number:04}"] = h5py.SoftLink("/")
        group.id.links.create_soft(b"\xff", b"/")
    with h5py.File(path) as file:
        names = list(file["x"])
        assert names_in(file["x"], 3) == names[:3]
        assert names_in(file["x"], count + 9) == names
        assert names_in(file["x"], 0) == []


# --- attributes ----------------------------------------------------------------------------------


def test_compressed_groups(server: RangeServer, tmp_path: Path) -> None:
    """HDF5 would inflate the heap of a group's names to the end."""

    def add(file: h5py.File) -> None:
        for number in range(20):
            file.create_group(f"x/{number}")

    content = bytearray(file_of(tmp_path, add, libver="latest"))
    place = content.index(b"FRHP") + 7
    content[place] = 13
    refuse(server, bytes(content), lambda file: file.look("/x"), "compressed: not supported")


def long_attributes(tmp_path: Path, count: int, num_bytes: int) -> bytes:
    """Return the bytes of a file with attributes in dense storage."""

    def add(file: h5py.File) -> None:
        attrs = file.create_group("x").attrs
        attrs["neurodata_type"] = "T"
        for number in range(count):
            attrs.create(f"{number:05}", np.zeros(num_bytes, "u1"))

    return file_of(tmp_path, add, libver="latest")


def test_long_attributes(server: RangeServer, tmp_path: Path) -> None:
    """HDF5 would read all of each, to list their names."""
    content = long_attributes(tmp_path, 1, 50_000_000)
    refuse(server, content, lambda file: file.look("/x"), "metadata of 50,0")
    content = long_attributes(tmp_path, 30, 2_000_000)
    refuse(server, content, lambda file: file.look("/x"), "too many or too long attributes")


def test_many_attributes(server: RangeServer, tmp_path: Path) -> None:
    """They are not looked at; the type of the object is found all the same."""
    server.files["/x.nwb"] = long_attributes(tmp_path, 5_000, 1)
    with open_remote(server.url("/x.nwb"), allow_hosts=LOOPBACK) as file:
        assert file.look("/x", 0).attributes == {}
        assert file.find(["T"]) == ["/x"]
