"""Paths and datasets of a hostile file never lead out of the file."""

from pathlib import Path
from typing import Iterator

import h5py
import numpy as np
import pytest
from nwb_files import add_units, memory_file

from devaria.nwb.errors import NotInFileError, NwbError
from devaria.nwb.hdf5.browse import find_units_tables
from devaria.nwb.hdf5.link_guard import follow, refuse_expansion, safe_column
from devaria.nwb.limits import ReadLimits

TRAINS = [[0.5, 1.5], [1.0]]
MANY_BYTES = 10**9
LIMITS = ReadLimits()


@pytest.fixture
def file() -> Iterator[h5py.File]:
    """Return an empty file."""
    with memory_file() as opened:
        yield opened


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Return a second file, whose units table must not be reached."""
    path = tmp_path / "secret.h5"
    with h5py.File(path, "w") as opened:
        add_units(opened, TRAINS)
    return path


def test_soft_links_within_the_file_are_followed(file: h5py.File) -> None:
    """Relative and absolute soft links are followed as HDF5 would, also within a path."""
    group = add_units(file, TRAINS, name="processing")
    file["units"] = h5py.SoftLink("/processing")
    file["a"] = h5py.SoftLink("units")
    group["times"] = h5py.SoftLink("./spike_times")
    assert follow(file["/"], "/a/times") == file["processing/spike_times"]
    assert safe_column(file["processing"], "times", MANY_BYTES, LIMITS).shape == (3,)


def test_soft_link_circle_is_refused(file: h5py.File) -> None:
    """Soft links that form a cycle are an error."""
    file["a"] = h5py.SoftLink("/b")
    file["b"] = h5py.SoftLink("/a")
    with pytest.raises(NwbError, match="leads nowhere"):
        follow(file["/"], "/a")


def test_external_links_are_refused(file: h5py.File, other: Path) -> None:
    """A link to another file is refused: as a group, within a path, and as a column."""
    file["units"] = h5py.ExternalLink(str(other), "/units")
    file.create_group("mine")["spike_times"] = h5py.ExternalLink(str(other), "/units/spike_times")
    for path in ("/units", "/units/spike_times"):
        with pytest.raises(NwbError, match="link to another file"):
            follow(file["/"], path)
    with pytest.raises(NwbError, match="link to another file"):
        safe_column(file["mine"], "spike_times", MANY_BYTES, LIMITS)


def test_external_storage_is_refused(file: h5py.File, tmp_path: Path) -> None:
    """Values stored in another file on this machine are not read."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"12345678" * 10)
    file.create_dataset("x", (10,), "f8", external=[(str(secret), 0, 80)])
    with pytest.raises(NwbError, match="external storage"):
        safe_column(file["/"], "x", MANY_BYTES, LIMITS)


def test_virtual_dataset_is_refused(file: h5py.File, other: Path) -> None:
    """Values taken from another file's dataset are not read."""
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource(str(other), "/units/spike_times", (3,))
    file.create_virtual_dataset("x", layout)
    with pytest.raises(NwbError, match="virtual dataset"):
        safe_column(file["/"], "x", MANY_BYTES, LIMITS)


def test_bomb_by_fill_value_is_refused(file: h5py.File) -> None:
    """Values that are declared but not stored are refused, in either layout."""
    file.create_dataset("chunked", (10**8,), "f8", chunks=(1000,), compression="gzip")
    file["chunked"][0] = 1.0
    file.create_dataset("contiguous", (10**8,), "f8")
    with pytest.raises(NwbError, match="declares 100,000,000 values, but only 0 bytes"):
        safe_column(file["/"], "contiguous", MANY_BYTES, LIMITS)
    with pytest.raises(NwbError, match="declares 100,000,000 values, but only"):
        safe_column(file["/"], "chunked", 700_000, LIMITS)
    chunked = safe_column(file["/"], "chunked", MANY_BYTES, LIMITS)
    with pytest.raises(NwbError, match="declares 100,000,000 values, but only"):
        refuse_expansion("chunked", 10**8, 8, chunked.id.get_storage_size(), LIMITS)


def test_bomb_by_chunk_size_is_refused(file: h5py.File) -> None:
    """A chunk of a gigabyte is not decompressed."""
    file.create_dataset("x", (10**9,), "i1", chunks=(10**9,), compression="gzip")
    with pytest.raises(NwbError, match="too large"):
        safe_column(file["/"], "x", MANY_BYTES, LIMITS)


def test_more_than_the_file_holds_is_refused(file: h5py.File) -> None:
    """A dataset that claims to be larger than the file is refused."""
    file["x"] = np.zeros(1000)
    with pytest.raises(NwbError, match="larger than the file"):
        safe_column(file["/"], "x", 7999, LIMITS)


@pytest.mark.parametrize("shape", [(2, 2), (2, 1, 3)])
def test_other_shapes_are_refused(file: h5py.File, shape: tuple) -> None:
    """Only datasets with one axis are accepted as columns; others of length 1 do not count."""
    file["x"] = np.zeros(shape)
    file.create_group("g")
    for name in ("x", "g"):
        with pytest.raises(NwbError, match="not a one-dimensional dataset"):
            safe_column(file["/"], name, MANY_BYTES, LIMITS)


def test_unknown_filter_is_named(file: h5py.File) -> None:
    """A filter that is not installed is named by its number."""
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((10,))
    plist.set_filter(307, h5py.h5z.FLAG_OPTIONAL)
    space = h5py.h5s.create_simple((10,))
    h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F64LE, space, plist)
    with pytest.raises(NwbError, match="compressed by a filter not known here: 307"):
        safe_column(file["/"], "x", MANY_BYTES, LIMITS)


def test_missing_names(file: h5py.File) -> None:
    """Missing names have an exception of their own, also below a dataset."""
    file["x"] = np.zeros(3)
    file["dangling"] = h5py.SoftLink("/nothing")
    for path in ("/y", "/x/y", "/dangling"):
        with pytest.raises(NotInFileError):
            follow(file["/"], path)


def test_units_tables_are_found(file: h5py.File, other: Path) -> None:
    """Every group with spike times is listed once, despite links and cycles."""
    add_units(file, TRAINS)
    add_units(file.create_group("processing/ecephys"), TRAINS, name="sorted\x1b[2J")
    file["processing/loop"] = file["/"]
    file["processing/again"] = file["units"]
    file["far"] = h5py.ExternalLink(str(other), "/units")
    assert find_units_tables(file) == ["/units", "/processing/ecephys/sorted\\x1b[2J"]


def test_search_for_units_tables_is_bounded(file: h5py.File) -> None:
    """The search ends early in a file with thousands of groups."""
    for number in range(2000):
        file.create_group(f"{number:05}")
    add_units(file, TRAINS, name="zz")
    assert find_units_tables(file) == []
