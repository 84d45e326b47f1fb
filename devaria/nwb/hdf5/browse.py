"""Find and describe the groups and datasets of a file that may be malicious."""

import math
from collections import deque
from typing import Any, Deque, Dict, Iterator, List, Optional, Sequence, Set, Tuple

import h5py

from devaria.common.text import one_line
from devaria.nwb.errors import NotInFileError, NwbError
from devaria.nwb.hdf5.attributes import attributes, is_plain_name, neurodata_type
from devaria.nwb.hdf5.link_guard import resolve
from devaria.nwb.hdf5.metadata import address_of
from devaria.nwb.hdf5.pointers import header
from devaria.nwb.hdf5.remote_file import RemoteFile
from devaria.nwb.node import Attribute, Node

#: Limits of a search: each object may cost a request.
_MAX_GROUPS_SEARCHED = 500
_MAX_DATASETS_SEARCHED = 1_000
_MAX_LISTED = 20

#: A search fetches so many levels of groups ahead.
_MAX_LEVELS_AHEAD = 6

#: Most groups, datasets and broken links that one `look` describes, and most characters of all
#: texts in it: as JSON, a character may take twelve.
_MAX_NODES, _MAX_CHARACTERS = 2_000, 1_000_000

_MAX_NAME_CHARACTERS, _MAX_PATH_CHARACTERS = 1_000, 10_000


def find_units_tables(file: h5py.File) -> List[str]:
    """List the groups of a file that have spike times.

    Returns:
        Their paths, at most 20, those nearest to the root first. The search follows hard links
        only, visits a group once, and ends after 500 groups.
    """
    found = []
    for path, group in _groups(file):
        if path and group.get("spike_times", getlink=True) is not None:
            found.append(one_line(path))
        if len(found) == _MAX_LISTED:
            break
    return found


def find_types(file: h5py.File, types: Sequence[str]) -> List[str]:
    """List the groups and datasets of some NWB types.

    Args:
        file: An open file.
        types: Names of types, such as ``TimeSeries``.

    Returns:
        Their paths, at most 20, those nearest to the root first. The search follows hard links
        only, visits a group once, and ends after 500 groups and 1,000 datasets.
    """
    _fetch_below(file, file["/"], _MAX_LEVELS_AHEAD)
    found: List[str] = []
    datasets = 0
    for path, group in _groups(file):
        if not path.isprintable() or len(path) > _MAX_PATH_CHARACTERS:
            continue
        if path and neurodata_type(group) in types:
            found.append(path)
        for name in _hard_links(group, h5py.Dataset, _MAX_DATASETS_SEARCHED - datasets):
            datasets += 1
            if _is_usable(name) and neurodata_type(group[name]) in types:
                found.append(f"{path}/{name}")
        if len(found) >= _MAX_LISTED:
            break
    return found[:_MAX_LISTED]


def look(file: h5py.File, path: str, depth: int) -> Node:
    """Describe a group or dataset.

    Args:
        file: An open file.
        path: Its path.
        depth: How many levels below it to describe, 0 or more.

    Returns:
        What is there.

    Raises:
        NotInFileError: The path names nothing.
        NwbError: The path leads out of the file, or there are more than 2,000 objects, or more
            than a million characters in names and attributes.
    """
    thing, resolved = resolve(file["/"], "/", path)
    _fetch_below(file, thing, depth)
    return _node(thing, resolved, depth, _Room())


def kind_of(thing: Any) -> str:
    """Return ``"group"``, ``"dataset"`` or, for a stored type, ``"type"``."""
    if isinstance(thing, h5py.Group):
        return "group"
    return "dataset" if isinstance(thing, h5py.Dataset) else "type"


def _fetch_below(file: h5py.File, thing: Any, levels: int) -> None:
    """Fetch the headers of all objects at once, in place of one after another."""
    if isinstance(file, RemoteFile):
        file.metadata.search([header(address_of(thing), levels)])


class _Room:
    """How much one `look` may still describe."""

    def __init__(self) -> None:
        self._nodes, self._characters = _MAX_NODES, _MAX_CHARACTERS

    def take(self, path: str, told: Dict[str, Attribute]) -> None:
        """Count an object with its attributes."""
        self._nodes -= 1
        if self._nodes < 0:
            raise NwbError(f"{one_line(path)} is one of more than {_MAX_NODES:,} objects: too many")
        self._characters -= len(path) + sum(len(name) + _length(told[name]) for name in told)
        if self._characters < 0:
            raise NwbError(f"{one_line(path)} and others have too long names and attributes")


def _length(value: Attribute) -> int:
    if isinstance(value, list):
        return sum(map(_length, value))
    return len(value) if isinstance(value, str) else 20


def _node(thing: Any, path: str, depth: int, room: _Room) -> Node:
    told = attributes(thing)
    room.take(path, told)
    name = told.get("neurodata_type")
    common: Dict[str, Any] = {
        "path": path,
        "kind": kind_of(thing),
        "neurodata_type": name if isinstance(name, str) else "",
        "attributes": told,
    }
    if isinstance(thing, h5py.Group) and depth > 0:
        children, refused = _children(thing, path, depth - 1, room)
        return Node(**common, children=children, refused=refused)
    if isinstance(thing, h5py.Dataset):
        return Node(**common, **_values_of(thing))
    return Node(**common)


def _children(
    group: h5py.Group, path: str, depth: int, room: _Room
) -> Tuple[Dict[str, Node], Dict[str, str]]:
    children: Dict[str, Node] = {}
    refused: Dict[str, str] = {}
    for name in names_in(group, _MAX_NODES + 1):
        if not is_plain_name(name, _MAX_NAME_CHARACTERS):
            name, reason = one_line(str(name)), "its name is too long or not printable"
        else:
            try:
                child, child_path = resolve(group, path, name)
            except NotInFileError:
                reason = "it is a link that leads nowhere"
            except NwbError as error:
                reason = str(error)
            else:
                if kind_of(child) != "type":
                    children[name] = _node(child, child_path, depth, room)
                continue
        room.take(f"{path}/{name}", {})
        refused[name] = reason
    return children, refused


def names_in(group: h5py.Group, limit: int) -> List[Any]:
    """List the names in a group. h5py would list all, and there may be any number of them.

    Args:
        group: The group.
        limit: Most names.

    Returns:
        The first names, in h5py's order. Those that are no UTF-8 are bytes, as in h5py.
    """
    names: List[Any] = []

    def note(name: bytes) -> Optional[bool]:
        try:
            names.append(name.decode("utf-8"))
        except UnicodeDecodeError:
            names.append(name)
        return True if len(names) >= limit else None

    if limit > 0:
        order = group.id.get_create_plist().get_link_creation_order()
        is_tracked = order & h5py.h5p.CRT_ORDER_TRACKED
        by = h5py.h5.INDEX_CRT_ORDER if is_tracked else h5py.h5.INDEX_NAME
        group.id.links.iterate(note, idx_type=by)
    return names


def _is_usable(name: str) -> bool:
    return name.isprintable() and len(name) <= _MAX_NAME_CHARACTERS


def _values_of(dataset: h5py.Dataset) -> Dict[str, Any]:
    chunks = dataset.chunks
    name = type_name(dataset)
    item_bytes = dataset.id.get_type().get_size()
    return {
        "shape": (0,) if dataset.shape is None else dataset.shape,  # None: a null dataspace
        "dtype": name,
        "chunk_shape": chunks or (),
        "chunk_bytes": math.prod(chunks) * item_bytes if chunks else None,
    }


def type_name(dataset: h5py.Dataset) -> str:
    """Name the type of a dataset's values, as ``Node.dtype`` does."""
    try:
        dtype = dataset.dtype
    except (TypeError, ValueError):  # numpy has no such type
        return "unknown"
    if h5py.check_string_dtype(dtype) is not None:
        return "text"
    if h5py.check_ref_dtype(dtype) is not None:
        return "reference"
    if dtype.kind in "biufc":
        return str(dtype.str)
    if dtype.kind == "O":
        return "vlen"
    if dtype.subdtype is not None:
        return "array"
    return "compound" if dtype.names else "opaque"


def _groups(file: h5py.File) -> Iterator[Tuple[str, h5py.Group]]:
    """Visit each group once, those nearest to the root first."""
    to_do: Deque[Tuple[str, h5py.Group]] = deque([("", file["/"])])
    seen: Set[int] = set()
    while to_do and len(seen) < _MAX_GROUPS_SEARCHED:
        path, group = to_do.popleft()
        address = address_of(group)
        if address in seen:
            continue
        seen.add(address)
        yield path, group
        room = _MAX_GROUPS_SEARCHED - len(to_do)
        to_do.extend((f"{path}/{n}", group[n]) for n in _hard_links(group, h5py.Group, room))


def _hard_links(group: h5py.Group, kind: Any, limit: int) -> Iterator[str]:
    for name in names_in(group, limit):
        is_hard = isinstance(group.get(name, getlink=True), h5py.HardLink)
        if is_hard and group.get(name, getclass=True) is kind:
            yield name
