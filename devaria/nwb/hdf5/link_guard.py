"""Open groups and datasets of an HDF5 file without leaving the file.

HDF5 can refer to other files by external links, external storage and virtual datasets. A hostile
file could name files of this machine, whose content would then be published in a figure. So no
whole path is passed to HDF5: each link is checked before it is followed.
"""

import math
from collections import deque
from typing import Any, Deque, List, Tuple

import h5py

from devaria.common.text import one_line
from devaria.nwb.errors import NotInFileError, NwbError
from devaria.nwb.hdf5.filters import refuse_unknown_filters
from devaria.nwb.limits import ReadLimits
from devaria.nwb.params import path_names

#: Most soft links that are followed on one path. More mean a cycle.
MAX_SOFT_LINKS = 32


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
    return resolve(start, "", path)[0]


def resolve(start: h5py.Group, start_path: str, path: str) -> Tuple[Any, str]:
    """Open a path as ``follow`` does, and tell where it leads.

    Args:
        start: The group where a relative path starts.
        start_path: Path of that group, without soft links.
        path: Names separated by slashes. A leading slash means the root.

    Returns:
        The object, and its path without soft links.

    Raises:
        NotInFileError: The path names nothing.
        NwbError: The path leads out of the file, or its soft links form a cycle.
    """
    is_absolute = path.startswith("/")
    here: Any = start.file["/"] if is_absolute else start
    names: List[str] = [] if is_absolute else path_names(start_path)
    to_do: Deque[str] = deque(path_names(path))
    soft_links = 0
    while to_do:
        name = to_do.popleft()
        link = here.get(name, getlink=True) if isinstance(here, h5py.Group) else None
        if isinstance(link, h5py.HardLink):
            here = here[name]
            names.append(name)
        elif isinstance(link, h5py.SoftLink):
            soft_links += 1
            if soft_links > MAX_SOFT_LINKS or ".." in path_names(link.path):
                raise NwbError(f"the soft link {one_line(name)!r} in the file leads nowhere")
            if link.path.startswith("/"):
                here, names = here.file["/"], []
            to_do.extendleft(reversed(path_names(link.path)))
        elif link is None:
            raise NotInFileError(f"{one_line(path)} is not in the file")
        else:
            raise NwbError(f"{one_line(name)!r} is a link to another file, which is not followed")
    return here, "/" + "/".join(names)


def safe_column(group: h5py.Group, name: str, file_bytes: int, limits: ReadLimits) -> h5py.Dataset:
    """Open a dataset with one axis whose values are all stored in this file.

    MATLAB writes other axes of length 1 beside it, or none for a single value.

    Args:
        group: The group that holds the dataset.
        name: Name of the dataset in the group.
        file_bytes: Length of the file.
        limits: As for ``refuse_unsafe``.

    Returns:
        The dataset.

    Raises:
        NotInFileError: The group has no such name.
        NwbError: It has another shape, or ``refuse_unsafe`` refuses it.
    """
    dataset = follow(group, name)
    shape = dataset.shape if isinstance(dataset, h5py.Dataset) else None
    if shape is None or len(shape) - shape.count(1) > 1:
        raise NwbError(f"{name} is not a one-dimensional dataset")
    refuse_unsafe(dataset, name, file_bytes, limits)
    return dataset


def refuse_unsafe(dataset: h5py.Dataset, name: str, file_bytes: int, limits: ReadLimits) -> None:
    """Refuse a dataset whose values are not all stored in this file.

    For one in chunks, its declared size is compared with the length of the file only. Once its
    stored bytes are known, the caller compares these with ``refuse_expansion``.

    Args:
        dataset: A dataset of any shape.
        name: Its name, for the error.
        file_bytes: Length of the file.
        limits: The largest chunk, and the largest ratio of declared to stored bytes.

    Raises:
        NwbError: It refers to another file, has a filter not known here, or declares far more
            values than the file can hold.
    """
    if dataset.external:
        raise NwbError(f"{name} keeps its values in another file (external storage): refused")
    if dataset.is_virtual:
        raise NwbError(f"{name} takes its values from other datasets (virtual dataset): refused")
    refuse_unknown_filters(dataset, name)
    _refuse_bombs(dataset, name, file_bytes, limits)


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


def _refuse_bombs(dataset: h5py.Dataset, name: str, file_bytes: int, limits: ReadLimits) -> None:
    item_bytes = dataset.dtype.itemsize
    chunk_bytes = math.prod(dataset.chunks or ()) * item_bytes
    if chunk_bytes > limits.max_chunk_bytes:
        raise NwbError(f"{name} has chunks of {chunk_bytes:,} bytes: too large")
    # For a dataset in chunks, HDF5 would add up the sizes over an index of any length.
    stored = file_bytes if dataset.chunks else dataset.id.get_storage_size()
    if stored > file_bytes:
        raise NwbError(f"{name} claims to be larger than the file: the file is damaged")
    refuse_expansion(name, math.prod(dataset.shape), item_bytes, stored, limits)
