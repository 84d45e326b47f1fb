"""Check what a caller asks for before the reading process gets it."""

from operator import index
from typing import TYPE_CHECKING, Any, List, Optional

from devaria.nwb.errors import InvalidInputError

if TYPE_CHECKING:
    import numpy as np


def bounds(rows: Optional[slice]) -> List[Optional[int]]:
    """Check a slice of rows, and return it as JSON has it.

    Args:
        rows: A slice of whole numbers with a step of 1 or more; None for all rows.

    Returns:
        Start, stop and step.

    Raises:
        InvalidInputError: It is no such slice.
    """
    if rows is None:
        return [None, None, None]
    if not isinstance(rows, slice):
        raise InvalidInputError("rows must be a slice, such as slice(0, 100)")
    try:
        bounds = [None if each is None else index(each) for each in (rows.start, rows.stop)]
        step = 1 if rows.step is None else index(rows.step)
    except TypeError:
        raise InvalidInputError("rows must be a slice of whole numbers") from None
    if step < 1:
        raise InvalidInputError(f"rows must be a slice with a step of 1 or more, not {step}")
    return [*bounds, step]


def result_type(dtype: Any) -> "Optional[np.dtype[Any]]":
    """Check the type that a caller wants.

    Args:
        dtype: Anything that numpy takes as a type; None for the type of the dataset.

    Returns:
        The type, in this machine's byte order.

    Raises:
        InvalidInputError: It is no type of numbers.
    """
    if dtype is None:
        return None
    import numpy as np

    try:
        found: np.dtype[Any] = np.dtype(dtype).newbyteorder("=")
    except TypeError:
        raise _no_number_type() from None
    if found.kind not in "biufc":
        raise _no_number_type()
    return found


def _no_number_type() -> InvalidInputError:
    return InvalidInputError("dtype must be a type of numbers, such as float32")


def type_name(dtype: "Optional[np.dtype[Any]]") -> Optional[str]:
    """Return the name of a type of ``result_type``, as JSON has it."""
    return None if dtype is None else dtype.str
