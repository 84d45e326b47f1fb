"""A column of a units table in an HDF5 file, in the shapes and forms that writers give them."""

from typing import Any, List

import h5py
import numpy as np
import numpy.typing as npt

from devaria.nwb.errors import NwbError
from devaria.nwb.hdf5.guards.inflation import read_column, refuse_inflation
from devaria.nwb.hdf5.guards.reads import read_slab
from devaria.nwb.hdf5.link_guard import safe_column
from devaria.nwb.hdf5.metadata import address_of
from devaria.nwb.limits import ReadLimits


class Column:
    """A column in a file: values along one axis. There may be others of length 1, or none at all.

    Args:
        group: The table.
        name: The column's name.
        file_bytes: Length of the file.
        limits: As for ``link_guard.refuse_unsafe``.

    Attributes:
        dataset: The dataset.
        name: Its name.
        axis: The number of the axis; 0 for a single value.

    Raises:
        NotInFileError: The table has no such column.
        NwbError: It has several axes that are longer than 1, or must not be read.
    """

    def __init__(self, group: h5py.Group, name: str, file_bytes: int, limits: ReadLimits) -> None:
        self.dataset = safe_column(group, name, file_bytes, limits)
        self.name = name
        long = [axis for axis, length in enumerate(self.dataset.shape) if length != 1]
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

    def values(self, count: int) -> "npt.NDArray[Any]":
        """Read the first values of a column.

        Args:
            count: How many: 1 or more if the column has no axis.

        Raises:
            NwbError: A chunk decompresses to more than it may.
        """
        if self.dataset.ndim == 0:
            return read_slab(self.dataset, ()).reshape(1)
        rest = tuple(slice(None) for _ in self.dataset.shape[1:])
        if self.axis > 0:
            rest = (*rest[: self.axis - 1], slice(0, count), *rest[self.axis :])
        num_rows = 1 if self.axis > 0 else count
        return read_column(self.dataset, num_rows, rest).reshape(-1)


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
    if index.dataset.ndim:
        refuse_inflation(index.dataset, range(index.dataset.shape[0]))
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
