"""Open datasets of a file that may be malicious, and read those of numbers."""

import math
from typing import Any, Callable, Dict, Iterator, List, Tuple

import h5py
import numpy as np
import numpy.typing as npt

from devaria.common.text import one_line
from devaria.nwb.decoding.selection import Where
from devaria.nwb.errors import InvalidInputError, NwbError
from devaria.nwb.hdf5.browse import kind_of, type_name
from devaria.nwb.hdf5.chunk_index import SharedPlaces
from devaria.nwb.hdf5.chunked import ReadProgress
from devaria.nwb.hdf5.link_guard import follow, refuse_unsafe
from devaria.nwb.hdf5.metadata import address_of
from devaria.nwb.hdf5.values import MAX_CHUNKS_AHEAD, RowsReader
from devaria.nwb.limits import ReadLimits

#: So many bytes of values are planned ahead of the reading.
_AHEAD_BYTES = 128 * 1024 * 1024

#: A dataset that is so many times as long as the whole file is looked at more closely.
_USUAL_EXPANSION = 16

#: Returns an array without values, of a shape and a type.
Empty = Callable[[Tuple[int, ...], "np.dtype[Any]"], "npt.NDArray[Any]"]

#: Start, stop and step of a slice of the first axis.
Rows = Tuple[Any, Any, Any]


class Wanted:
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
        self._empty = empty
        self._shown = one_line(path)
        self._limits = limits
        self._file_bytes = file_bytes
        self.dataset = opened_dataset(file, path, file_bytes, limits)
        if type_name(self.dataset)[:1] not in ("<", ">", "|"):
            raise NwbError(f"{self._shown} holds {type_name(self.dataset)}, not numbers")
        self.shape: Tuple[int, ...] = self.dataset.shape
        self._dtype = self._result_type(dtype)
        self._rows = self._numbers(rows)
        self._row_shape = self.shape[1:]
        item_bytes = max(self._dtype.itemsize, self.dataset.dtype.itemsize)
        self._row_bytes: int = math.prod(self._row_shape) * item_bytes
        self.num_bytes = len(self._rows) * self._row_bytes
        self._has_values = bool(self.shape) and self.num_bytes > 0
        if self._has_values:
            told = (self._shown, self._rows, file_bytes, limits)
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

    def is_ready(self) -> bool:
        """Return whether `plan` will not wait for the network."""
        return not self._has_values or self._reader.is_ready()

    def plan(self) -> None:
        """Start to fetch all values.

        Raises:
            NwbError: The values are more than the limit, or cannot be found.
        """
        self._refuse_size(self.num_bytes)
        if self._has_values and not self._reader.reads_whole():
            self._reader.pieces(len(self._rows))
            self._reader.plan()

    def read(self, progress: ReadProgress) -> "npt.NDArray[Any]":
        """Read all values, after `plan`.

        Args:
            progress: Called with what is read and what is to be read, in any unit.

        Returns:
            The values, with an axis of the wanted rows first; for a single value, without axes.

        Raises:
            NwbError: The values cannot be read.
        """
        if not self._has_values:
            return self._without_reader()
        if not self._reader.reads_whole():
            return self._piece(0, len(self._rows), 0, progress)
        if self.num_bytes > _USUAL_EXPANSION * self._file_bytes:
            # Before memory is taken for it; HDF5 adds up the lengths of all chunks.
            self._reader.refuse_expansion(int(self.dataset.id.get_storage_size()))
        values = self._empty((len(self._rows), *self._row_shape), self._dtype)
        self._reader.survey()
        self._reader.read_all(lambda where, part: _put(values, where, part), progress)
        return values

    def batches(self, batch_bytes: int, progress: ReadProgress) -> Iterator["npt.NDArray[Any]"]:
        """Read the rows in pieces.

        Args:
            batch_bytes: The longest piece; each has a row at least.
            progress: Called with bytes read and bytes in all.

        Yields:
            The rows in their order, one or more at a time; nothing if there are none.

        Raises:
            NwbError: The values cannot be read.
        """
        self._refuse_size(min(self.num_bytes, max(batch_bytes, self._row_bytes)))
        if not self._has_values:
            if self._rows:
                yield self._without_reader()
            return
        pieces = self._reader.pieces(max(1, batch_bytes // self._row_bytes))
        self._reader.plan()
        for number, (first, stop) in enumerate(pieces):
            done, share = first * self._row_bytes, (stop - first) * self._row_bytes
            yield self._piece(first, stop, number, _within(progress, done, share, self.num_bytes))

    def _piece(
        self, first: int, stop: int, number: int, progress: ReadProgress
    ) -> "npt.NDArray[Any]":
        values = self._empty((stop - first, *self._row_shape), self._dtype)
        self._reader.read_piece(number, lambda where, part: _put(values, where, part), progress)
        return values

    def _without_reader(self) -> "npt.NDArray[Any]":
        if self.shape:
            return self._empty((len(self._rows), *self._row_shape), self._dtype)
        return np.asarray(self.dataset[()]).astype(self._dtype)

    def _numbers(self, rows: Rows) -> range:
        if not self.shape:
            if rows != (None, None, None):
                raise InvalidInputError(f"{self._shown} is a single value: it has no rows")
            return range(1)
        return range(*slice(*rows).indices(self.shape[0]))

    def _result_type(self, name: Any) -> "np.dtype[Any]":
        stored: np.dtype[Any] = self.dataset.dtype.newbyteorder("=")
        wanted = stored if name is None else np.dtype(name)
        if not np.can_cast(stored, wanted, "same_kind"):
            raise InvalidInputError(f"{self._shown} holds {stored}, which cannot become {wanted}")
        return wanted

    def _refuse_size(self, num_bytes: int) -> None:
        most = self._limits.max_read_bytes
        if num_bytes > most:
            raise NwbError(
                f"{self._shown} needs {num_bytes:,} bytes; at most {most:,} may be read at once "
                "(DEVARIA_MAX_READ_BYTES)"
            )


def read_each(wanted: List[Wanted], progress: ReadProgress) -> Iterator["npt.NDArray[Any]"]:
    """Read datasets one after another, and fetch the next ones meanwhile.

    Args:
        wanted: The datasets.
        progress: Called with bytes read and bytes in all.

    Yields:
        The values of each.

    Raises:
        NwbError: Values are more than the limit, or cannot be read.
    """
    _share_indexes(wanted)
    _fetch_indexes(wanted)
    total_bytes = max(1, sum(each.num_bytes for each in wanted))
    done_bytes = planned_bytes = planned = 0
    for number, each in enumerate(wanted):
        while planned < len(wanted) and (
            planned == number
            or (planned_bytes - done_bytes < _AHEAD_BYTES and wanted[planned].is_ready())
        ):
            wanted[planned].plan()
            planned_bytes += wanted[planned].num_bytes
            planned += 1
        yield each.read(_within(progress, done_bytes, each.num_bytes, total_bytes))
        done_bytes += each.num_bytes
    progress(total_bytes, total_bytes)


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
        if len(same) > 1:
            places = SharedPlaces(same[0].dataset)
            for each in same:
                each.share(places)


def _within(
    progress: ReadProgress, done_bytes: int, share_bytes: int, total_bytes: int
) -> ReadProgress:
    """Return the progress of a part, which is told as progress of the whole."""
    return lambda done, total: progress(done_bytes + share_bytes * done // total, total_bytes)


def _put(values: "npt.NDArray[Any]", where: Where, part: "npt.NDArray[Any]") -> None:
    # Threads each have their own settings of numpy.
    with np.errstate(over="ignore", invalid="ignore"):
        values[where] = part


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
