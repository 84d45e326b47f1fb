"""Odd units tables in Zarr and LINDI: read or refused as in HDF5, and units chosen as there."""

import io
import json
from pathlib import Path
from typing import Any, Callable, Dict, Iterator

import h5py
import numpy as np
import pytest
from choice_files import REGIONS, TRIAL_STARTS, choice_file
from nwb_files import units_bytes
from range_server import LOOPBACK, RangeServer
from zarr_files import FORMATS, lindi_of, zarr_files

from devaria.nwb import open_remote
from devaria.nwb.errors import InvalidInputError, NwbError
from devaria.nwb.params import UnitsChoice
from devaria.nwb.sandbox.remote import RemoteNwb
from devaria.nwb.units.choice import choose
from devaria.nwb.units.extra import read_events
from devaria.nwb.units.table import UnitsTable

#: Returns the URL of another form of a file, whose content it is told.
Form = Callable[[bytes], str]

RNG = np.random.default_rng(8)
TRAINS = [np.sort(RNG.uniform(0, 900, 4000)), np.empty(0), RNG.uniform(0, 900, 3000)]
LATE = [train + 1_700_000_000.25 for train in TRAINS]

#: A session of days with neurons that pause for seconds: it was one of minutes.
MILLISECONDS = [np.cumsum(2 + RNG.exponential(300, 8_000)) * 60 for _ in range(3)]


@pytest.fixture(scope="module")
def server() -> Iterator[RangeServer]:
    """Serve the files that tests add."""
    with RangeServer({}) as running:
        yield running


@pytest.fixture(params=["LINDI", "LINDI that refers to whole datasets", "Zarr"])
def form(server: RangeServer, request: Any, tmp_path: Path) -> Form:
    """Return what serves a form of a file beside the file itself."""

    def serve(content: bytes) -> str:
        server.files["/x.nwb"] = content
        with h5py.File(io.BytesIO(content), "r+") as file:
            if "units/group" in file:  # references to objects, which units need none of
                del file["units/group"]
            if request.param == "Zarr":
                objects = zarr_files(file, tmp_path / "zarr", version=FORMATS[-1])
                # A name of its own, since chunks of other tables would be taken for its own.
                path = f"/{tmp_path.name}.zarr"
                server.files.update({f"{path}/{key}": objects[key] for key in objects})
                return server.url(path)
            most_chunks = 1000 if request.param == "LINDI" else 1
            document = lindi_of(file, server.url("/x.nwb"), most_chunks=most_chunks)
        server.files["/x.lindi.json"] = json.dumps(document).encode()
        return server.url("/x.lindi.json")

    return serve


def opened(url: str) -> RemoteNwb:
    """Open a file of the loopback server."""
    return open_remote(url, allow_hosts=LOOPBACK)


def assert_same(table: UnitsTable, expected: UnitsTable) -> None:
    """Two tables have the same units, spikes and times."""
    found, wanted = vars(table), vars(expected)
    for name in wanted:
        np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)


TABLES: Dict[str, bytes] = {
    "times that do not ascend": units_bytes(TRAINS, chunks=(999,)),
    "ids that come twice": units_bytes(TRAINS, ids=[5, 5, 5], chunks=(999,)),
    "since 1970": units_bytes(LATE, chunks=(999,), compression="gzip"),
    "since 1970, contiguous": units_bytes(LATE),
    "since 1970, whole numbers": units_bytes([np.arange(1_700_000_000, 1_700_000_009)], dtype="i8"),
}


SHAPES: Dict[str, Dict[str, Any]] = {
    "rows": {"shape": (1, -1), "index_shape": (-1, 1)},
    "rows in chunks": {"shape": (1, -1), "index_shape": (1, -1), "chunks": (1, 999)},
    "columns in chunks": {"shape": (-1, 1), "index_shape": (1, 1, -1), "chunks": (999, 1)},
    "more spikes than the index says": {"shape": (1, -1), "stops": [10, 2500], "chunks": (1, 99)},
    "an index and an id without axes": {"shape": -1, "index_shape": (), "stops": 4000},
}


def single_spike_file() -> bytes:
    """Return a file of one spike, which has no axis."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["units/spike_times"], file["units/spike_times_index"] = 2.5, [1]
    return buffer.getvalue()


def odd_file(shape: Any, index_shape: Any = -1, stops: Any = (4000, 7000), **options: Any) -> bytes:
    """Return a file whose columns have such shapes."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        units = file.create_group("units")
        times = np.concatenate(TRAINS).reshape(shape)
        units.create_dataset("spike_times", data=times, **options)
        units["spike_times_index"] = np.reshape(stops, index_shape)
        units["id"] = np.reshape(np.arange(np.size(stops)) + 5, index_shape)
    return buffer.getvalue()


TABLES.update({name: odd_file(**SHAPES[name]) for name in SHAPES})
TABLES["a spike without an axis"] = single_spike_file()


@pytest.mark.parametrize("name", TABLES)
def test_tables_that_are_read(server: RangeServer, form: Form, name: str) -> None:
    """Also those whose times are read twice, to count from the first second."""
    with opened(form(TABLES[name])) as file, opened(server.url("/x.nwb")) as original:
        table = file.units_table()
        assert_same(table, original.units_table())
    assert (table.time_offset_sec > 0) == ("1970" in name)


REFUSED = {
    r"milliseconds\?": units_bytes(MILLISECONDS, chunks=(999,)),
    "probably sample numbers": units_bytes([[0, 1e9]]),
    "probably since 1970, in float32": units_bytes([[1.7e9, 1.7e9]], dtype=np.float32),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_tables_that_are_refused(form: Form, fault: str) -> None:
    """The reason is the one that HDF5 files get."""
    with opened(form(REFUSED[fault])) as file, pytest.raises(NwbError, match=fault):
        file.units_table()


def test_a_choice_of_units(server: RangeServer, form: Form) -> None:
    """Ids, a column of numbers, one of texts, and events come from such files too."""
    choice = UnitsChoice((1, 2, 3, 7), "depth", "region", "")
    events_path = "/intervals/trials/start_time"
    chosen = []
    with opened(form(choice_file(12))) as file, opened(server.url("/x.nwb")) as original:
        for each in (file, original):
            chosen.append(choose(each, "/units", each.units_table(), choice))
        events = read_events(file, events_path)
        with pytest.raises(InvalidInputError, match=r"such columns: .*depth"):
            choose(file, "/units", chosen[0].table, UnitsChoice((), "nothing", "", ""))
    assert_same(chosen[0].table, chosen[1].table)
    assert chosen[0][1:] == chosen[1][1:]
    assert {group.name for group in chosen[0].groups} <= set(REGIONS)
    np.testing.assert_array_equal(events.times_sec, TRIAL_STARTS)
