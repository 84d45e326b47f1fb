"""Every codec, type and layout of Zarr that is read gives what the package zarr wrote."""

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any, Dict, Iterator

import numcodecs
import numpy as np
import pytest
import zarr
from range_server import LOOPBACK, RangeServer
from zarr_files import IS_ZARR_3

from devaria.nwb.decoding.wanted import read_each
from devaria.nwb.errors import NwbError
from devaria.nwb.http.objects import HttpObjects
from devaria.nwb.limits import ReadLimits
from devaria.nwb.zarr.container import ZarrContainer
from devaria.nwb.zarr.stores import opened_folder

RNG = np.random.default_rng(8)
VALUES = np.cumsum(RNG.exponential(0.01, (700, 5)), axis=0)

ROWS = [slice(None), slice(33, 612), slice(3, None, 7), slice(0, None, 250), slice(699, 700)]

#: Options of Zarr 2.
SECOND: Dict[str, Dict[str, Any]] = {
    "none": {"compressor": None},
    "zlib": {"compressor": numcodecs.Zlib()},
    "gzip": {"compressor": numcodecs.GZip()},
    "bz2": {"compressor": numcodecs.BZ2()},
    "zstd": {"compressor": numcodecs.Zstd()},
    "lz4": {"compressor": numcodecs.LZ4()},
    "blosc": {"compressor": numcodecs.Blosc(cname="zstd", shuffle=2)},
    "shuffle": {"compressor": numcodecs.Zlib(), "filters": [numcodecs.Shuffle(8)]},
    "delta": {"compressor": numcodecs.LZ4(), "filters": [numcodecs.Delta("<f8")]},
    "checksum": {"compressor": None, "filters": [numcodecs.Zlib(), numcodecs.Fletcher32()]},
    "Fortran": {"compressor": None, "order": "F"},
    "slashes": {"compressor": numcodecs.Zstd(), "dimension_separator": "/"},
}

TYPES = ["<f8", ">f8", "<f4", "<f2", "<i8", ">i2", "|u1", "|b1", "<c16"]


@pytest.fixture(scope="module")
def server() -> Iterator[RangeServer]:
    """One server for all tests of this module."""
    with RangeServer({}) as running:
        yield running


def written(server: RangeServer, folder: Path) -> str:
    """Serve what lies in a folder, and return its path."""
    path = f"/{folder.parent.name}/{folder.name}"
    for each in folder.rglob("*"):
        if each.is_file():
            server.files[f"{path}/{each.relative_to(folder).as_posix()}"] = each.read_bytes()
    return path


def opened(server: RangeServer, path: str, **limits: Any) -> ZarrContainer:
    """Open a folder that is served."""
    told = ReadLimits(**limits)
    store = opened_folder(HttpObjects(server.url(path), limits=told, allow_hosts=LOOPBACK))
    assert store is not None
    return ZarrContainer(store, told, lambda _url, _stack: None)


def read(file: ZarrContainer, name: str, rows: slice = slice(None)) -> Any:
    """Read rows of an array."""
    wanted = file.wanted(name, (rows.start, rows.stop, rows.step), None, np.empty)
    (values,) = read_each([wanted], lambda _done, _total: None)
    return values


def add(folder: Path, version: int, name: str, values: Any, **told: Any) -> Any:
    """Write an array with zarr, and return it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if version == 2 and not IS_ZARR_3:
            root = zarr.open_group(str(folder), mode="a")
            return root.create_dataset(name, data=values, **told)
        root = zarr.open_group(str(folder), mode="a", zarr_format=version)
        if version == 2:
            told["compressors"] = told.pop("compressor", "auto")
            separator = told.pop("dimension_separator", None)
            if separator:
                told["chunk_key_encoding"] = {"name": "v2", "separator": separator}
        made = root.create_array(name, shape=values.shape, dtype=values.dtype, **told)
        made[...] = values
        return made


def check(file: ZarrContainer, name: str, values: Any) -> None:
    """Compare rows of an array with what was written."""
    for rows in ROWS:
        found = read(file, name, rows)
        assert found.dtype == values.dtype.newbyteorder("=")
        np.testing.assert_array_equal(found, values[rows])


@pytest.mark.parametrize("name", SECOND)
def test_codecs_of_zarr_2(server: RangeServer, tmp_path: Path, name: str) -> None:
    """Each codec that is allowed, each order of axes and of keys."""
    folder = tmp_path / "x.zarr"
    made = add(folder, 2, "x", VALUES, chunks=(90, 2), **SECOND[name])
    check(opened(server, written(server, folder)), "x", made[...])


@pytest.mark.parametrize("version", [2, 3] if IS_ZARR_3 else [2])
@pytest.mark.parametrize("dtype", TYPES)
def test_types(server: RangeServer, tmp_path: Path, dtype: str, version: int) -> None:
    """Each type of numbers, in each order of bytes; chunks that are not stored are filled."""
    folder = tmp_path / "x.zarr"
    values = (VALUES * 10).astype(dtype)
    fill: Any = False if dtype == "|b1" else 7
    add(folder, version, "x", values, chunks=(90, 2), fill_value=fill)
    path = written(server, folder)
    chunk = f"{path}/x/c/1/1" if version == 3 else f"{path}/x/1.1"
    server.files.pop(chunk)
    values = values.copy()
    values[90:180, 2:4] = fill
    check(opened(server, path), "x", values)


def third() -> Dict[str, Dict[str, Any]]:
    """Options of Zarr 3."""
    from zarr import codecs

    return {
        "none": {"compressors": None},
        "zstd": {"compressors": codecs.ZstdCodec(checksum=True)},
        "gzip": {"compressors": codecs.GzipCodec()},
        "blosc": {"compressors": codecs.BloscCodec(cname="lz4", typesize=8)},
        "checksum": {"compressors": [codecs.ZstdCodec(), codecs.Crc32cCodec()]},
        "big": {"serializer": codecs.BytesCodec(endian="big")},
        "transposed": {"filters": [codecs.TransposeCodec(order=(1, 0))]},
        "old keys": {"chunk_key_encoding": {"name": "v2", "separator": "."}},
        "shards": {"shards": (270, 4)},
        "shards in order": {"shards": (270, 4), "filters": [codecs.TransposeCodec(order=(1, 0))]},
        "shards of raw chunks": {"shards": (180, 6), "compressors": None},
    }


THIRD = (
    *("none", "zstd", "gzip", "blosc", "checksum", "big", "transposed", "old keys"),
    *("shards", "shards in order", "shards of raw chunks"),
)


@pytest.mark.skipif(not IS_ZARR_3, reason="the installed zarr writes format 2 only")
@pytest.mark.parametrize("name", THIRD)
def test_codecs_of_zarr_3(server: RangeServer, tmp_path: Path, name: str) -> None:
    """Each codec that is allowed, shards, each order of axes and of keys."""
    folder = tmp_path / "x.zarr"
    add(folder, 3, "x", VALUES, chunks=(90, 2), **third()[name])
    check(opened(server, written(server, folder)), "x", VALUES)


@pytest.mark.skipif(not IS_ZARR_3, reason="the installed zarr writes format 2 only")
def test_shards_with_holes(server: RangeServer, tmp_path: Path) -> None:
    """Chunks that are missing in a shard, and a shard that is missing, are filled."""
    folder = tmp_path / "x.zarr"
    values = VALUES.copy()
    values[:90] = values[270:540, :4] = 3.5
    add(folder, 3, "x", values, chunks=(90, 2), shards=(270, 4), fill_value=3.5)
    path = written(server, folder)
    assert f"{path}/x/c/1/0" not in server.files
    check(opened(server, path), "x", values)


@pytest.mark.parametrize("version", [2, 3] if IS_ZARR_3 else [2])
def test_texts(server: RangeServer, tmp_path: Path, version: int) -> None:
    """Texts of any length, and of one; compressed in any way; with chunks that are missing."""
    folder = tmp_path / "x.zarr"
    texts = ["left", "", "right é", "x" * 300]
    add(folder, version, "fixed", np.array(texts), chunks=(3,))
    told: Dict[str, Any] = {"chunks": (3,)}
    values: Any = np.array(texts, dtype=object)
    if IS_ZARR_3:
        values = np.array(texts, dtype=np.dtypes.StringDType())
    else:
        told["object_codec"] = numcodecs.VLenUTF8()
    add(folder, version, "free", values, **told)
    path = written(server, folder)
    file = opened(server, path)
    assert file.text("fixed") == file.text("/free") == texts
    server.files.pop(f"{path}/free/c/1" if version == 3 else f"{path}/free/1")
    assert opened(server, path).text("free") == [*texts[:3], ""]


def test_a_damaged_chunk(server: RangeServer, tmp_path: Path) -> None:
    """It is an error, never other values."""
    folder = tmp_path / "x.zarr"
    for name, told in SECOND.items():
        add(folder, 2, name, VALUES, chunks=(90, 2), **told)
    path = written(server, folder)
    for name in SECOND:
        key = f"{path}/{name}/2/1" if name == "slashes" else f"{path}/{name}/2.1"
        stored = server.files[key]
        for content in (stored[:-5] + b"\0\1\2\3", stored[:-1], b"\0" * 9, b""):
            server.files[key] = content
            with pytest.raises(NwbError, match=r"damaged|far longer"):
                read(opened(server, path), name)
        server.files[key] = stored


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_blosc_starts_no_threads(tmp_path: Path) -> None:
    """The threads that decode chunks are enough, and memory for more may be missing."""
    compressed = tmp_path / "chunk"
    compressed.write_bytes(numcodecs.Blosc().encode(np.arange(1_000_000)))
    code = (
        "import sys, threading, pathlib\n"
        "import numcodecs.blosc\n"
        "from devaria.nwb.decoding.codecs import COMPRESSORS\n"
        "numcodecs.blosc.set_nthreads(4)\n"
        "threads = lambda: len(list(pathlib.Path('/proc/self/task').iterdir()))\n"
        "before, stored = threads(), pathlib.Path(sys.argv[1]).read_bytes()\n"
        "COMPRESSORS['blosc']([memoryview(stored)], memoryview(bytearray(8_000_000)))\n"
        "print(threads() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(compressed)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "0"
