"""Open groups and datasets of an HDF5 file without leaving the file.

HDF5 can refer to other files by external links, external storage and virtual datasets. A hostile
file could name files of this machine, whose content would then be published in a figure. So no
whole path is passed to HDF5: each link is checked before it is followed.
"""

from collections import deque
from typing import Any, Deque, Iterable, List, Set, Tuple

import h5py

from devaria.common.text import one_line
from devaria.nwb.errors import NwbError
from devaria.nwb.limits import ReadLimits
from devaria.nwb.params import path_names

#: Most soft links that are followed on one path. More mean a cycle.
MAX_SOFT_LINKS = 32

#: Limits of the search for units tables: each group may cost a request.
_MAX_GROUPS_SEARCHED = 500
_MAX_TABLES_LISTED = 20


class NotInFileError(Exception):
    """A path names nothing in the file."""


def follow(start: h5py.Group, path: str) -> Any:
    """Open a path, following hard links and soft links within the file.

    Args:
        start: The group where a relative path starts.
        path: Names separated by slashes. A leading slash means the root.

    Returns:
        An ``h5py.Group``, ``h5py.Dataset`` or ``h5py.Datatype``.

    Raises:
        NotInFileError: The path names nothing.
        NwbError: The path leads out of the file, or its soft links form a cycle.
    """
    here: Any = start.file["/"] if path.startswith("/") else start
    to_do: Deque[str] = deque(path_names(path))
    soft_links = 0
    while to_do:
        name = to_do.popleft()
        link = here.get(name, getlink=True) if isinstance(here, h5py.Group) else None
        if isinstance(link, h5py.HardLink):
            here = here[name]
        elif isinstance(link, h5py.SoftLink):
            soft_links += 1
            if soft_links > MAX_SOFT_LINKS or ".." in path_names(link.path):
                raise NwbError(f"the soft link {one_line(name)!r} in the file leads nowhere")
            here = here.file["/"] if link.path.startswith("/") else here
            to_do.extendleft(reversed(path_names(link.path)))
        elif link is None:
            raise NotInFileError(name)
        else:
            raise NwbError(f"{one_line(name)!r} is a link to another file, which is not followed")
    return here


def safe_dataset(group: h5py.Group, name: str, file_bytes: int, limits: ReadLimits) -> h5py.Dataset:
    """Open a one-dimensional dataset whose values are all stored in this file.

    Args:
        group: The group that holds the dataset.
        name: Name of the dataset in the group.
        file_bytes: Length of the file.
        limits: The largest chunk, and the largest ratio of declared to stored bytes.

    Returns:
        The dataset. For one in chunks, its declared size is compared with the length of the file
        only. Once its stored bytes are known, the caller compares these with
        ``refuse_expansion``.

    Raises:
        NotInFileError: The group has no such name.
        NwbError: It is not such a dataset, refers to another file, or declares far more values
            than the file can hold.
    """
    dataset = follow(group, name)
    if not isinstance(dataset, h5py.Dataset) or dataset.ndim != 1:
        raise NwbError(f"{name} is not a one-dimensional dataset")
    if dataset.external:
        raise NwbError(f"{name} keeps its values in another file (external storage): refused")
    if dataset.is_virtual:
        raise NwbError(f"{name} takes its values from other datasets (virtual dataset): refused")
    _refuse_unknown_filters(dataset, name)
    _refuse_bombs(dataset, name, file_bytes, limits)
    return dataset


def refuse_expansion(
    name: str, num_values: int, item_bytes: int, stored_bytes: int, limits: ReadLimits
) -> None:
    """Refuse values that were never stored, and that HDF5 would fill in.

    Args:
        name: Name of the dataset, for the error.
        num_values: Number of values that the dataset declares.
        item_bytes: Length of a value.
        stored_bytes: Stored bytes of all values.
        limits: The largest ratio of declared to stored bytes.

    Raises:
        NwbError: The ratio is larger.
    """
    if num_values * item_bytes > stored_bytes * limits.max_expansion:
        raise NwbError(
            f"{name} declares {num_values:,} values, but only {stored_bytes:,} bytes are stored"
        )


def find_units_tables(file: h5py.File) -> List[str]:
    """List the groups of a file that have spike times.

    Returns:
        Their paths, at most 20, those nearest to the root first. The search follows hard links
        only, visits a group once, and ends after 500 groups.
    """
    found: List[str] = []
    to_do: Deque[Tuple[str, h5py.Group]] = deque([("", file["/"])])
    seen: Set[int] = set()
    while to_do and len(seen) < _MAX_GROUPS_SEARCHED and len(found) < _MAX_TABLES_LISTED:
        path, group = to_do.popleft()
        address = int(h5py.h5o.get_info(group.id).addr)
        if address in seen:
            continue
        seen.add(address)
        if path and _has_link(group, "spike_times"):
            found.append(one_line(path))
        to_do.extend(_groups_within(group, path, _MAX_GROUPS_SEARCHED - len(to_do)))
    return found


def _groups_within(group: h5py.Group, path: str, limit: int) -> Iterable[Tuple[str, h5py.Group]]:
    for name, _ in zip(group, range(max(0, limit))):
        is_hard = isinstance(group.get(name, getlink=True), h5py.HardLink)
        if is_hard and group.get(name, getclass=True) is h5py.Group:
            yield f"{path}/{name}", group[name]


def _has_link(group: h5py.Group, name: str) -> bool:
    return group.get(name, getlink=True) is not None


def _refuse_unknown_filters(dataset: h5py.Dataset, name: str) -> None:
    plist = dataset.id.get_create_plist()
    for position in range(plist.get_nfilters()):
        code, _, _, label = plist.get_filter(position)
        if not h5py.h5z.filter_avail(code):
            shown = one_line(label.decode("ascii", "replace"))
            raise NwbError(f"{name} is compressed by a filter not known here: {code} ({shown})")


def _refuse_bombs(dataset: h5py.Dataset, name: str, file_bytes: int, limits: ReadLimits) -> None:
    item_bytes = dataset.dtype.itemsize
    if dataset.chunks and dataset.chunks[0] * item_bytes > limits.max_chunk_bytes:
        raise NwbError(f"{name} has chunks of {dataset.chunks[0] * item_bytes:,} bytes: too large")
    # For a dataset in chunks, HDF5 would add up the sizes over an index of any length.
    stored = file_bytes if dataset.chunks else dataset.id.get_storage_size()
    if stored > file_bytes:
        raise NwbError(f"{name} claims to be larger than the file: the file is damaged")
    refuse_expansion(name, dataset.shape[0], item_bytes, stored, limits)
