"""Zarr folders and LINDI files give what the HDF5 file gives that they were made of."""

import io
import json
from pathlib import Path
from typing import Any, Callable, Dict, Iterator

import h5py
import numpy as np
import pytest
from nwb_files import add_units
from range_server import LOOPBACK, RangeServer
from remote_values import file_bytes
from zarr_files import FORMATS, lindi_of, tar_of, zarr_files

from devaria.nwb import open_remote
from devaria.nwb.sandbox.remote import RemoteNwb

RNG = np.random.default_rng(5)
DATA = np.cumsum(RNG.integers(-3, 4, (5_000, 3)), axis=0)
TRAINS = [np.sort(RNG.random(n) * 100) for n in (3000, 0, 1, 2500)]


def write(file: h5py.File) -> None:
    """Write a file with some of all that figures read."""
    file.attrs["nwb_version"] = "2.6.0"
    units = add_units(
        file, TRAINS, chunks=(500,), compression="gzip", shuffle=True, fletcher32=True
    )
    units.attrs.update(neurodata_type="DynamicTable", colnames=["spike_times"])
    add_units(file, TRAINS, name="named", ids=["a", "bé", "c", "d"])
    add_units(file, TRAINS, name="many", chunks=(2,), dtype=">f4")
    series = file.create_group("acquisition/x")
    series.attrs.update(neurodata_type="TimeSeries", rate=30.0, flags=[True, False], nan=np.nan)
    series.attrs["long"] = np.zeros(1000)
    series.create_dataset("data", data=DATA, compression="gzip", chunks=(999, 2))
    series["data"].attrs["unit"] = "mm"
    series["timestamps"] = np.arange(5_000) / 30
    other = file.create_group("processing/y")
    other["timestamps"] = h5py.SoftLink("/acquisition/x/timestamps")
    other["x"] = h5py.SoftLink("/acquisition/x")
    other["broken"] = h5py.SoftLink("/nowhere")
    other.create_dataset("names", data=["left", "right é", ""], dtype=h5py.string_dtype())
    other["one"] = "a text"
    other["number"] = np.float32(2.5)
    other["flags"] = np.array([True, False, True])
    other["empty"] = np.empty((0, 2))


CONTENT = file_bytes(write)


def lindi(name: str) -> Callable[[RangeServer, Path, h5py.File], str]:
    """Return what serves a LINDI form."""

    def serve(server: RangeServer, _folder: Path, content: h5py.File) -> str:
        document = lindi_of(content, server.url("/to/x.nwb"))
        if name.endswith("json"):
            server.files[f"/{name}"] = json.dumps(document).encode()
            return f"/{name}"
        for key, reference in document["refs"].items():
            if isinstance(reference, list):
                document["refs"][key] = ["./blobs/x", *reference[1:]]
            elif "_EXTERNAL_ARRAY_LINK" in reference:
                reference["_EXTERNAL_ARRAY_LINK"]["url"] = server.url("/x.nwb")
        members = {"blobs/x": CONTENT, "lindi.json": json.dumps(document).encode()}
        server.files[f"/{name}"] = tar_of(members, has_index="plain" not in name)
        return f"/{name}"

    return serve


def folder(version: int, is_consolidated: bool) -> Callable[[RangeServer, Path, h5py.File], str]:
    """Return what serves a Zarr form."""

    def serve(server: RangeServer, folder: Path, content: h5py.File) -> str:
        told: Dict[str, Any] = {"version": version, "is_consolidated": is_consolidated}
        path = f"/z{version}{is_consolidated:d}.nwb.zarr"
        for key, value in zarr_files(content, folder / path[1:], **told).items():
            server.files[f"{path}/{key}"] = value
        if not is_consolidated:
            serve_pages(server, path)
        return path + "/"

    return serve


def serve_pages(server: RangeServer, path: str) -> None:
    """Answer with a page of links for each folder, as file servers do."""
    pages: Dict[str, Dict[str, None]] = {}
    for key in server.files:
        parts = key.split("/")
        for depth in range(2, len(parts)):
            if key.startswith(path):
                pages.setdefault("/".join(parts[:depth]), {})[parts[depth]] = None
    for each, names in pages.items():
        links = "".join(f'<li><a href="{name}/">{name}</a></li>' for name in names)
        server.files[f"{each}/"] = f'<html><a href="../">..</a>{links}</html>'.encode()


FORMS = {
    **{
        f"Zarr {version}, {'' if is_one else 'not '}consolidated": folder(version, is_one)
        for version in FORMATS
        for is_one in (True, False)
    },
    "LINDI": lindi("x.lindi.json"),
    "LINDI tar": lindi("x.lindi.tar"),
    "plain tar": lindi("plain.lindi.tar"),
}


@pytest.fixture(scope="module")
def server() -> Iterator[RangeServer]:
    """Serve the HDF5 file, and by and by its other forms."""
    with RangeServer({"/x.nwb": CONTENT}) as running:
        running.redirect_to = "/x.nwb"
        yield running


@pytest.fixture(scope="module", params=FORMS)
def file(
    server: RangeServer, request: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RemoteNwb]:
    """Open one form."""
    with h5py.File(io.BytesIO(CONTENT), "r") as content:
        path = FORMS[request.param](server, tmp_path_factory.mktemp("zarr"), content)
    with open_remote(server.url(path), allow_hosts=LOOPBACK) as opened:
        yield opened


@pytest.fixture(scope="module")
def original(server: RangeServer) -> Iterator[RemoteNwb]:
    """Open the HDF5 file."""
    with open_remote(server.url("/x.nwb"), allow_hosts=LOOPBACK) as opened:
        yield opened


@pytest.mark.parametrize("path", ["/units", "named", "/many"])
def test_units_tables(file: RemoteNwb, original: RemoteNwb, path: str) -> None:
    """Every array, bit for bit, and the ids."""
    here, there = file.units_table(path), original.units_table(path)
    np.testing.assert_array_equal(here.spike_times_sec, there.spike_times_sec)
    np.testing.assert_array_equal(here.unit_stops, there.unit_stops)
    assert here.unit_ids == there.unit_ids
    assert (here.start_time_sec, here.end_time_sec) == (there.start_time_sec, there.end_time_sec)
    assert (here.num_rows, here.num_dropped) == (there.num_rows, there.num_dropped)


WANTED = [
    ("/acquisition/x/data", None),
    ("/acquisition/x/data", slice(7, 4_800, 11)),
    ("/acquisition/x/data", slice(-10, None)),
    ("/acquisition/x/data", slice(5, 5)),
    ("/acquisition/x/data", slice(0, None, 2_000)),
    ("/processing/y/timestamps", slice(100, 2_200)),
    ("/processing/y/x/data", slice(1, 2)),
    ("/processing/y/number", None),
    ("/processing/y/flags", None),
    ("/processing/y/empty", None),
    ("/named/spike_times_index", None),
]


def test_values(file: RemoteNwb, original: RemoteNwb) -> None:
    """Whole, some rows, with links, single values; one dataset after another."""
    for here, there in zip(file.read_each(WANTED), original.read_each(WANTED)):
        assert (here.dtype, here.shape) == (there.dtype, there.shape)
        np.testing.assert_array_equal(here, there)


@pytest.mark.parametrize("batch_bytes", [1_000, 30_000, 10**8])
def test_batches(file: RemoteNwb, batch_bytes: int) -> None:
    """The rows in pieces, smaller and larger than chunks."""
    parts = list(file.batches("/acquisition/x/data", batch_bytes=batch_bytes))
    np.testing.assert_array_equal(np.concatenate(parts), DATA)
    assert max(part.nbytes for part in parts) <= batch_bytes


def test_what_there_is(file: RemoteNwb, original: RemoteNwb) -> None:
    """Types, attributes and shapes; texts; links and what they lead to."""
    assert file.find(["TimeSeries"]) == ["/acquisition/x"]
    here, there = (each.look("/acquisition/x") for each in (file, original))
    assert here.attributes == there.attributes
    assert (here.neurodata_type, set(here.children)) == ("TimeSeries", set(there.children))
    data = here.children["data"]
    assert (data.shape, data.dtype, data.attributes) == ((5_000, 3), "<i8", {"unit": "mm"})
    assert (data.chunk_shape, data.chunk_bytes) == ((999, 2), 999 * 2 * 8)
    here, there = (each.look("/processing/y") for each in (file, original))
    assert here.refused == there.refused == {"broken": "it is a link that leads nowhere"}
    assert set(here.children) == set(there.children)
    for name, child in here.children.items():
        other = there.children[name]
        assert (child.path, child.kind) == (other.path, other.kind)
        assert child.dtype.replace("|", "<") == other.dtype.replace("|", "<")
        assert child.shape == other.shape
    assert file.text("/processing/y/names") == ["left", "right é", ""]
    assert file.text("/processing/y/one") == ["a text"]
