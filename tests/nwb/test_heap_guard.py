"""Variable-length strings as unit ids: valid ones are read, those that hang HDF5 are refused."""

import io
import struct
from typing import Any, Iterator, List

import h5py
import numpy as np
import pytest
from nwb_files import add_units, read_over_http
from range_server import LOOPBACK, RangeServer

from devaria.nwb.errors import NwbError
from devaria.nwb.hdf5.browse import look
from devaria.nwb.hdf5.remote_file import open_remote_file
from devaria.nwb.http.ranges import HttpRanges

IDS = [f"unit {number} é" for number in range(300)]


@pytest.fixture(scope="module")
def server() -> Iterator[RangeServer]:
    """Serve what tests put there."""
    with RangeServer({}) as running:
        yield running


def content(ids: List[str] = IDS, **options: Any) -> bytearray:
    """Return the bytes of a file whose units have these ids."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        units = add_units(file, [[1.0, 2.0]] * len(ids))
        del units["id"]
        units.create_dataset("id", data=ids, dtype=h5py.string_dtype(), **options)
    return bytearray(buffer.getvalue())


def read_ids(server: RangeServer, file_content: bytearray) -> List[str]:
    """Read the ids over HTTP."""
    return read_over_http(server, bytes(file_content)).unit_ids


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (7,)},
        {"chunks": (300,), "compression": "gzip"},
        {"maxshape": (None,)},
    ],
    ids=str,
)
def test_valid_strings_are_read(server: RangeServer, options: Any) -> None:
    """Strings are right, in several heap collections and in any layout of the column."""
    assert read_ids(server, content(**options)) == IDS
    few = content(["", "a", ""], **({**options, "chunks": (2,)} if "chunks" in options else {}))
    assert read_ids(server, few) == ["", "a", ""]


def test_strings_beyond_the_units_are_not_checked(server: RangeServer) -> None:
    """Surplus ids are not used, and may be anything."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        units = add_units(file, [[1.0], [2.0]])
        del units["id"]
        ids = ["a", "b", "x" * 5000]
        units.create_dataset("id", data=ids, dtype=h5py.string_dtype(), chunks=(1,))
    assert read_ids(server, bytearray(buffer.getvalue())) == ["a", "b"]


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("length", [0, 1, 2**64 - 1, 2**64 - 16, 2**63, 5000])
def test_wrong_lengths_are_refused(server: RangeServer, number: int, length: int) -> None:
    """An object whose length leads to itself, backward, or out of its collection is refused."""
    file_content = content()
    place = file_content.index(b"GCOL") + 16
    struct.pack_into("<HHIQ", file_content, place, number, 1, 0, length)
    if number == 1 and length in (0, 1):
        place += 16 + 8 * length
        struct.pack_into("<HHIQ", file_content, place, 0, 0, 0, 0)
    with pytest.raises(NwbError, match="a heap of variable-length texts in it is broken"):
        read_ids(server, file_content)


@pytest.mark.parametrize("offset", [0, 4, 8, 15])
def test_broken_collections(server: RangeServer, offset: int) -> None:
    """A collection with another signature, version or length is refused."""
    file_content = content()
    file_content[file_content.index(b"GCOL") + offset] ^= 0xFF
    with pytest.raises(NwbError, match=r"heap of variable-length texts in it is broken|is damaged"):
        read_ids(server, file_content)


@pytest.mark.parametrize("address", [2**64 - 1, 2**40])
def test_wrong_addresses_are_refused(server: RangeServer, address: int) -> None:
    """A string whose address is not in the file is refused."""
    file_content = content(["one", "two"])
    reference = struct.pack("<IQI", 3, file_content.index(b"GCOL"), 1)
    place = file_content.index(reference)
    struct.pack_into("<IQI", file_content, place, 3, address, 1)
    with pytest.raises(NwbError, match=r"broken|damaged"):
        read_ids(server, file_content)


def test_long_strings_are_refused_unread(server: RangeServer) -> None:
    """An id of a megabyte is refused by its length, without reading it."""
    with pytest.raises(NwbError, match="/units/id has a text of 1,000,000 bytes: too long"):
        read_ids(server, content(["x" * 1_000_000]))


def test_other_forms_are_refused(server: RangeServer) -> None:
    """Strings that cannot be checked are not read."""
    with pytest.raises(NwbError, match="texts in a form that is not supported"):
        read_ids(server, content(chunks=(10,), compression="lzf"))


def test_ids_of_other_kinds_are_refused(server: RangeServer) -> None:
    """Arrays and references are not accepted as ids."""
    for kind in ("arrays", "references"):
        buffer = io.BytesIO()
        with h5py.File(buffer, "w") as file:
            units = add_units(file, [[1.0], [2.0]])
            del units["id"]
            if kind == "arrays":
                ids = units.create_dataset("id", (2,), h5py.vlen_dtype(np.int32))
                ids[0] = ids[1] = np.arange(3, dtype=np.int32)
            else:
                units.create_dataset("id", data=[units.ref] * 2, dtype=h5py.ref_dtype)
        with pytest.raises(NwbError, match="neither numbers nor short strings: object"):
            read_ids(server, bytearray(buffer.getvalue()))


@pytest.mark.parametrize("length", [3, 5000])
def test_heaps_of_attributes_are_checked_too(server: RangeServer, length: int) -> None:
    """Texts of attributes lie in such heaps as well: short ones, and ones read in two steps."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_group("x").attrs["neurodata_type"] = "T" * length
    file_content = bytearray(buffer.getvalue())
    place = file_content.index(b"GCOL") + 16
    struct.pack_into("<HHIQ", file_content, place, 0, 0, 0, 0)
    server.files["/x.nwb"] = bytes(file_content)
    ranges = HttpRanges(server.url("/x.nwb"), allow_hosts=LOOPBACK)
    error = pytest.raises(NwbError, match="heap of variable-length texts in it is broken")
    with error, open_remote_file(ranges) as (file, _):
        look(file, "/", 1)
