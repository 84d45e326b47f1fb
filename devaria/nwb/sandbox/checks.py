"""Check what the reading process says before anybody uses it.

A malicious file may have taken that process over. So nothing that comes from it is believed: types,
sizes and shapes must be those of a right answer, and a file must be a plain file of the right
length.
"""

import math
import os
import re
import stat
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

import numpy as np
import numpy.typing as npt

from devaria.nwb.errors import NwbError
from devaria.nwb.node import Attribute, Node

#: Types of the values that are read.
_DTYPES = frozenset(
    np.dtype(name).str
    for name in (
        *("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"),
        *("f2", "f4", "f8", np.longdouble, "c8", "c16", np.clongdouble),
    )
)

#: The names of files with values.
_FILE_NAME = re.compile(r"values-[0-9]{1,18}")

#: Most axes of a dataset.
_MAX_AXES = 32

#: Most objects in one `Node`, most attributes of one, and the longest text and path.
_MAX_NODES, _MAX_ATTRIBUTES, _MAX_CHARACTERS = 2_000, 200, 40_000

#: Most texts in one answer.
_MAX_TEXTS = 10_000


def checked_texts(value: object) -> List[str]:
    """Check a list of texts.

    Args:
        value: What the reading process said.

    Returns:
        The same.

    Raises:
        NwbError: It is not a list of texts, or too long.
    """
    if not isinstance(value, list) or len(value) > _MAX_TEXTS:
        raise wrong("list")
    return [_text(each) for each in value]


def checked_node(value: object, depth: int) -> Node:
    """Check the description of a group or dataset.

    Args:
        value: What the reading process said.
        depth: How many levels below it were asked for.

    Returns:
        The description.

    Raises:
        NwbError: It is none, or larger or deeper than one can be.
    """
    return _node(value, depth, [_MAX_NODES])


def checked_array(
    event: Mapping[str, Any],
    folder: Path,
    rows: Optional[slice],
    dtype: "Optional[np.dtype[Any]]",
    max_bytes: int,
) -> "npt.NDArray[Any]":
    """Load and check the array of one dataset.

    Args:
        event: What the reading process said.
        folder: Where the file lies.
        rows: The rows that were asked for; None for all.
        dtype: The type that was asked for; None for any.
        max_bytes: The largest array.

    Returns:
        The values.

    Raises:
        NwbError: They are not what was asked for.
    """
    whole = checked_shape(event.get("whole"))
    shape = (num_rows(whole, rows), *whole[1:]) if whole else ()
    return _array(event, folder, shape, dtype, max_bytes)


def checked_piece(
    event: Mapping[str, Any],
    folder: Path,
    whole: Tuple[int, ...],
    most_rows: int,
    dtype: "Optional[np.dtype[Any]]",
    max_bytes: int,
) -> "npt.NDArray[Any]":
    """Load and check some rows of a dataset.

    Args:
        event: What the reading process said.
        folder: Where the file lies.
        whole: The shape of the dataset.
        most_rows: How many rows it may be at most.
        dtype: The type that was asked for; None for any.
        max_bytes: The largest array.

    Returns:
        The rows, one or more.

    Raises:
        NwbError: They are not what was asked for.
    """
    shape = checked_shape(event.get("shape"))
    if bool(shape) != bool(whole) or (shape and not 0 < shape[0] <= most_rows):
        raise wrong("number of rows")
    return _array(event, folder, (*shape[:1], *whole[1:]), dtype, max_bytes)


def checked_shape(value: object) -> Tuple[int, ...]:
    """Check the shape of a dataset.

    Args:
        value: What the reading process said.

    Returns:
        The shape.

    Raises:
        NwbError: It is none.
    """
    if not isinstance(value, list) or len(value) > _MAX_AXES:
        raise wrong("shape")
    return tuple(_count(each) for each in value)


def num_rows(whole: Tuple[int, ...], rows: Optional[slice]) -> int:
    """Return how many rows a slice takes; 1 for a single value.

    Args:
        whole: The shape of the dataset.
        rows: A slice of the first axis; None for all.
    """
    return len(range(*(rows or slice(None)).indices(whole[0]))) if whole else 1


def _array(
    event: Mapping[str, Any],
    folder: Path,
    shape: Tuple[int, ...],
    dtype: "Optional[np.dtype[Any]]",
    max_bytes: int,
) -> "npt.NDArray[Any]":
    type_name = event.get("dtype")
    if type_name not in _DTYPES or (dtype is not None and type_name != dtype.str):
        raise wrong("type of values")
    found: np.dtype[Any] = np.dtype(type_name)
    num_bytes = math.prod(shape) * found.itemsize
    if checked_shape(event.get("shape")) != shape or num_bytes > max_bytes:
        raise wrong("shape of an array")
    return _loaded(_path(event, folder), num_bytes, found).reshape(shape)


def _path(event: Mapping[str, Any], folder: Path) -> Path:
    name = event.get("file")
    if not isinstance(name, str) or _FILE_NAME.fullmatch(name) is None:
        raise wrong("file name")
    return folder / name


def _loaded(path: Path, num_bytes: int, dtype: "np.dtype[Any]") -> "npt.NDArray[Any]":
    try:
        # Not through a link or a pipe, and not mapped: the file could change later.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | _BINARY)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_size < num_bytes:
                raise wrong("file of values")
            values = np.fromfile(file, dtype, num_bytes // dtype.itemsize)
    except OSError as error:
        raise wrong("file of values") from error
    if values.nbytes != num_bytes:
        raise wrong("file of values")
    return values


_BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)


def _node(value: object, depth: int, room: List[int]) -> Node:
    room[0] -= 1
    if not isinstance(value, dict) or room[0] < 0 or depth < 0:
        raise wrong("tree of objects")
    kind, chunk_bytes = value.get("kind"), value.get("chunk_bytes")
    if kind not in ("group", "dataset"):
        raise wrong("kind of object")
    children, refused = _dict(value.get("children")), _dict(value.get("refused"))
    return Node(
        path=_text(value.get("path")),
        kind=kind,
        neurodata_type=_text(value.get("neurodata_type")),
        attributes=_attributes(_dict(value.get("attributes"))),
        children={name: _node(child, depth - 1, room) for name, child in children.items()},
        refused={name: _text(reason) for name, reason in refused.items()},
        shape=checked_shape(value.get("shape")),
        dtype=_text(value.get("dtype")),
        chunk_shape=checked_shape(value.get("chunk_shape")),
        chunk_bytes=None if chunk_bytes is None else _count(chunk_bytes),
    )


def _attributes(value: Dict[str, Any]) -> Dict[str, Attribute]:
    if len(value) > _MAX_ATTRIBUTES:
        raise wrong("number of attributes")
    return {
        name: [_scalar(item) for item in each] if isinstance(each, list) else _scalar(each)
        for name, each in value.items()
    }


def _scalar(value: object) -> Any:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise wrong("attribute")


def _dict(value: object) -> Dict[str, Any]:
    if not isinstance(value, dict) or len(value) > _MAX_NODES:
        raise wrong("group")
    return {_text(name): each for name, each in value.items()}


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise wrong("number")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > _MAX_CHARACTERS:
        raise wrong("text")
    return value


def wrong(what: str) -> NwbError:
    """Return the error for an answer that cannot be right.

    Args:
        what: What is wrong: a noun.
    """
    return NwbError(f"the reading process returned no valid {what}: the file is damaged")
