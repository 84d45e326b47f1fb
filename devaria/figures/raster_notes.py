"""What is to be said about a raster plot besides the picture, and the labels of its rows."""

import datetime
from typing import Dict, List, Sequence, Set

from devaria.common.text import one_line
from devaria.figures.raster_arrays import trains_of
from devaria.nwb.units.table import UnitsTable

#: So many units are named in a note, and so many characters of an id.
_MAX_NAMED, _MAX_ID_CHARACTERS = 20, 40

#: Seconds since 1970 that are said as a date: those of 1980 to 2100.
_DATES = range(315_532_800, 4_102_444_800)


def distinct_labels(unit_ids: Sequence[str]) -> List[str]:
    """Return a label of its own for each unit.

    Args:
        unit_ids: Ids, some of which may be equal.

    Returns:
        The ids. The second unit with the id 5 is labelled `5 (2)`, the third `5 (3)`, and so on.
    """
    labels: List[str] = []
    used: Set[str] = set()
    reserved = set(unit_ids)
    next_number: Dict[str, int] = {}
    for unit_id in unit_ids:
        label, number = unit_id, next_number.get(unit_id, 2)
        while label in used or (label != unit_id and label in reserved):
            label = f"{unit_id} ({number})"
            number += 1
        next_number[unit_id] = number
        used.add(label)
        labels.append(label)
    return labels


def notes_on(table: UnitsTable) -> List[str]:
    """Say what a figure leaves out, and what is odd about the table.

    Args:
        table: The units as they are in the file.

    Returns:
        Sentences of one line each.
    """
    notes = []
    num_empty = table.num_rows - len(table.unit_ids)
    if num_empty:
        notes.append(f"Left out {num_empty:,} units without spikes")
    if table.num_dropped:
        notes.append(f"Left out {table.num_dropped:,} spike times that are NaN or infinite")
    labels = distinct_labels(table.unit_ids)
    again = [label for label, unit_id in zip(labels, table.unit_ids) if label != unit_id]
    if again:
        notes.append(f"Several units have the same id: the later ones are labelled {_named(again)}")
    disordered = [
        label for label, train in zip(labels, trains_of(table)) if (train[1:] < train[:-1]).any()
    ]
    if disordered:
        units = "unit" if len(disordered) == 1 else "units"
        notes.append(
            f"Spikes of {units} {_named(disordered)} are out of order: the file's spike_times or "
            "spike_times_index may be wrong"
        )
    if table.time_offset_sec:
        notes.append(
            f"Times count {from_second(table)}{_date(table)}: a figure holds no later times exactly"
        )
    return notes


def from_second(table: UnitsTable) -> str:
    """Say from which second of the file the times count, if it is not 0; else return nothing."""
    return f"from second {table.time_offset_sec:,.0f} on" if table.time_offset_sec else ""


def _date(table: UnitsTable) -> str:
    second = int(table.time_offset_sec)
    if second not in _DATES:
        return ""
    date = datetime.datetime.fromtimestamp(second, datetime.timezone.utc)
    return f" ({date:%Y-%m-%d %H:%M:%S} UTC, if they count from 1970)"


def _named(labels: Sequence[str]) -> str:
    shown = [one_line(label, _MAX_ID_CHARACTERS) for label in labels[:_MAX_NAMED]]
    more = len(labels) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")
