"""NWB files and units tables for tests, and the real files if they are available."""

import io
from pathlib import Path
from typing import Any, Iterable, List, Optional, Sequence

import h5py
import numpy as np
import numpy.typing as npt
import pytest
from range_server import LOOPBACK, FakeTime, RangeServer

from devaria.nwb.hdf5.remote_file import open_remote_file
from devaria.nwb.http.ranges import HttpRanges
from devaria.nwb.units.reader import read_units_table
from devaria.nwb.units.table import UnitsTable

REAL_DIR = Path(__file__).resolve().parents[3] / "shared" / "data" / "nwb"

needs_real_files = pytest.mark.skipif(
    not REAL_DIR.is_dir(), reason="no real NWB files beside the checkout"
)

#: Real file → path of its units table, number of units, number of spikes.
REAL_FILES = {
    "pynapple_sub-4_ses-4_ecephys+image.nwb": ("/units", 35, 214_278),
    "hdmf-zarr_sub_anm00239123_ses_20170627T093549.nwb": ("/units", 4, 34_057),
    "dandi-cli_sub-anm372793_ses-20170508.nwb": ("/units", 1, 2_434),
    "neuroconv_test.nwb": ("/units", 10, 1_725),
    "units-in-processing_nwb-explorer_test_Units.nwb": ("/acquisition/UnitsTest", 2, 6),
}

#: Real file without ``/units`` → the units tables that the error lists.
WITHOUT_UNITS = {
    "units-in-processing_nwb-explorer_test_Units.nwb": "/acquisition/UnitsTest",
    "no-units_pynwb_2.1.0_nwbfile_with_extension.nwb": "none",
}


def memory_file() -> h5py.File:
    """Open a new HDF5 file that exists in memory only."""
    return h5py.File("in memory", "w", driver="core", backing_store=False)


def add_units(
    parent: h5py.Group,
    trains: Sequence[Iterable[float]],
    *,
    name: str = "units",
    ids: Optional[Any] = None,
    dtype: Any = np.float64,
    index_dtype: Any = np.int64,
    **spike_times_options: Any,
) -> h5py.Group:
    """Write a units table with the layout of NWB 2."""
    group = parent.create_group(name)
    arrays: List[Any] = [np.asarray(list(train), dtype=dtype) for train in trains]
    times = np.concatenate(arrays) if arrays else np.empty(0, dtype)
    group.create_dataset("spike_times", data=times, **spike_times_options)
    stops = np.cumsum([len(a) for a in arrays], dtype=np.int64)
    group["spike_times_index"] = stops.astype(index_dtype)
    group["id"] = np.arange(len(arrays)) if ids is None else ids
    return group


def add_last_counts(counts: "npt.NDArray[np.uint16]", table: UnitsTable) -> None:
    """Add to figpack's counts a second the spikes that they lack: on the end of the last one."""
    stops = table.unit_stops.tolist()
    for unit, (start, stop) in enumerate(zip([0, *stops], stops)):
        seconds = table.spike_times_sec[start:stop] - np.float32(table.start_time_sec)
        if len(counts):
            counts[-1, unit] += np.count_nonzero(seconds >= len(counts))


def units_bytes(
    trains: Sequence[Iterable[float]], *, before: Optional[Any] = None, **options: Any
) -> bytes:
    """Return the bytes of a file with a units table at ``/units``, after other data if given."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        if before is not None:
            file["before"] = before
        add_units(file, trains, **options)
    return buffer.getvalue()


def read_over_http(server: RangeServer, content: bytes, **options: Any) -> UnitsTable:
    """Read ``/units`` of a file that a server serves, without real waits between tries."""
    server.files["/file.nwb"] = content
    time = FakeTime()
    ranges = HttpRanges(
        server.url("/file.nwb"), allow_hosts=LOOPBACK, wait=time.wait, clock=time.clock
    )
    with open_remote_file(ranges) as (file, file_bytes):
        return read_units_table(file, "/units", file_bytes=file_bytes, **options)


def read_in_memory(content: bytes) -> UnitsTable:
    """Read ``/units`` of a file in memory, with h5py alone."""
    with h5py.File(io.BytesIO(content), "r") as file:
        return read_units_table(file, "/units", file_bytes=len(content))
