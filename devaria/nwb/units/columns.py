"""The columns of a units table, in the shapes and forms that writers give them."""

from typing import Any, List

import h5py
import numpy as np
import numpy.typing as npt

from devaria.nwb.errors import NwbError
from devaria.nwb.hdf5.chunks import refuse_inflation
from devaria.nwb.hdf5.link_guard import follow, refuse_unsafe
from devaria.nwb.hdf5.metadata import address_of
from devaria.nwb.limits import ReadLimits


class Column:
    """A dataset whose values lie along one axis. MATLAB writes others of length 1, or none at all.

    Args:
        dataset: The dataset, which ``link_guard.refuse_unsafe`` has accepted.
        name: Its name, for errors.

    Attributes:
        dataset: The dataset.
        name: Its name.
        axis: The number of the axis; 0 for a single value.

    Raises:
        NwbError: It has several axes that are longer than 1.
    """

    def __init__(self, dataset: h5py.Dataset, name: str) -> None:
        shape = dataset.shape
        long = [] if shape is None else [axis for axis in range(len(shape)) if shape[axis] != 1]
        if shape is None or len(long) > 1:
            raise NwbError(f"{name} is not a one-dimensional dataset")
        self.dataset = dataset
        self.name = name
        self.axis: int = long[0] if long else 0

    def __len__(self) -> int:
        return int(self.dataset.shape[self.axis]) if self.dataset.ndim else 1

    def refuse_others(self, kinds: str) -> None:
        """Refuse values of other types.

        Args:
            kinds: The kinds of numbers that are accepted, as numpy names them.

        Raises:
            NwbError: The column holds others.
        """
        if self.dataset.dtype.kind not in kinds:
            expected = "real numbers" if "f" in kinds else "integers"
            raise NwbError(f"{self.name} holds {self.dataset.dtype}, not {expected}")

    def item(self, row: int) -> Any:
        """Read one value.

        Args:
            row: Its number.
        """
        place: List[int] = [0] * self.dataset.ndim
        if place:
            place[self.axis] = row
        return self.dataset[tuple(place)]

    def values(self) -> "npt.NDArray[Any]":
        """Read all values of a short column.

        Raises:
            NwbError: A chunk decompresses to more than it may.
        """
        if self.dataset.ndim:
            refuse_inflation(self.dataset, range(self.dataset.shape[0]))
        return np.asarray(self.dataset[()]).reshape(-1)


def open_column(group: h5py.Group, name: str, file_bytes: int, limits: ReadLimits) -> Column:
    """Open a column whose values are all stored in this file.

    Args:
        group: The table.
        name: The column's name.
        file_bytes: Length of the file.
        limits: As for ``link_guard.refuse_unsafe``.

    Raises:
        NotInFileError: The table has no such column.
        NwbError: It has another shape, or must not be read.
    """
    dataset = follow(group, name)
    if not isinstance(dataset, h5py.Dataset):
        raise NwbError(f"{name} is not a one-dimensional dataset")
    column = Column(dataset, name)
    refuse_unsafe(dataset, name, file_bytes, limits)
    return column


def holds_regions(column: Column) -> bool:
    """Return whether a column holds region references, as the index did in NWB 2.0 beta."""
    return h5py.check_ref_dtype(column.dataset.dtype) is h5py.RegionReference


def stops_of_regions(index: Column, times: Column) -> "npt.NDArray[np.int64]":
    """Read an index of region references, each of which names the spike times of one unit.

    Args:
        index: The references.
        times: The spike times.

    Returns:
        For each unit, the position after its last spike, as in the index of NWB 2.

    Raises:
        NwbError: A reference leads elsewhere, or the regions do not follow each other.
    """
    stops = np.empty(len(index), np.int64)
    end = 0
    for row in range(len(index)):
        end = _region_stop(index.item(row), times, end)
        stops[row] = end
    return stops


def _region_stop(reference: Any, times: Column, start: int) -> int:
    """Return where a region ends that starts here; an empty one ends where it starts."""
    file_id = times.dataset.file.id
    if not reference:
        return start
    target = h5py.h5r.dereference(reference, file_id)
    if not isinstance(target, h5py.h5d.DatasetID) or _address(target) != _address(times.dataset.id):
        raise _wrong_regions("a reference leads elsewhere than to spike_times")
    region = h5py.h5r.get_region(reference, file_id)
    count: int = region.get_select_npoints()
    if count == 0:
        return start
    first, last = (int(bound[times.axis]) for bound in region.get_select_bounds())
    if (first, last + 1) != (start, start + count):
        raise _wrong_regions("the units do not follow each other")
    return last + 1


def _address(dataset: "h5py.h5d.DatasetID") -> int:
    return address_of(h5py.Dataset(dataset))


def _wrong_regions(fault: str) -> NwbError:
    return NwbError(
        "spike_times_index holds region references, the form of NWB 2.0 beta (2018), of a kind "
        f"that is not known here: {fault}. Convert the file to NWB 2"
    )
