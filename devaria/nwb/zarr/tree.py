"""Paths, links and searches in a Zarr file. What there is stays in the file, and is bounded."""

import math
from collections import deque
from typing import Any, Deque, Dict, Iterator, List, Optional, Sequence, Tuple, Union

from devaria.common.text import one_line
from devaria.nwb.errors import NotInFileError, NwbError
from devaria.nwb.node import Attribute, Node, Scalar
from devaria.nwb.params import path_names
from devaria.nwb.zarr.documents import HIDDEN_ATTRIBUTES, Array, Group, keys_of, node_of
from devaria.nwb.zarr.stores import Store

#: Most links that are followed on one path. More mean a cycle.
_MAX_LINKS = 32

#: Limits of a search.
_MAX_GROUPS_SEARCHED, _MAX_ARRAYS_SEARCHED, _MAX_LISTED = 500, 1_000, 20

#: Most groups, arrays and broken links that one `look` describes, and most characters in it.
_MAX_NODES, _MAX_CHARACTERS = 2_000, 1_000_000

#: Most names in one group.
_MAX_NAMES = 5_000

#: Most attributes of one object, elements of one, characters of one; and of names.
_MAX_ATTRIBUTES, _MAX_ELEMENTS, _MAX_TEXT, _MAX_NAME = 200, 64, 4_000, 1_000

Thing = Union[Group, Array]


class Tree:
    """The groups and arrays of a file.

    Args:
        store: Has their documents.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def resolve(self, path: str, start: str = "") -> Thing:
        """Open a path, following links within the file.

        Args:
            path: Names separated by slashes.
            start: Path of the group where they start.

        Returns:
            What is there, with its path without links.

        Raises:
            NotInFileError: The path names nothing.
            NwbError: It leads out of the file, or its links form a cycle.
        """
        here = self._here(start, path)
        to_do: Deque[str] = deque(path_names(path))
        links = 0
        while to_do:
            name = to_do.popleft()
            child = f"{here.path}/{name}".lstrip("/")
            found = self.at([child])[0] if isinstance(here, Group) else None
            target = _soft_link(found) if found else _link(here, name)
            if target is None and found is None:
                raise NotInFileError(f"{one_line(path)} is not in the file")
            if target is None:
                here = found or here
                continue
            links += 1
            if links > _MAX_LINKS or ".." in path_names(target):
                raise NwbError(f"the link {one_line(name)!r} in the file leads nowhere")
            here = self._here("", path)
            to_do.extendleft(reversed(path_names(target)))
        return here

    def _here(self, start: str, path: str) -> Thing:
        here = self.at([start.strip("/")])[0]
        if here is None:
            raise NotInFileError(f"{one_line(path)} is not in the file")
        return here

    def at(self, paths: Sequence[str]) -> "List[Optional[Thing]]":
        """Return what is at some paths, whose names are no links; None where nothing is."""
        keys = [keys_of(path, self._store.version) for path in paths]
        documents = iter(self._store.documents([key for each in keys for key in each]))
        return [node_of(path, [next(documents) for _ in each]) for path, each in zip(paths, keys)]

    def children(self, group: Group) -> Dict[str, Thing]:
        """Return what lies in a group, by its name. Links are left out."""
        names = [name for name in self._store.names(group.path)[:_MAX_NAMES] if _is_usable(name)]
        found = self.at([f"{group.path}/{name}".lstrip("/") for name in names])
        return {name: thing for name, thing in zip(names, found) if thing is not None}

    def find(self, types: Sequence[str]) -> List[str]:
        """List the groups and arrays of some NWB types, as `browse.find_types` does."""
        found: List[str] = []
        arrays = 0
        for group, children in self._groups():
            if group.path and _type_of(group) in types:
                found.append(f"/{group.path}")
            for child in children.values():
                if isinstance(child, Array) and arrays < _MAX_ARRAYS_SEARCHED:
                    arrays += 1
                    if _type_of(child) in types:
                        found.append(f"/{child.path}")
            if len(found) >= _MAX_LISTED:
                break
        return found[:_MAX_LISTED]

    def units_tables(self) -> List[str]:
        """List the groups that have spike times, as `browse.find_units_tables` does."""
        found = [
            one_line(f"/{group.path}")
            for group, children in self._groups()
            if group.path and "spike_times" in children
        ]
        return found[:_MAX_LISTED]

    def look(self, path: str, depth: int) -> Node:
        """Describe a group or array, as `browse.look` does.

        Args:
            path: Its path.
            depth: How many levels below it to describe, 0 or more.

        Raises:
            NotInFileError: The path names nothing.
            NwbError: The path leads out of the file, or there is too much.
        """
        return _Looking(self).node(self.resolve(path), depth)

    def _groups(self) -> Iterator[Tuple[Group, Dict[str, Thing]]]:
        root = self.at([""])[0]
        to_do: Deque[Thing] = deque([root] if root else [])
        for _ in range(_MAX_GROUPS_SEARCHED):
            if not to_do:
                return
            group = to_do.popleft()
            if isinstance(group, Group) and _soft_link(group) is None:
                children = self.children(group)
                yield group, children
                to_do.extend(each for each in children.values() if isinstance(each, Group))


class _Looking:
    """One `look`: how much it may still describe."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._nodes, self._characters = _MAX_NODES, _MAX_CHARACTERS

    def node(self, thing: Thing, depth: int) -> Node:
        path, told = f"/{thing.path}", _attributes(thing)
        self._take(path, told)
        common: Dict[str, Any] = {
            "path": path,
            "kind": "group" if isinstance(thing, Group) else "dataset",
            "neurodata_type": _type_of(thing),
            "attributes": told,
        }
        if isinstance(thing, Array):
            has_chunks = thing.shape != ()
            return Node(
                **common,
                shape=thing.shape,
                dtype=thing.kind,
                chunk_shape=thing.chunks if has_chunks else (),
                chunk_bytes=thing.chunk_bytes if has_chunks else None,
            )
        if depth == 0:
            return Node(**common)
        children, refused = self._children(thing, depth - 1)
        return Node(**common, children=children, refused=refused)

    def _children(self, group: Group, depth: int) -> Tuple[Dict[str, Node], Dict[str, str]]:
        children: Dict[str, Node] = {}
        refused: Dict[str, str] = {}
        there: Dict[str, Optional[Thing]] = {**dict.fromkeys(_links(group))}
        there.update(self._tree.children(group))
        for name in sorted(there):
            thing = there[name]
            try:
                if thing is None or _soft_link(thing) is not None:
                    thing = self._tree.resolve(name, group.path)
            except NotInFileError:
                reason = "it is a link that leads nowhere"
            except NwbError as error:
                reason = str(error)
            else:
                children[name] = self.node(thing, depth)
                continue
            self._take(f"/{group.path}/{name}", {})
            refused[name] = reason
        return children, refused

    def _take(self, path: str, told: Dict[str, Attribute]) -> None:
        self._nodes -= 1
        if self._nodes < 0:
            raise NwbError(f"{one_line(path)} is one of more than {_MAX_NODES:,} objects: too many")
        self._characters -= len(path) + sum(len(name) + len(str(told[name])) for name in told)
        if self._characters < 0:
            raise NwbError(f"{one_line(path)} and others have too long names and attributes")


def _is_usable(name: object) -> bool:
    is_name = isinstance(name, str) and name not in ("", ".", "..") and "/" not in name
    return is_name and len(str(name)) <= _MAX_NAME and str(name).isprintable()


def _type_of(thing: Thing) -> str:
    name = thing.attributes.get("neurodata_type")
    return name if isinstance(name, str) and len(name) <= _MAX_TEXT else ""


def _soft_link(thing: Optional[Thing]) -> Optional[str]:
    """Return the target of a link of LINDI: a group of that name stands for it."""
    link = thing.attributes.get("_SOFT_LINK") if isinstance(thing, Group) else None
    path = link.get("path") if isinstance(link, dict) else None
    return path if isinstance(path, str) else None


def _links(group: Thing) -> List[str]:
    """Return the names of the links of hdmf-zarr in a group."""
    told = group.attributes.get("zarr_link")
    links = told if isinstance(told, list) else []
    names = [link.get("name") for link in links[:_MAX_NAMES] if isinstance(link, dict)]
    return [str(name) for name in names if _is_usable(name)]


def _link(group: Thing, name: str) -> Optional[str]:
    """Return the target of a link of hdmf-zarr, which lies in an attribute of its group."""
    told = group.attributes.get("zarr_link")
    for link in told if isinstance(told, list) else []:
        if isinstance(link, dict) and link.get("name") == name:
            if link.get("source") not in (".", "", None):
                raise NwbError(f"{one_line(name)!r} is a link to another file: it is not followed")
            path = link.get("path")
            return path if isinstance(path, str) else None
    return None


def _attributes(thing: Thing) -> Dict[str, Attribute]:
    found: Dict[str, Attribute] = {}
    for name, value in list(thing.attributes.items())[:_MAX_ATTRIBUTES]:
        told = _attribute(value)
        if told is not None and _is_usable(name) and name not in HIDDEN_ATTRIBUTES:
            found[name] = told
    return found


def _attribute(value: Any) -> Optional[Attribute]:
    if not isinstance(value, list):
        return _scalar(value)
    items = [_scalar(each) for each in value[: _MAX_ELEMENTS + 1]]
    known = [each for each in items if each is not None]
    fits = len(items) <= _MAX_ELEMENTS and sum(len(str(each)) for each in known) <= _MAX_TEXT
    return known if fits and len(known) == len(items) else None


def _scalar(value: Any) -> Optional[Scalar]:
    if isinstance(value, str):
        return value if len(value) <= _MAX_TEXT else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    is_short = isinstance(value, (bool, int)) and abs(value) < 2**64
    return value if is_short else None
