"""Open datasets of a file that may be malicious, and read those of numbers."""

from typing import Any, Dict, Iterator, List

import h5py
import numpy as np
import numpy.typing as npt

from devaria.common.text import one_line
from devaria.nwb.decoding.pipeline import Consume
from devaria.nwb.decoding.wanted import Empty, ReadProgress, Rows, WantedRows, put
from devaria.nwb.decoding.wanted import read_each as read_wanted
from devaria.nwb.errors import InvalidInputError, NwbError
from devaria.nwb.hdf5.browse import kind_of, type_name
from devaria.nwb.hdf5.chunk_index import SharedPlaces
from devaria.nwb.hdf5.guards.reads import read_slab
from devaria.nwb.hdf5.link_guard import follow, refuse_unsafe
from devaria.nwb.hdf5.metadata import address_of
from devaria.nwb.hdf5.values import MAX_CHUNKS_AHEAD, RowsReader
from devaria.nwb.limits import ReadLimits

#: A dataset that is so many times as long as the whole file is looked at more closely.
_USUAL_EXPANSION = 16


class Wanted(WantedRows):
    """Wanted rows of a dataset of numbers, whose values are all stored in the file.

    Args:
        file: An open file.
        path: Path of the dataset.
        rows: The rows, as ``slice`` has them.
        dtype: Type of the result, as numpy names it; None for the type of the dataset.
        file_bytes: Length of the file.
        limits: How much is read at most.
        empty: Makes the arrays for the values.

    Attributes:
        dataset: The dataset.
        shape: Lengths of the dataset's axes.
        num_bytes: Length of the values.

    Raises:
        NotInFileError: The path names nothing.
        InvalidInputError: The path names no dataset; or a single value, which has no rows; or its
            values cannot become of that type.
        NwbError: It holds no numbers, or must not be read.
    """

    def __init__(
        self,
        file: h5py.File,
        path: str,
        rows: Rows,
        dtype: Any,
        file_bytes: int,
        limits: ReadLimits,
        empty: Empty = np.empty,
    ) -> None:
        shown = one_line(path)
        self._file_bytes = file_bytes
        self.dataset = opened_dataset(file, path, file_bytes, limits)
        if type_name(self.dataset)[:1] not in ("<", ">", "|"):
            raise NwbError(f"{shown} holds {type_name(self.dataset)}, not numbers")
        shape, stored = self.dataset.shape, self.dataset.dtype
        super().__init__(shown, shape, stored, rows, dtype, limits, empty)
        if self._has_values:
            told = (shown, self._rows, file_bytes, limits)
            self._reader = RowsReader(file, self.dataset, *told)

    def share(self, places: SharedPlaces) -> None:
        """Find the chunks together with others that are wanted of the dataset.

        Args:
            places: The places of the chunks.
        """
        if self._has_values:
            self._reader.share(places)

    def fetch_index(self) -> None:
        """Start to fetch what is needed to find the values."""
        if self._has_values:
            self._reader.fetch_index()

    @property
    def index_chunks(self) -> int:
        """How many chunks the index has up to the last wanted one; 0 without chunks."""
        return self._reader.index_chunks if self._has_values else 0

    def plan(self) -> None:
        """Start to fetch all values, as far as that helps.

        Raises:
            NwbError: The values are more than the limit, or cannot be found.
        """
        if self._has_values and self._reader.reads_whole():
            self._refuse_size(self.num_bytes)
        else:
            super().plan()

    def read(self, progress: ReadProgress) -> "npt.NDArray[Any]":
        """Read all values, after `plan`.

        Args:
            progress: Called with what is read and what is to be read, in any unit.

        Returns:
            The values, with an axis of the wanted rows first; for a single value, without axes.

        Raises:
            NwbError: The values cannot be read.
        """
        if not self._has_values or not self._reader.reads_whole():
            return super().read(progress)
        if self.num_bytes > _USUAL_EXPANSION * self._file_bytes:
            # Before memory is taken for it; HDF5 adds up the lengths of all chunks.
            self._reader.refuse_expansion(int(self.dataset.id.get_storage_size()))
        values = self._empty((len(self._rows), *self._row_shape), self._dtype)
        self.read_into(len(values), lambda where, part: put(values, where, part), progress)
        return values

    def begin(self) -> None:
        """Do nothing: `read_into` looks at where the chunks lie."""

    def read_into(self, count: int, consume: Consume, progress: ReadProgress) -> None:
        """Read the first of the wanted rows, in any order.

        Args:
            count: How many.
            consume: Called with the values, perhaps by several threads.
            progress: Called with bytes read and bytes in all.

        Raises:
            NwbError: The values cannot be read.
        """
        if count and self._has_values:
            self._reader.survey()
            self._reader.shorten(count)
            self._reader.read_all(consume, progress)

    @property
    def _pieces(self) -> RowsReader:
        return self._reader

    def _single(self) -> "npt.NDArray[Any]":
        return read_slab(self.dataset, ())


def read_each(wanted: List[Wanted], progress: ReadProgress) -> Iterator["npt.NDArray[Any]"]:
    """Read datasets as `devaria.nwb.decoding.wanted.read_each` does, and fetch indexes before."""
    _share_indexes(wanted)
    _fetch_indexes(wanted)
    yield from read_wanted(wanted, progress)


def _fetch_indexes(wanted: List[Wanted]) -> None:
    """Fetch the indexes of the first datasets, as many as are kept."""
    num_chunks = 0
    for each in wanted:
        num_chunks += each.index_chunks
        if num_chunks <= MAX_CHUNKS_AHEAD:
            each.fetch_index()


def _share_indexes(wanted: List[Wanted]) -> None:
    """Have the index of a dataset that is wanted several times walked once."""
    by_address: Dict[int, List[Wanted]] = {}
    for each in wanted:
        by_address.setdefault(address_of(each.dataset), []).append(each)
    for same in by_address.values():
        # More places than that are not kept.
        if len(same) > 1 and max(each.index_chunks for each in same) <= MAX_CHUNKS_AHEAD:
            places = SharedPlaces(same[0].dataset)
            for each in same:
                each.share(places)


def opened_dataset(file: h5py.File, path: str, file_bytes: int, limits: ReadLimits) -> h5py.Dataset:
    """Open a dataset whose values are all stored in the file.

    Args:
        file: An open file.
        path: Path of the dataset.
        file_bytes: Length of the file.
        limits: How much is read at most.

    Raises:
        NotInFileError: The path names nothing.
        InvalidInputError: The path names no dataset.
        NwbError: The dataset has no values, or must not be read.
    """
    found = follow(file["/"], path)
    shown = one_line(path)
    if not isinstance(found, h5py.Dataset):
        raise InvalidInputError(f"{shown} is a {kind_of(found)}, not a dataset")
    if found.shape is None:
        raise NwbError(f"{shown} has no values")
    refuse_unsafe(found, shown, file_bytes, limits)
    return found
