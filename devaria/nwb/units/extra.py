"""Read what a job asks for beside the spikes: other columns of the units table, and events.

This runs in the job's process, which asks the reading process.
"""

from typing import TYPE_CHECKING, List, NamedTuple, Union

import numpy as np
import numpy.typing as npt

from devaria.common.text import one_line
from devaria.nwb.errors import InvalidInputError, NotInFileError, NwbError
from devaria.nwb.node import Node

if TYPE_CHECKING:
    from devaria.nwb.sandbox.remote import RemoteNwb

#: One value for each row of a table.
Values = Union["npt.NDArray[np.float64]", List[str]]

_MAX_EVENTS = 100_000

#: Columns that an error names.
_MAX_NAMED = 30


class Events(NamedTuple):
    """Times of events.

    Args:
        name: Their column, such as `start_time`.
        path: The path of the column.
        times_sec: float64, seconds, ascending, one or more.
        num_dropped: How many were NaN or infinite, and are left out.
    """

    name: str
    path: str
    times_sec: "npt.NDArray[np.float64]"
    num_dropped: int


def has_child(file: "RemoteNwb", path: str, name: str) -> bool:
    """Return whether a group has a child of that name."""
    return name in file.look(path).children


def read_extra_column(
    file: "RemoteNwb", table_path: str, name: str, num_rows: int, param: str
) -> Values:
    """Read a column that has one number or text for each row.

    Args:
        file: The open file.
        table_path: Path of the table.
        name: Name of the column.
        num_rows: Rows of the table.
        param: The parameter that holds the name, for the text of an error.

    Returns:
        The values, in the order of the rows.

    Raises:
        InvalidInputError: The table has no such column. The text lists those that it has.
        NwbError: The file cannot be read.
    """
    node = file.look(table_path)
    child = node.children.get(name)
    if child is None or not _has_one_value_each(node, name, num_rows):
        there = [each for each in node.children if _has_one_value_each(node, each, num_rows)]
        raise InvalidInputError(
            f"{param} {one_line(name)} is no column of {one_line(table_path)} with one number or "
            f"text for each unit; such columns: {_listed(there)}"
        )
    if child.dtype == "text":
        return file.text(child.path)
    return file.read(child.path).astype(np.float64).reshape(-1)


def read_events(file: "RemoteNwb", path: str) -> Events:
    """Read the times of events.

    Args:
        file: The open file.
        path: Path of a column of times, such as `/intervals/trials/start_time`.

    Returns:
        The events.

    Raises:
        InvalidInputError: There is no such column. The text says what there is.
        NwbError: There are too many events, or none.
    """
    table_path, _, name = path.rpartition("/")
    try:
        node = file.look(table_path)
    except NotInFileError:
        there = _listed(file.find(["TimeIntervals"]))
        raise InvalidInputError(
            f"align_to {one_line(table_path)} is not in the file; tables of intervals: {there}"
        ) from None
    child = node.children.get(name)
    if child is None or not _is_list_of_numbers(child):
        there = _listed(
            [each for each in node.children if _is_list_of_numbers(node.children[each])]
        )
        raise InvalidInputError(
            f"align_to {one_line(path)} is no column of times; columns of numbers there: {there}"
        )
    if child.shape[0] > _MAX_EVENTS:
        raise NwbError(
            f"{one_line(path)} has {child.shape[0]:,} events; at most {_MAX_EVENTS:,} can be shown"
        )
    times = file.read(child.path).astype(np.float64)
    finite = np.sort(times[np.isfinite(times)])
    if len(finite) == 0:
        raise NwbError(f"{one_line(path)} has no events")
    return Events(one_line(name), one_line(path), finite, len(times) - len(finite))


def _has_one_value_each(table: Node, name: str, num_rows: int) -> bool:
    child = table.children[name]
    lengths = [length for length in child.shape if length != 1]
    is_one_each = child.kind == "dataset" and lengths == ([] if num_rows == 1 else [num_rows])
    is_index = name.endswith("_index") or name == "spike_times"
    has_value = child.dtype == "text" or _is_number(child)
    return is_one_each and has_value and not is_index and f"{name}_index" not in table.children


def _is_list_of_numbers(node: Node) -> bool:
    return node.kind == "dataset" and len(node.shape) == 1 and _is_number(node)


def _is_number(node: Node) -> bool:
    return node.dtype[1:2] in ("b", "i", "u", "f") and node.dtype[:1] in "<>|="


def _listed(names: List[str]) -> str:
    more = f" and {len(names) - _MAX_NAMED:,} more" if len(names) > _MAX_NAMED else ""
    return (", ".join(one_line(name, 100) for name in names[:_MAX_NAMED]) or "none") + more
