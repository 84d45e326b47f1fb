"""Datasets for tests: written in any layout, and read over HTTP as the reading process does."""

import io
from typing import Any, Callable, Optional

import h5py
from range_server import LOOPBACK, FakeTime, RangeServer

from devaria.nwb.hdf5.datasets import Wanted, read_each
from devaria.nwb.hdf5.remote_file import open_remote_file
from devaria.nwb.http.ranges import HttpRanges
from devaria.nwb.limits import ReadLimits


def file_bytes(write: Callable[[h5py.File], object], **options: Any) -> bytes:
    """Return the bytes of a file that a function fills."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", **options) as file:
        write(file)
    return buffer.getvalue()


def read_values(
    server: RangeServer,
    content: bytes,
    path: str = "x",
    rows: slice = slice(None),
    *,
    dtype: Any = None,
    limits: Optional[ReadLimits] = None,
) -> Any:
    """Read a dataset of a file that a server serves, without real waits between tries."""
    server.files["/file.nwb"] = content
    limits, time = limits or ReadLimits(), FakeTime()
    ranges = HttpRanges(
        server.url("/file.nwb"),
        allow_hosts=LOOPBACK,
        limits=limits,
        wait=time.wait,
        clock=time.clock,
    )
    with open_remote_file(ranges) as (file, num_bytes):
        bounds = (rows.start, rows.stop, rows.step)
        wanted = Wanted(file, path, bounds, dtype, num_bytes, limits)
        (values,) = read_each([wanted], lambda _done, _total: None)
        return values


def read_by_h5py(content: bytes, path: str = "x", rows: slice = slice(None)) -> Any:
    """Read the same with h5py alone, from memory."""
    with h5py.File(io.BytesIO(content), "r") as file:
        dataset = file[path]
        return dataset[rows] if dataset.shape else dataset[()]
