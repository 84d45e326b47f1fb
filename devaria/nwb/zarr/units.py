"""The columns of a units table in a Zarr file."""

from typing import TYPE_CHECKING, Any, List, Optional

import numpy as np
import numpy.typing as npt

from devaria.nwb.decoding.pipeline import Consume
from devaria.nwb.decoding.wanted import ReadProgress, WantedRows
from devaria.nwb.errors import NotInFileError, NwbError
from devaria.nwb.units.build import (
    MAX_ID_CHARACTERS,
    id_text,
    no_table,
    nothing,
    refuse_few_ids,
    refuse_many_rows,
)
from devaria.nwb.zarr.documents import Array, Group

if TYPE_CHECKING:
    from devaria.nwb.zarr.container import ZarrContainer

_ALL = (None, None, None)

_NAMES = ("spike_times", "spike_times_index", "id")


class ZarrColumns:
    """The columns of a units table.

    Args:
        file: The open file.
        path: The table's path.

    Attributes:
        num_times: How many spike times there are.
        times_dtype: Their type in the file.

    Raises:
        InvalidInputError: The path is not that of a units table.
        NwbError: A column is missing, or is not what it must be.
    """

    def __init__(self, file: "ZarrContainer", path: str) -> None:
        self._file = file
        group = self._group(path)
        times, index, ids = (self._column(group, name) for name in _NAMES)
        if times is None:
            raise no_table(
                path, "is not a units table: it has no spike_times", file.tree.units_tables()
            )
        if index is None:
            raise NwbError("the units table has no spike_times_index")
        self._array = times
        self._times: Optional[WantedRows] = self._numbers(times, "spike_times", "iuf")
        self._index = self._numbers(index, "spike_times_index", "iu")
        self._num_rows = _length(index)
        self._ids = ids
        self.num_times = _length(times)
        self.times_dtype: np.dtype[Any] = np.dtype(times.kind)
        # Usually all of them are wanted, so their fetching starts before the index is there.
        self._times.begin()

    def index(self, max_rows: int) -> "npt.NDArray[Any]":
        """Read ``spike_times_index``."""
        refuse_many_rows(self._num_rows, max_rows)
        return self._read(self._index)

    def unit_ids(self, rows: "npt.NDArray[np.int64]", num_rows: int) -> List[str]:
        """Read the ids of some rows."""
        if self._ids is None:
            return [str(row) for row in rows]
        refuse_few_ids(_length(self._ids), num_rows)
        if self._ids.kind == "text":
            texts = self._file.texts_of(self._ids, num_rows, MAX_ID_CHARACTERS)
            return [id_text(texts[row]) for row in rows]
        if self._ids.kind[1:2] not in ("i", "u", "f", "b"):
            raise NwbError(
                "the ids of the units are neither numbers nor short strings: " + self._ids.kind
            )
        wanted = (0, num_rows, 1) if self._ids.shape and not _axis(self._ids) else _ALL
        values = self._read(self._file.wanted_of(self._ids, wanted))
        return [id_text(values[row]) for row in rows]

    def read_times(self, count: int, consume: Consume, progress: ReadProgress) -> None:
        """Read the first spike times. This may be done again."""
        times, self._times = self._times or self._file.wanted_of(self._array, _ALL), None
        if len(self._array.shape) == 1:
            times.read_into(count, consume, progress)
        else:  # rows are read whole
            consume((slice(0, count),), self._read(times, progress)[:count])

    def _group(self, path: str) -> Group:
        tree = self._file.tree
        try:
            group = tree.resolve(path)
        except NotInFileError:
            raise no_table(path, "is not in the file", tree.units_tables()) from None
        if not isinstance(group, Group):
            fault = "is a dataset, not a units table"
            raise no_table(path, fault, tree.units_tables())
        return group

    def _column(self, group: Group, name: str) -> Optional[Array]:
        try:
            found = self._file.tree.resolve(name, group.path)
        except NotInFileError:
            return None
        if not isinstance(found, Array) or len(found.shape) - found.shape.count(1) > 1:
            raise NwbError(f"{name} is not a one-dimensional dataset")
        return found

    def _numbers(self, array: Array, name: str, kinds: str) -> WantedRows:
        if array.kind[1:2] not in kinds:
            expected = "real numbers" if "f" in kinds else "integers"
            raise NwbError(f"{name} holds {array.kind}, not {expected}")
        return self._file.wanted_of(array, _ALL)

    def _read(self, wanted: WantedRows, progress: ReadProgress = nothing) -> "npt.NDArray[Any]":
        wanted.plan()
        return wanted.read(progress).reshape(-1)


def _axis(array: Array) -> int:
    """Return the number of the axis along which a column lies: there may be others of length 1."""
    return next((axis for axis, length in enumerate(array.shape) if length != 1), 0)


def _length(array: Array) -> int:
    return array.shape[_axis(array)] if array.shape else 1
