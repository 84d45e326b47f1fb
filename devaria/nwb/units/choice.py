"""Which units are drawn, in which order, and in which groups."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Sequence, Tuple, Union

import numpy as np
import numpy.typing as npt

from devaria.common.text import one_line
from devaria.nwb.errors import InvalidInputError
from devaria.nwb.params import UnitsChoice
from devaria.nwb.units.extra import has_child, read_extra_column
from devaria.nwb.units.table import UnitsTable

if TYPE_CHECKING:
    from devaria.nwb.sandbox.remote import RemoteNwb

#: This name is computed from the spikes, if the table has no such column.
FIRING_RATE = "firing_rate"

#: Most groups, longest name of one, and most units that an error names.
_MAX_GROUPS, _MAX_NAME_CHARACTERS, _MAX_NAMED = 200, 60, 10


class Group(NamedTuple):
    """Neighbouring rows.

    Args:
        name: What they have in common.
        num_units: How many there are.
    """

    name: str
    num_units: int


class Chosen(NamedTuple):
    """The units that are drawn.

    Args:
        table: These units, the first at the bottom.
        groups: Their groups, in the same order; empty for none.
        notes: What was chosen, in sentences of one line each.
    """

    table: UnitsTable
    groups: Sequence[Group] = ()
    notes: Sequence[str] = ()


def choose(file: "RemoteNwb", path: str, table: UnitsTable, choice: UnitsChoice) -> Chosen:
    """Choose units of a table, and put them into an order.

    Args:
        file: The open file.
        path: Path of the table.
        table: All its units with spikes.
        choice: What a job asks for.

    Raises:
        InvalidInputError: The table has no such units or columns.
        NwbError: The file cannot be read.
    """
    positions = np.arange(len(table.unit_ids))
    groups: List[Group] = []
    notes = []
    if choice.units:
        positions = positions_of(table, choice.units)
        notes.append(f"Shows {len(positions):,} of {len(table.unit_ids):,} units")

    def values_of(name: str, param: str) -> "npt.NDArray[Any]":
        values = read_extra_column(file, path, name, table.num_rows, param)
        return np.asarray(values)[table.unit_rows]

    if choice.sort_by:
        rates = choice.sort_by == FIRING_RATE and not has_child(file, path, FIRING_RATE)
        values = firing_rates(table) if rates else values_of(choice.sort_by, "sort_by")
        positions = sorted_by(positions, values)
        notes.append(f"Sorted by {one_line(choice.sort_by)}, the lowest at the bottom")
    if choice.group_by:
        positions, groups = grouped_by(positions, values_of(choice.group_by, "group_by"))
        notes.append(f"Grouped by {one_line(choice.group_by)}")
    return Chosen(rearranged(table, positions) if notes else table, groups, notes)


def positions_of(table: UnitsTable, wanted: Sequence[Union[int, str]]) -> "npt.NDArray[np.int64]":
    """Find units.

    Args:
        table: The units.
        wanted: Ids. If the table has none of them as an id, they are numbers of rows, from 0.

    Returns:
        The positions of these units among those of the table, ascending, each once.

    Raises:
        InvalidInputError: The table does not have one of them, or it has no spikes.
    """
    by_id: Dict[str, List[int]] = {}
    for position, unit_id in enumerate(table.unit_ids):
        by_id.setdefault(unit_id, []).append(position)
    if not any(str(each) in by_id for each in wanted):
        by_id = {str(row): [position] for position, row in enumerate(table.unit_rows.tolist())}
    missing = [str(each) for each in wanted if str(each) not in by_id]
    if missing:
        shown = ", ".join(one_line(each, 40) for each in missing[:_MAX_NAMED])
        more = f" and {len(missing) - _MAX_NAMED:,} more" if len(missing) > _MAX_NAMED else ""
        raise InvalidInputError(f"units has what is no unit with spikes: {shown}{more}")
    found = {position for each in wanted for position in by_id[str(each)]}
    return np.array(sorted(found), np.int64)


def firing_rates(table: UnitsTable) -> "npt.NDArray[np.float64]":
    """Return how often each unit fires, in spikes a second of the time that the figure shows."""
    seconds = max(table.end_time_sec - table.start_time_sec, 1.0)
    return np.diff(table.unit_stops, prepend=0) / seconds


def sorted_by(
    positions: "npt.NDArray[np.int64]", values: "npt.NDArray[Any]"
) -> "npt.NDArray[np.int64]":
    """Sort units.

    Args:
        positions: Positions of units.
        values: A number or text for each unit of the table.

    Returns:
        The positions: the lowest value first, NaN last, and equal ones in their order.
    """
    return positions[np.argsort(values[positions], kind="stable")]


def grouped_by(
    positions: "npt.NDArray[np.int64]", values: "npt.NDArray[Any]"
) -> Tuple["npt.NDArray[np.int64]", List[Group]]:
    """Put units with equal values next to each other.

    Args:
        positions: Positions of units.
        values: A number or text for each unit of the table.

    Returns:
        The positions, in groups by ascending value, each in its order; and the groups.

    Raises:
        InvalidInputError: There are too many groups.
    """
    different, numbers = np.unique(values[positions], return_inverse=True)
    if len(different) > _MAX_GROUPS:
        raise InvalidInputError(
            f"group_by has {len(different):,} different values; at most {_MAX_GROUPS} can be shown"
        )
    counts = np.bincount(numbers, minlength=len(different)).tolist()
    groups = [Group(_named(value), count) for value, count in zip(different.tolist(), counts)]
    return positions[np.argsort(numbers, kind="stable")], groups


def rearranged(table: UnitsTable, positions: "npt.NDArray[np.int64]") -> UnitsTable:
    """Return a table of some units in another order. Its range of time stays.

    Args:
        table: The units.
        positions: Positions of the wanted ones.
    """
    stops = table.unit_stops
    starts = np.concatenate([[0], stops[:-1]])
    trains = [table.spike_times_sec[starts[each] : stops[each]] for each in positions]
    return replace(
        table,
        unit_ids=[table.unit_ids[each] for each in positions],
        unit_rows=table.unit_rows[positions],
        spike_times_sec=np.concatenate(trains),
        unit_stops=np.cumsum([len(train) for train in trains], dtype=np.int64),
    )


def _named(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.10g}"
    return one_line(str(value), _MAX_NAME_CHARACTERS) or "(empty)"
