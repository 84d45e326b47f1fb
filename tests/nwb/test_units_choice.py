"""Which units a job draws, in which order and groups, and around which events."""

from typing import Any, Iterator, List

import numpy as np
import pytest
from choice_files import REGIONS, TRIAL_STARTS, choice_file, columns_of
from range_server import LOOPBACK, RangeServer

from devaria.nwb import open_remote
from devaria.nwb.errors import InvalidInputError, NwbError
from devaria.nwb.params import UnitsChoice, checked_choice
from devaria.nwb.sandbox.remote import RemoteNwb
from devaria.nwb.units.choice import (
    Group,
    choose,
    firing_rates,
    grouped_by,
    positions_of,
    rearranged,
    sorted_by,
)
from devaria.nwb.units.extra import read_events, read_extra_column
from devaria.nwb.units.table import UnitsTable

NUM_UNITS = 12
ALL = UnitsChoice((), "", "", "")


@pytest.fixture(scope="module")
def file() -> Iterator[RemoteNwb]:
    """Open a file with columns and trials."""
    more = {"rates": np.full(NUM_UNITS, np.nan), "flags": np.arange(NUM_UNITS) > 5}
    with RangeServer({"/x.nwb": choice_file(NUM_UNITS, **more)}) as server, open_remote(
        server.url("/x.nwb"), allow_hosts=LOOPBACK
    ) as opened:
        yield opened


@pytest.fixture(scope="module")
def table(file: RemoteNwb) -> UnitsTable:
    """Read its units."""
    return file.units_table("/units")


def small_table(ids: List[str], rows: Any = None) -> UnitsTable:
    """Return a table of units with as many spikes as their position, and one more."""
    counts = np.arange(1, len(ids) + 1)
    stops = np.cumsum(counts)
    return UnitsTable(
        unit_ids=ids,
        unit_rows=np.arange(len(ids)) if rows is None else np.array(rows),
        spike_times_sec=np.arange(stops[-1], dtype=np.float32),
        unit_stops=stops,
        start_time_sec=0.0,
        end_time_sec=float(stops[-1] - 1),
        num_rows=100,
        num_dropped=0,
    )


# --- parameters ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given", [{}, {"units": [], "sort_by": "", "group_by": "", "align_to": ""}]
)
def test_nothing_is_chosen_by_default(given: Any) -> None:
    """Absent and empty parameters ask for nothing."""
    assert checked_choice(given) == ALL


def test_choice_is_taken_as_given() -> None:
    """A path gets a leading slash, and loses what is too much."""
    given = {"units": [3, "a"], "sort_by": "depth", "group_by": "region", "align_to": "a//b/t"}
    assert checked_choice(given) == UnitsChoice((3, "a"), "depth", "region", "/a/b/t")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"units": "3"}, "units must be a list of at most 10,000"),
        ({"units": list(range(10_001))}, "units must be a list of at most 10,000"),
        ({"units": [1.5]}, "units must hold ids or rows only"),
        ({"units": [True]}, "units must hold ids or rows only"),
        ({"units": ["\x1b"]}, "units must hold ids or rows only"),
        ({"units": [[1]]}, "units must hold ids or rows only"),
        ({"sort_by": 5}, "sort_by must be the name of a column"),
        ({"sort_by": "a/b"}, "sort_by must be the name of a column, not 'a/b'"),
        ({"group_by": "x" * 201}, "group_by must be the name of a column"),
        ({"group_by": "\n"}, "group_by must be the name of a column"),
        ({"align_to": 5}, "align_to must be a string such as /intervals/trials/start_time"),
        ({"align_to": "/start_time"}, "align_to must name a table and its column"),
        ({"align_to": "/a/../b/c"}, "align_to must not hold"),
    ],
)
def test_malformed_parameters(given: Any, text: str) -> None:
    """Each is an invalid parameter that names what is right."""
    with pytest.raises(InvalidInputError, match=text) as caught:
        checked_choice(given)
    assert str(caught.value).isprintable()


# --- units ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "positions"),
    [
        ((7, 5), [0, 2]),  # ids, in the table's order
        (("5", 5), [0]),
        ((8,), [1, 3]),  # two units have this id
        ((3, 21), [1, 2]),  # no ids, so rows
        ((20,), [0]),
    ],
)
def test_units_are_ids_or_rows(wanted: Any, positions: List[int]) -> None:
    """They are rows only if the table has none of them as an id."""
    table = small_table(["5", "8", "7", "8"], rows=[20, 3, 21, 40])
    assert positions_of(table, wanted).tolist() == positions


def test_units_that_are_not_there_are_named() -> None:
    """An id among ids, or a row among rows, that the table does not have with spikes."""
    table = small_table(["5", "8"], rows=[20, 30])
    with pytest.raises(InvalidInputError, match=r"units has what is no unit with spikes: 20, x$"):
        positions_of(table, [5, 20, "x"])
    with pytest.raises(InvalidInputError, match=r"no unit with spikes: .*, 9 and 2 more$"):
        positions_of(small_table(["a"], rows=[99]), list(range(12)))


def test_order_and_groups() -> None:
    """Lowest first, NaN last, ties as they were; a group keeps the order of its units."""
    positions = np.array([3, 1, 0, 2])
    values = np.array([2.0, np.nan, 1.0, 2.0])
    assert sorted_by(positions, values).tolist() == [2, 3, 0, 1]
    order, groups = grouped_by(positions, np.array(["b", "a", "b", ""]))
    assert order.tolist() == [3, 1, 0, 2]
    assert groups == [Group("(empty)", 1), Group("a", 1), Group("b", 2)]
    order, groups = grouped_by(positions, values)
    assert (order.tolist(), groups) == ([2, 3, 0, 1], [("1", 1), ("2", 2), ("nan", 1)])
    with pytest.raises(InvalidInputError, match="201 different values; at most 200"):
        grouped_by(np.arange(201), np.arange(201))


def test_rearranged_table_has_the_same_trains() -> None:
    """Ids, rows and spikes of the wanted units move together; the range of time stays."""
    table = rearranged(small_table(["a", "b", "c"]), np.array([2, 0]))
    assert (table.unit_ids, table.unit_rows.tolist()) == (["c", "a"], [2, 0])
    assert table.spike_times_sec.tolist() == [3, 4, 5, 0]
    assert table.unit_stops.tolist() == [3, 4]
    assert (table.start_time_sec, table.end_time_sec) == (0, 5)
    assert firing_rates(table).tolist() == [3 / 5, 1 / 5]


# --- a file --------------------------------------------------------------------------------------


def test_columns_of_a_file(file: RemoteNwb) -> None:
    """Numbers, booleans and texts are read, a value for each row."""
    for name, values in columns_of(NUM_UNITS).items():
        read = read_extra_column(file, "/units", name, NUM_UNITS, "sort_by")
        expected = [each.decode() if isinstance(each, bytes) else each for each in values.tolist()]
        assert list(read) == expected
    assert sum(map(float, read_extra_column(file, "/units", "flags", NUM_UNITS, "sort_by"))) == 6


@pytest.mark.parametrize("name", ["nothing", "tags", "group", "spike_times", "spike_times_index"])
def test_other_columns_are_refused(file: RemoteNwb, name: str) -> None:
    """Those with several values or with references for a unit, too; the usable ones are listed."""
    with pytest.raises(InvalidInputError) as caught:
        read_extra_column(file, "/units", name, NUM_UNITS, "group_by")
    assert str(caught.value) == (
        f"group_by {name} is no column of /units with one number or text for each unit; "
        "such columns: depth, flags, id, quality, rates, region"
    )


def test_choose(file: RemoteNwb, table: UnitsTable) -> None:
    """Units are selected, sorted and grouped, in this order; notes say so."""
    everything = choose(file, "/units", table, ALL)
    assert everything == (table, [], [])
    units = (100, 103, 106, 101, 104)
    table, groups, notes = choose(file, "/units", table, UnitsChoice(units, "depth", "region", ""))
    depth = columns_of(NUM_UNITS)["depth"]
    rows = sorted([0, 3, 6], key=lambda row: depth[row])
    assert table.unit_rows.tolist() == [*sorted([1, 4], key=lambda row: depth[row]), *rows]
    assert groups == [(REGIONS[1], 2), (REGIONS[0], 3)]
    assert notes == [
        "Shows 5 of 12 units",
        "Sorted by depth, the lowest at the bottom",
        "Grouped by region",
    ]


def test_firing_rate_needs_no_column(file: RemoteNwb, table: UnitsTable) -> None:
    """It is computed from the spikes."""
    chosen = choose(file, "/units", table, UnitsChoice((), "firing_rate", "", ""))
    assert np.diff(np.diff(chosen.table.unit_stops, prepend=0)).min() >= 0


# --- events --------------------------------------------------------------------------------------


def test_events(file: RemoteNwb) -> None:
    """Times are read and sorted; those that are NaN are counted."""
    events = read_events(file, "/intervals/trials/start_time")
    assert np.array_equal(events.times_sec, TRIAL_STARTS)
    assert (events.name, events.path) == ("start_time", "/intervals/trials/start_time")
    assert events.num_dropped == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/intervals/nothing/start_time", "is not in the file; tables of intervals: /intervals/tr"),
        ("/intervals/trials/label", "is no column of times; columns of numbers there: start_time"),
        ("/intervals/trials/stop", "is no column of times; columns of numbers there: start_time"),
        ("/units/region/x", "is no column of times; columns of numbers there: none"),
    ],
)
def test_other_paths_of_events(file: RemoteNwb, path: str, text: str) -> None:
    """The error lists what there is."""
    with pytest.raises(InvalidInputError, match=text):
        read_events(file, path)


def test_no_events(file: RemoteNwb) -> None:
    """A column of NaN has none."""
    with pytest.raises(NwbError, match="/units/rates has no events"):
        read_events(file, "/units/rates")
