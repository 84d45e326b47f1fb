"""Any JSON value, as hypothesis makes them, and as a client sends them."""

import json
import re
from typing import Any

from hypothesis import strategies as st

#: Any text that Python can hold, lone surrogates included.
TEXTS = st.text(st.characters(codec=None, exclude_categories=()), max_size=20)

#: Any JSON value, infinite numbers included. Small containers are enough to nest in every way, and
#: large ones take most of a test's time.
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)

_STRING_OR_INFINITY = re.compile(r'("(?:[^"\\]|\\.)*")|Infinity')


def wire(value: Any) -> bytes:
    """Write a value as some client does; an infinite number as one that no double can hold."""
    text = json.dumps(value)
    return _STRING_OR_INFINITY.sub(lambda match: match[1] or "1e999", text).encode("ascii")
