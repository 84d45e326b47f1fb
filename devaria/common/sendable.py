"""What can be sent to the worker: ids, names and numbers that were read from a file or a pipe."""

import math
import re
from typing import Any

_MAX_CHARACTERS = 1_000

#: URLs and headers carry ids: no control characters, and no white space at the ends.
_ID = re.compile(r"[!-~](?:[ -~]*[!-~])?")


def is_text(value: Any) -> bool:
    """Return whether a value is an id, a name or a URL as the worker and its clients use them.

    It is then a string of 1 to 1,000 printable characters; none is a lone surrogate, which no URL
    can carry.
    """
    return isinstance(value, str) and 0 < len(value) <= _MAX_CHARACTERS and value.isprintable()


def is_id(value: Any) -> bool:
    """Return whether a value can be sent as the id of a job or a runner."""
    return is_text(value) and _ID.fullmatch(value) is not None


def is_number(value: Any) -> bool:
    """Return whether a value is a number that JSON and a double can hold."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond 1.8e308
        return False
