"""Read attributes of a file that may be malicious: only short ones of simple types."""

import math
from typing import Any, Dict, List, Optional

import h5py
import numpy as np

from devaria.nwb.hdf5.guards.reads import reading_attributes
from devaria.nwb.node import Attribute, Scalar

#: Most attributes of one object, most elements of one, and most bytes or characters of one.
_MAX_ATTRIBUTES, _MAX_ELEMENTS, _MAX_BYTES = 200, 64, 4_000

#: Attributes of an object that has more are not looked at: HDF5 reads them all to list them.
_MAX_LISTED = 4_096

#: Longest name of an attribute.
_MAX_NAME_CHARACTERS = 200


def attributes(thing: Any) -> Dict[str, Attribute]:
    """Read the attributes of a group or dataset.

    Args:
        thing: An open ``h5py.Group`` or ``h5py.Dataset``.

    Returns:
        Those that are numbers, booleans, texts or short lists of these, by name; none if there are
        thousands.
    """
    found: Dict[str, Attribute] = {}
    if h5py.h5a.get_num_attrs(thing.id) > _MAX_LISTED:
        return found
    with reading_attributes():
        for name, _ in zip(thing.attrs, range(_MAX_ATTRIBUTES)):
            if is_plain_name(name, _MAX_NAME_CHARACTERS):
                value = _value(thing, name)
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
    with reading_attributes():
        return _value(thing, name)


def _value(thing: Any, name: str) -> Optional[Attribute]:
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
    kinds: List[int] = [h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.STRING, h5py.h5t.ENUM]
    stored_type = opened.get_type()
    if stored_type.get_class() not in kinds:
        return False
    if opened.get_space().get_simple_extent_type() == h5py.h5s.NULL:
        return False
    count: int = math.prod(opened.shape)
    item_bytes: int = stored_type.get_size()
    return count <= _MAX_ELEMENTS and count * item_bytes <= _MAX_BYTES


def _scalar(value: Any) -> Optional[Scalar]:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    if isinstance(value, str):
        return value if len(value) <= _MAX_BYTES else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, (bool, int)) else None
