"""Units tables as odd writers make them: read as they are meant, or refused with the reason."""

import io
import tracemalloc
from pathlib import Path
from typing import Any, Dict, Iterator, List

import h5py
import numpy as np
import pytest
from nwb_files import REAL_DIR, add_units, read_in_memory, read_over_http, units_bytes
from range_server import RangeServer

from devaria.nwb.errors import NwbError
from devaria.nwb.units.table import UnitsTable

RNG = np.random.default_rng(0)
TRAINS = [np.sort(RNG.uniform(0, 900, 4000)), np.empty(0), np.sort(RNG.uniform(0, 900, 3000))]
TIMES = np.concatenate(TRAINS)
ODD_DIR = REAL_DIR.parent / "odd"

#: What h5py can do with a dataset, as options.
LAYOUTS: List[Dict[str, Any]] = [{}, {"compression": "gzip"}, {"chunks": True, "shuffle": True}]


@pytest.fixture(scope="module")
def server() -> Iterator[RangeServer]:
    """Serve the files that tests add."""
    with RangeServer({}) as running:
        yield running


def file_of(columns: Dict[str, Any], **options: Any) -> bytes:
    """Return the bytes of a file whose units table has these columns."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        units = file.create_group("units")
        for name, values in columns.items():
            values = np.asarray(values)
            units.create_dataset(name, data=values, **(options if values.ndim else {}))
    return buffer.getvalue()


def read(server: RangeServer, content: bytes, **options: Any) -> UnitsTable:
    """Read a table over HTTP; h5py alone gives the same."""
    table = read_over_http(server, content, **options)
    here = read_in_memory(content)
    assert np.array_equal(here.spike_times_sec, table.spike_times_sec)
    assert np.array_equal(here.unit_stops, table.unit_stops)
    assert here.unit_ids == table.unit_ids
    return table


# --- shapes that MATLAB writes -------------------------------------------------------------------


@pytest.mark.parametrize("options", LAYOUTS, ids=str)
@pytest.mark.parametrize("shape", [(1, -1), (-1, 1), (1, 1, -1), (1, -1, 1)], ids=str)
@pytest.mark.parametrize("column", ["spike_times", "spike_times_index", "id"])
def test_other_axes_of_length_1(
    server: RangeServer, column: str, shape: Any, options: Dict[str, Any]
) -> None:
    """A column may have axes of length 1 beside its own, on either side."""
    columns = {"spike_times": TIMES, "spike_times_index": [4000, 4000, 7000], "id": [5, 6, 7]}
    columns[column] = np.reshape(columns[column], shape)
    table = read(server, file_of(columns, **options))
    assert np.array_equal(table.spike_times_sec, TIMES.astype(np.float32))
    assert table.unit_stops.tolist() == [4000, 7000]
    assert table.unit_ids == ["5", "7"]
    assert table.unit_rows.tolist() == [0, 2]


@pytest.mark.parametrize("options", LAYOUTS, ids=str)
@pytest.mark.parametrize("shape", [(1, -1), (-1, 1)], ids=str)
def test_values_after_the_last_spike(
    server: RangeServer, shape: Any, options: Dict[str, Any]
) -> None:
    """They belong to no unit: they count neither as spikes nor for the range."""
    columns = {"spike_times": np.append(TIMES, 5000.0).reshape(shape), "spike_times_index": [7000]}
    table = read(server, file_of(columns, **options))
    assert np.array_equal(table.spike_times_sec, TIMES.astype(np.float32))
    assert table.end_time_sec == TIMES.max()


def test_single_values(server: RangeServer) -> None:
    """A table of one unit may have its index and its id without any axis, or even its spike."""
    table = read(server, file_of({"spike_times": TIMES[:4000], "spike_times_index": 4000, "id": 9}))
    assert (table.unit_ids, len(table.spike_times_sec)) == (["9"], 4000)
    table = read(server, file_of({"spike_times": 2.5, "spike_times_index": [1], "id": [9]}))
    assert (table.unit_ids, table.spike_times_sec.tolist()) == (["9"], [2.5])


@pytest.mark.parametrize(
    "ids", [["a", "b", "c"], [["a", "b", "c"]], [["a"], ["b"], ["c"]]], ids=str
)
def test_text_ids_in_any_shape(server: RangeServer, ids: Any) -> None:
    """Texts of any length are read one by one."""
    columns = {
        "spike_times": TIMES,
        "spike_times_index": [4000, 4000, 7000],
        "id": np.array(ids, dtype=h5py.string_dtype()),
    }
    assert read(server, file_of(columns)).unit_ids == ["a", "c"]


def test_surplus_ids_are_not_read(server: RangeServer) -> None:
    """However many there are, no more are read than the table has rows."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["before"] = RNG.integers(0, 256, 200_000).astype(np.uint8)
        units = add_units(file, TRAINS)
        del units["id"]
        ids = units.create_dataset("id", (1, 10**7), "i8", chunks=(1, 1000), compression="gzip")
        ids[0, :3] = [5, 6, 7]
    tracemalloc.start()
    try:
        assert read_over_http(server, buffer.getvalue()).unit_ids == ["5", "7"]
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


# --- NWB 2.0 beta --------------------------------------------------------------------------------


def beta_file(
    stops: List[int], *, shape: Any = -1, elsewhere: bool = False, **options: Any
) -> bytes:
    """Return a file whose index has a region of the spike times for each unit."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        units = file.create_group("units")
        times = units.create_dataset("spike_times", data=TIMES.reshape(shape))
        other = file.create_dataset("other", data=TIMES)
        references = []
        for start, stop in zip([0, *stops], stops):
            where = slice(start, stop)
            place = (0, where) if times.ndim == 2 else where
            references.append((other if elsewhere else times).regionref[place])
        kind = h5py.regionref_dtype
        units.create_dataset("spike_times_index", data=references, dtype=kind, **options)
        units["id"] = np.arange(len(stops))
    return buffer.getvalue()


@pytest.mark.parametrize("options", [{}, {"chunks": (2000,), "compression": "gzip"}], ids=str)
@pytest.mark.parametrize("shape", [-1, (1, -1)], ids=str)
def test_region_references(server: RangeServer, shape: Any, options: Dict[str, Any]) -> None:
    """The index of NWB 2.0 beta names each unit's slice; one of no spikes too."""
    stops = [*range(2, 4001, 2), 4000, 7000]
    table = read(server, beta_file(stops, shape=shape, **options))
    assert np.array_equal(table.spike_times_sec, TIMES.astype(np.float32))
    assert table.unit_stops.tolist() == [*stops[:2000], 7000]
    assert table.unit_ids[-2:] == ["1999", "2001"]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (
            beta_file([4000, 7000], elsewhere=True),
            "a reference leads elsewhere than to spike_times",
        ),
        (beta_file([4000, 7000, 0, 2000]), "the units do not follow each other"),
    ],
    ids=["elsewhere", "twice"],
)
def test_other_region_references_are_named(server: RangeServer, content: bytes, fault: str) -> None:
    """The error names the form and its age."""
    with pytest.raises(NwbError, match=rf"the form of NWB 2.0 beta \(2018\).*{fault}"):
        read_over_http(server, content)


def test_object_references_are_no_index(server: RangeServer) -> None:
    """References to whole objects name no spikes."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        units = add_units(file, TRAINS)
        del units["spike_times_index"]
        units.create_dataset("spike_times_index", data=[units.ref] * 3, dtype=h5py.ref_dtype)
    with pytest.raises(NwbError, match="spike_times_index holds object, not integers"):
        read_over_http(server, buffer.getvalue())


# --- user blocks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [2**power for power in (9, 10, 13, 16, 18, 20, 23, 26)])
def test_user_block(server: RangeServer, length: int) -> None:
    """A user block of any power of two up to 64 MiB is passed over, whatever it holds."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", userblock_size=length) as file:
        add_units(file, TRAINS, chunks=(500,), compression="gzip")
    content = bytearray(buffer.getvalue())
    content[:13] = b"<?xml ?> text"
    server.asked.clear()
    table = read_over_http(server, bytes(content))
    assert np.array_equal(table.spike_times_sec, TIMES.astype(np.float32))
    assert len(server.asked) < 60


def test_user_block_longer_than_64_mib_is_not_looked_for(server: RangeServer) -> None:
    """A file of another kind costs a request for each place at most."""
    server.asked.clear()
    with pytest.raises(NwbError, match="is an XML document"):
        read_over_http(server, b"<?xml ?>" + bytes(70 * 2**20))
    assert len(server.asked) < 20


# --- times ---------------------------------------------------------------------------------------


def test_times_since_1970_count_from_the_first_second(server: RangeServer) -> None:
    """They keep the precision of times near 0, and the table says from which second they count."""
    table = read(server, units_bytes([train + 1_700_000_000.25 for train in TRAINS]))
    start = np.floor(TIMES.min() + 0.25)
    assert table.time_offset_sec == 1_700_000_000 + start
    expected = (TIMES + 1_700_000_000.25) - table.time_offset_sec
    assert np.array_equal(table.spike_times_sec, expected.astype(np.float32))
    assert 0 <= table.start_time_sec < 1
    assert table.end_time_sec == expected.max()


@pytest.mark.parametrize("first", [-2.0e9, 2.0**24, 1.7e12])
def test_other_late_times(server: RangeServer, first: float) -> None:
    """Whatever float32 cannot resolve counts from the first second, also before 0."""
    table = read(server, units_bytes([first + np.array([0.5, 1.25, 7.0]), [first + np.nan]]))
    assert (table.time_offset_sec, table.num_dropped) == (first, 1)
    assert table.spike_times_sec.tolist() == [0.5, 1.25, 7.0]


def test_late_times_in_whole_numbers_and_other_shapes(server: RangeServer) -> None:
    """The second reading is as the first."""
    times = (1_700_000_000 + np.arange(9)).reshape(1, -1)
    table = read(server, file_of({"spike_times": times, "spike_times_index": 9}))
    assert table.spike_times_sec.tolist() == list(range(9))


def test_times_that_have_lost_their_seconds_are_refused(server: RangeServer) -> None:
    """float32 since 1970 has steps of two minutes: nothing is left to draw."""
    with pytest.raises(
        NwbError, match="lie around 1,700,000,000 s, probably since 1970, in float32"
    ):
        read_over_http(server, units_bytes([[1.7e9, 1.7e9]], dtype=np.float32))


@pytest.mark.parametrize("minutes", [3, 30, 60])
def test_milliseconds_are_suspected(server: RangeServer, minutes: int) -> None:
    """A session of days with neurons that pause for seconds is one of minutes in milliseconds."""
    rates = RNG.lognormal(1, 1, 20)
    trains = []
    for rate in rates:
        intervals = 2 + RNG.exponential(1000 / rate, int(rate * 60 * minutes) + 1)
        trains.append(np.cumsum(intervals))
    with pytest.raises(NwbError, match=r"days, with .* milliseconds\? NWB files must give seconds"):
        read_over_http(server, units_bytes(trains))


@pytest.mark.parametrize(
    "train",
    [
        np.sort(RNG.uniform(0, 20 * 86_400, 50_000)),  # a chronic recording: some pairs are near
        np.arange(50) * 20_000.0,  # few spikes
        np.arange(20_000) * 4.0,  # under a day
    ],
    ids=["chronic", "few", "short"],
)
def test_seconds_are_not_taken_for_milliseconds(server: RangeServer, train: Any) -> None:
    """Long sessions are drawn."""
    assert len(read(server, units_bytes([train])).spike_times_sec) == len(train)


# --- real files ----------------------------------------------------------------------------------


@pytest.mark.skipif(not ODD_DIR.is_dir(), reason="no odd files beside the checkout")
@pytest.mark.parametrize(
    ("name", "ids", "num_spikes"),
    [
        ("f_index_2D_1xU", ["0", "1", "2", "3"], 1179),
        ("f_matnwb_scalar_index_id", ["0"], 301),
        ("f_spike_times_2D_1xN", ["0", "1", "2", "3"], 1179),
        ("n_dup_ids", ["1", "1", "2"], 291),
        ("n_unix_epoch", ["0", "1", "2"], 862),
    ],
)
def test_odd_file(server: RangeServer, name: str, ids: List[str], num_spikes: int) -> None:
    """Each odd file beside the checkout is read, with the times that h5py reads."""
    path: Path = ODD_DIR / f"{name}.nwb"
    table = read(server, path.read_bytes())
    assert (table.unit_ids, len(table.spike_times_sec)) == (ids, num_spikes)
    with h5py.File(path, "r") as file:
        times = np.asarray(file["units/spike_times"][()]).reshape(-1) - table.time_offset_sec
    assert np.array_equal(table.spike_times_sec, times.astype(np.float32))
    assert bool(table.time_offset_sec) == (name == "n_unix_epoch")
