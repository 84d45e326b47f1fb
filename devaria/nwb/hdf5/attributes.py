"""Read attributes of a file that may be malicious: only short ones of simple types."""

import math
from typing import Any, Dict, List, Optional

import h5py
import numpy as np

from devaria.nwb.node import Attribute, Scalar

#: Most attributes of one object, most elements of one, and most bytes or characters of one.
_MAX_ATTRIBUTES, _MAX_ELEMENTS, _MAX_BYTES = 200, 64, 4_000

#: Longest name of an attribute.
_MAX_NAME_CHARACTERS = 200


def attributes(thing: Any) -> Dict[str, Attribute]:
    """Read the attributes of a group or dataset.

    Args:
        thing: An open ``h5py.Group`` or ``h5py.Dataset``.

    Returns:
        Those that are numbers, booleans, texts or short lists of these, by name.
    """
    found: Dict[str, Attribute] = {}
    for name, _ in zip(thing.attrs, range(_MAX_ATTRIBUTES)):
        if is_plain_name(name, _MAX_NAME_CHARACTERS):
            value = attribute(thing, name)
            if value is not None:
                found[name] = value
    return found


def is_plain_name(name: object, max_characters: int) -> bool:
    """Return whether a name is short and printable. h5py gives names that are no UTF-8 as bytes."""
    return isinstance(name, str) and len(name) <= max_characters and name.isprintable()


def attribute(thing: Any, name: str) -> Optional[Attribute]:
    """Read one attribute.

    Args:
        thing: An open ``h5py.Group`` or ``h5py.Dataset``.
        name: Name of the attribute.

    Returns:
        Its value; None if there is none, or it is long or of another type.
    """
    encoded = name.encode("utf-8", "surrogateescape")
    if not h5py.h5a.exists(thing.id, encoded):
        return None
    opened = h5py.h5a.open(thing.id, encoded)
    if not _is_simple(opened):
        return None
    value = thing.attrs[name]
    if isinstance(value, np.ndarray):
        items = [_scalar(item) for item in value.ravel().tolist()]
        known = [item for item in items if item is not None]
        return known if len(known) == len(items) else None
    return _scalar(value.item() if isinstance(value, np.generic) else value)


def neurodata_type(thing: Any) -> str:
    """Return the NWB type of a group or dataset; empty if it has none."""
    name = attribute(thing, "neurodata_type")
    return name if isinstance(name, str) else ""


def _is_simple(opened: Any) -> bool:
    if opened.get_storage_size() > _MAX_BYTES or math.prod(opened.shape) > _MAX_ELEMENTS:
        return False
    kinds: List[int] = [h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.STRING, h5py.h5t.ENUM]
    is_null = opened.get_space().get_simple_extent_type() == h5py.h5s.NULL
    return opened.get_type().get_class() in kinds and not is_null


def _scalar(value: Any) -> Optional[Scalar]:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    if isinstance(value, str):
        return value if len(value) <= _MAX_BYTES else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, (bool, int)) else None
