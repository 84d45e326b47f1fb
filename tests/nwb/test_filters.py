"""Filters of the package hdf5plugin: read as h5py reads them, bounded, and from nowhere else."""

import os
from pathlib import Path
from typing import Any, Dict, Iterator, Tuple

import h5py
import hdf5plugin
import numpy as np
import pytest
from nwb_files import read_over_http, units_bytes
from range_server import LOOPBACK, RangeServer
from remote_values import file_bytes, read_by_h5py, read_values

from devaria.nwb.errors import NwbError
from devaria.nwb.hdf5.chunks import thread_decoder
from devaria.nwb.limits import ReadLimits
from devaria.nwb.sandbox.parent import Opening
from devaria.nwb.sandbox.remote import RemoteNwb

FILTERS: Dict[str, Any] = {
    "Blosc": hdf5plugin.Blosc(),
    "Blosc with bits shuffled": hdf5plugin.Blosc(cname="zstd", shuffle=2),
    "Blosc, not compressible": hdf5plugin.Blosc(cname="lz4", clevel=0),
    "LZ4": hdf5plugin.LZ4(),
    "LZ4 in short blocks": hdf5plugin.LZ4(nbytes=100),
    "Zstd": hdf5plugin.Zstd(),
    "Zstd of shuffled bytes": {"shuffle": True, **hdf5plugin.Zstd()},
    "Zstd with a checksum": {"fletcher32": True, **hdf5plugin.Zstd()},
    "gzip with a checksum": {"compression": "gzip", "shuffle": True, "fletcher32": True},
    "bitshuffle": hdf5plugin.Bitshuffle(cname="none"),
    "bitshuffle and LZ4": hdf5plugin.Bitshuffle(),
    "bitshuffle and Zstd": hdf5plugin.Bitshuffle(cname="zstd"),
    "Blosc2": hdf5plugin.Blosc2(),
}

#: Those that only HDF5 can decode.
BY_HDF5 = {name for name in FILTERS if "bitshuffle" in name or name == "Blosc2"}

RNG = np.random.default_rng(4)
VALUES: Dict[str, Any] = {
    "ascending": np.cumsum(RNG.exponential(0.01, (2000, 2)), axis=0),
    "random": RNG.random((2000, 2)),
    "small": RNG.integers(0, 3, (2000, 2)).astype(">i2"),
}


@pytest.fixture(scope="module")
def server() -> Iterator[RangeServer]:
    """One server for all tests of this module."""
    with RangeServer({}) as running:
        yield running


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("name", FILTERS)
def test_every_filter(server: RangeServer, name: str, values: str) -> None:
    """The values are those that h5py reads; threads decode all but two filters."""

    def write(file: h5py.File) -> None:
        file.create_dataset("x", data=VALUES[values], chunks=(300, 2), **FILTERS[name])
        assert (thread_decoder(file["x"]) is None) == (name in BY_HDF5)

    content = file_bytes(write)
    found = read_values(server, content)
    np.testing.assert_array_equal(found, read_by_h5py(content))
    np.testing.assert_array_equal(found, VALUES[values])


@pytest.mark.parametrize("name", FILTERS)
def test_a_units_table(server: RangeServer, name: str) -> None:
    """The spike times too, and the small columns."""
    trains = [np.arange(700) / 7, [], np.arange(9) / 3]
    table = read_over_http(server, units_bytes(trains, chunks=(100,), **FILTERS[name]))
    assert table.unit_ids == ["0", "2"]
    np.testing.assert_array_equal(
        table.spike_times_sec, np.concatenate([trains[0], trains[2]]).astype("f4")
    )


def header(start: int, length: int, order: Any) -> Any:
    """A change of a chunk: a huge length in its header."""

    def change(stored: bytearray) -> None:
        stored[start : start + length] = (2**30 + 16).to_bytes(length, order)

    return change


def unknown_zstd(stored: bytearray) -> None:
    """A frame that does not tell its length."""
    stored[4] = 0


def blosc2_chunk(stored: bytearray) -> None:
    """A frame whose first chunk declares a huge length."""
    header(int.from_bytes(stored[11:15], "big") + 4, 4, "little")(stored)


#: What a hostile file does to the first chunk → what the error says.
HOSTILE: Dict[str, Tuple[str, Any, str]] = {
    "Blosc": ("Blosc", header(4, 4, "little"), "far longer"),
    "Blosc, stored length": ("Blosc", header(12, 4, "little"), "damaged"),
    "LZ4": ("LZ4", header(0, 8, "big"), r"far longer|broken"),
    "LZ4 block": ("LZ4", header(12, 4, "big"), "broken"),
    "Zstd, unknown": ("Zstd", unknown_zstd, "broken"),
    "bitshuffle": ("bitshuffle and LZ4", header(0, 8, "big"), "broken"),
    "bitshuffle block": ("bitshuffle and LZ4", header(12, 4, "big"), "broken"),
    "Blosc2": ("Blosc2", header(30, 8, "big"), "far longer"),
    "Blosc2 chunk": ("Blosc2", blosc2_chunk, "far longer"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_chunks(server: RangeServer, name: str) -> None:
    """What a chunk says of its length is not believed: no memory is taken for it."""
    filter_name, change, text = HOSTILE[name]

    def write(file: h5py.File) -> None:
        dataset = file.create_dataset(
            "x", data=VALUES["ascending"], chunks=(300, 2), **FILTERS[filter_name]
        )
        stored = bytearray(dataset.id.read_direct_chunk((0, 0))[1])
        change(stored)
        dataset.id.write_direct_chunk((0, 0), bytes(stored))

    with pytest.raises(NwbError, match=text):
        read_values(server, file_bytes(write))


@pytest.mark.parametrize("name", [n for n in FILTERS if n != "bitshuffle"])
def test_damaged_chunks(server: RangeServer, name: str) -> None:
    """A chunk that breaks off, and one of other bytes, are errors, not values."""
    for stored in (b"\0" * 5, b"\0" * 50, bytes(range(256))):

        def write(file: h5py.File, stored: bytes = stored) -> None:
            data = VALUES["ascending"]
            dataset = file.create_dataset("x", data=data, chunks=(300, 2), **FILTERS[name])
            dataset.id.write_direct_chunk((0, 0), stored)

        with pytest.raises(NwbError):
            read_values(server, file_bytes(write))


def test_a_filter_that_is_not_installed(server: RangeServer, tmp_path: Path) -> None:
    """It is named, and the extra too. No library comes from where the environment points to."""
    package = tmp_path / "modules" / "hdf5plugin"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError", encoding="ascii")
    server.files["/blosc.nwb"] = units_bytes([np.arange(99)], chunks=(9,), **FILTERS["Blosc"])
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(package.parent), os.environ.get("PYTHONPATH", "")]),
        "HDF5_PLUGIN_PATH": hdf5plugin.PLUGIN_PATH,
    }
    folder = tmp_path / "folder"
    folder.mkdir()
    opening = Opening(server.url("/blosc.nwb"), ReadLimits(), LOOPBACK)
    with RemoteNwb(opening, folder, environ) as file, pytest.raises(
        NwbError, match=r'filter Blosc \(32001\), which is not .*: pip install "devaria\[filters\]"'
    ):
        file.units_table()


@pytest.mark.parametrize("name", ["Blosc", "Blosc2", "bitshuffle and LZ4"])
def test_in_the_reading_process(server: RangeServer, tmp_path: Path, name: str) -> None:
    """The libraries are loaded after the process has given up its rights."""
    train = np.arange(99) / 4
    server.files["/filter.nwb"] = units_bytes([train], chunks=(9,), **FILTERS[name])
    opening = Opening(server.url("/filter.nwb"), ReadLimits(), LOOPBACK)
    with RemoteNwb(opening, tmp_path, os.environ) as file:
        np.testing.assert_array_equal(file.units_table().spike_times_sec, train)
