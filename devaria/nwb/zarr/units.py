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
        self._ids = ids
        self.num_times: int = self._times.shape[0]
        self.times_dtype: np.dtype[Any] = np.dtype(times.kind)
        # Usually all of them are wanted, so their fetching starts before the index is there.
        self._times.begin()

    def index(self, max_rows: int) -> "npt.NDArray[Any]":
        """Read ``spike_times_index``."""
        refuse_many_rows(self._index.shape[0], max_rows)
        return self._read(self._index)

    def unit_ids(self, rows: "npt.NDArray[np.int64]", num_rows: int) -> List[str]:
        """Read the ids of some rows."""
        if self._ids is None:
            return [str(row) for row in rows]
        refuse_few_ids(self._ids.grid[0] if self._ids.grid else 0, num_rows)
        if self._ids.kind == "text":
            texts = self._file.texts_of(self._ids, num_rows, MAX_ID_CHARACTERS)
            return [id_text(texts[row]) for row in rows]
        if self._ids.kind[1:2] not in ("i", "u", "f", "b"):
            raise NwbError(
                "the ids of the units are neither numbers nor short strings: " + self._ids.kind
            )
        values = self._read(self._file.wanted_of(self._ids, (0, num_rows, 1)))
        return [id_text(values[row]) for row in rows]

    def read_times(self, count: int, consume: Consume, progress: ReadProgress) -> None:
        """Read the first spike times. This may be done again."""
        times, self._times = self._times or self._file.wanted_of(self._array, _ALL), None
        times.read_into(count, consume, progress)

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
        if not isinstance(found, Array) or len(found.shape) != 1:
            raise NwbError(f"{name} is not a one-dimensional dataset")
        return found

    def _numbers(self, array: Array, name: str, kinds: str) -> WantedRows:
        if array.kind[1:2] not in kinds:
            expected = "real numbers" if "f" in kinds else "integers"
            raise NwbError(f"{name} holds {array.kind}, not {expected}")
        return self._file.wanted_of(array, _ALL)

    def _read(self, wanted: WantedRows) -> "npt.NDArray[Any]":
        wanted.plan()
        return wanted.read(lambda _done, _total: None)
