"""Reading units tables: what is read, and the errors for tables that cannot be used."""

from typing import Any, Iterator, List

import h5py
import numpy as np
import pytest
from nwb_files import add_units, memory_file

from devaria.nwb.errors import InvalidInputError, NwbError
from devaria.nwb.limits import ReadLimits
from devaria.nwb.units.reader import read_units_table
from devaria.nwb.units.table import UnitsTable

TRAINS = [[0.25, 1.5, 7.75], [], [1.5, 9.5]]


@pytest.fixture
def file() -> Iterator[h5py.File]:
    """Return an empty file."""
    with memory_file() as opened:
        yield opened


def read(file: h5py.File, path: str = "/units", **options: Any) -> UnitsTable:
    """Read a table of an open file."""
    return read_units_table(file, path, file_bytes=10**9, **options)


def trains_of(table: UnitsTable) -> List[List[float]]:
    """Return the spike trains, unit by unit."""
    return [part.tolist() for part in np.split(table.spike_times_sec, table.unit_stops[:-1])]


def test_reads_units_with_spikes(file: h5py.File) -> None:
    """Units without spikes are left out with their ids. The range covers all spikes."""
    add_units(file, TRAINS, ids=[10, 11, 12])
    table = read(file)
    assert table.unit_ids == ["10", "12"]
    assert trains_of(table) == [TRAINS[0], TRAINS[2]]
    assert table.spike_times_sec.dtype == np.float32
    assert (table.start_time_sec, table.end_time_sec) == (0.25, 9.5)
    assert (table.num_rows, table.num_dropped) == (3, 0)


@pytest.mark.parametrize("path", ["/units", "units", "/units/", "//units", "/alias"])
def test_path_spellings(file: h5py.File, path: str) -> None:
    """Missing and extra slashes, and soft links within the file, lead to the same table."""
    add_units(file, TRAINS)
    file["alias"] = h5py.SoftLink("/units")
    assert len(read(file, path).unit_ids) == 2


@pytest.mark.parametrize(
    "options",
    [
        {"dtype": np.float32},
        {"dtype": ">f8"},
        {"dtype": np.int32},
        {"dtype": ">i2"},
        {"dtype": np.uint64},
        {"index_dtype": np.uint8},
        {"index_dtype": ">u4"},
        {"chunks": (2,)},
        {"chunks": (2,), "compression": "gzip", "shuffle": True, "fletcher32": True},
        {"chunks": (2,), "compression": "lzf"},
        {"chunks": (2,), "scaleoffset": 0, "dtype": np.int32},
        {"maxshape": (None,)},
    ],
    ids=str,
)
def test_types_and_filters(file: h5py.File, options: Any) -> None:
    """Every number type and every filter of HDF5 gives the same table."""
    trains = [[1, 2, 70], [3]]
    add_units(file, trains, **options)
    table = read(file)
    assert trains_of(table) == trains
    assert (table.start_time_sec, table.end_time_sec) == (1, 70)


@pytest.mark.parametrize(
    ("ids", "texts"),
    [
        ([5, 5, 7], ["5", "7"]),
        ([0.5, 1.5, 2.0], ["0.5", "2.0"]),
        (np.array([b"a", b"b", b"c"]), ["a", "c"]),
        (np.array(["a", "b", "ü"], dtype=h5py.string_dtype()), ["a", "ü"]),
        ([1, 2, 3, 4, 5], ["1", "3"]),
    ],
)
def test_ids_of_any_kind(file: h5py.File, ids: Any, texts: List[str]) -> None:
    """Ids may be numbers or strings. Surplus ids are ignored."""
    add_units(file, TRAINS, ids=ids)
    assert read(file).unit_ids == texts


def test_no_ids_gives_row_numbers(file: h5py.File) -> None:
    """Without an id column, a unit's id is its row."""
    del add_units(file, TRAINS)["id"]
    assert read(file).unit_ids == ["0", "2"]


def test_out_of_order_spikes_count_for_the_range(file: h5py.File) -> None:
    """The range is the earliest and the latest of all spikes, wherever in the unit they stand."""
    add_units(file, [[5.0, 2.0, 9.0, 3.0], [4.0]])
    table = read(file)
    assert (table.start_time_sec, table.end_time_sec) == (2.0, 9.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_non_finite_times_are_dropped_and_counted(file: h5py.File, bad: float, place: int) -> None:
    """NaN, infinity and numbers too large for float32 are left out; other units keep theirs."""
    first = [0.5, 1.5]
    first.insert(place, bad)
    add_units(file, [first, [bad], [1.0]])
    table = read(file)
    assert trains_of(table) == [[0.5, 1.5], [1.0]]
    assert table.unit_ids == ["0", "2"]
    assert (table.start_time_sec, table.end_time_sec) == (0.5, 1.5)
    assert table.num_dropped == 2


def test_slabs_join_without_a_seam(file: h5py.File) -> None:
    """A column of several slabs is read completely, with progress after each slab."""
    times = np.sort(np.random.default_rng(0).uniform(0, 1000, 1_300_000))
    add_units(file, [times], chunks=(7001,))
    told: List[Any] = []
    table = read(file, progress=lambda done, total: told.append((done, total)))
    assert np.array_equal(table.spike_times_sec, times.astype(np.float32))
    assert (table.start_time_sec, table.end_time_sec) == (times[0], times[-1])
    assert told[0] == (0, 10_417_488)  # whole chunks of 8 bytes a spike
    assert told == sorted(told)
    assert told[-1] == (10_417_488, 10_417_488)


def _without(name: str) -> Any:
    def damage(units: h5py.Group) -> None:
        del units[name]

    return damage


def _with(name: str, value: Any) -> Any:
    def damage(units: h5py.Group) -> None:
        if name in units:
            del units[name]
        units[name] = value

    return damage


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (_without("spike_times_index"), "the units table has no spike_times_index"),
        (_with("spike_times_index", [3, 3, 6]), "corrupt: it points past the 5 spikes"),
        (
            _with("spike_times_index", np.array([3, 2**64 - 1], np.uint64)),
            "corrupt: it points past",
        ),
        (_with("spike_times_index", [-1, 3, 5]), "corrupt"),
        (_with("spike_times_index", [3, 2, 5]), "corrupt: it descends"),
        (
            _with("spike_times_index", [1.0, 2.0, 5.0]),
            "spike_times_index holds float64, not integers",
        ),
        (_with("spike_times_index", [0, 0, 0]), "the units table /units has no spikes"),
        (_with("spike_times_index", np.zeros(0, int)), "the units table /units has no spikes"),
        (_with("spike_times", np.zeros((5, 2))), "not a one-dimensional dataset"),
        (_with("spike_times", np.array([b"a"] * 5)), r"spike_times holds \|S1"),
        (
            _with("spike_times", np.zeros(5, complex)),
            "spike_times holds complex128, not real numbers",
        ),
        (_with("spike_times", np.full(5, np.nan)), "has no finite spike times"),
        (_with("spike_times", np.arange(5) * 3e7), "span 1,388.9 days: they are probably sample"),
        (_with("id", [1]), "has 3 units, but only 1 ids"),
        (_with("id", np.zeros((3, 2))), "id is not a one-dimensional dataset"),
        (_with("id", np.array([b"x" * 300] * 3)), "neither numbers nor short strings"),
        (_with("id", np.array(["x" * 900] * 3, h5py.string_dtype())), "a unit's id has 900 chara"),
    ],
)
def test_broken_tables_get_a_clear_error(file: h5py.File, damage: Any, text: str) -> None:
    """Each fault of a table is named in one printable line."""
    damage(add_units(file, TRAINS))
    with pytest.raises(NwbError, match=text) as caught:
        read(file)
    assert str(caught.value).isprintable()


def test_table_of_no_units(file: h5py.File) -> None:
    """A table without rows has no spikes."""
    add_units(file, [])
    with pytest.raises(NwbError, match="has no spikes"):
        read(file)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/nothing", "/nothing is not in the file"),
        ("/units/id", "/units/id is a dataset, not a units table"),
        ("/empty", "/empty is not a units table: it has no spike_times"),
    ],
)
def test_other_paths_list_the_units_tables(file: h5py.File, path: str, text: str) -> None:
    """A path that is not a units table is a wrong parameter; the error lists the right ones."""
    add_units(file, TRAINS)
    add_units(file.create_group("processing"), TRAINS, name="kilosort")
    file.create_group("empty")
    with pytest.raises(InvalidInputError, match=text) as caught:
        read(file, path)
    assert "units tables in the file: /units, /processing/kilosort" in str(caught.value)


def test_nwb_1_is_named(file: h5py.File) -> None:
    """A file of NWB 1, which has no units tables, is named as such."""
    file["nwb_version"] = "NWB-1.0.6"
    file.create_group("processing")
    with pytest.raises(NwbError, match=r"this is an NWB 1\.x file"):
        read(file)


def test_limits(file: h5py.File) -> None:
    """More spikes, rows or units than allowed are an error; units without spikes may be many."""
    add_units(file, [[1.0], [2.0], [3.0], [], []])
    assert len(read(file, limits=ReadLimits(max_spikes=3, max_rows=5, max_units=3)).unit_ids) == 3
    for limits, text in [
        (ReadLimits(max_spikes=2), "has 3 spikes; at most 2"),
        (ReadLimits(max_rows=4), "has 5 rows: more than 4"),
        (ReadLimits(max_units=2), "3 units have spikes; at most 2"),
    ]:
        with pytest.raises(NwbError, match=text):
            read(file, limits=limits)


def test_too_many_units_for_figpack(file: h5py.File) -> None:
    """65,536 units with spikes are drawn, one more is not."""
    times = np.arange(65_537) / 100
    units = add_units(file, [times])
    for number in (65_536, 65_537):
        del units["spike_times_index"], units["id"]
        units["spike_times_index"] = units["id"] = np.arange(1, number + 1)
        if number == 65_536:
            assert len(read(file).unit_ids) == number
    with pytest.raises(NwbError, match="65,537 units have spikes"):
        read(file)
