"""Read any numeric dataset, and any dataset of texts."""

import math
from typing import Any, Iterator, List, Tuple

import h5py
import numpy as np
import numpy.typing as npt

from devaria.common.text import one_line
from devaria.nwb.errors import InvalidInputError, NwbError
from devaria.nwb.hdf5.browse import kind_of, type_name
from devaria.nwb.hdf5.chunked import ReadProgress
from devaria.nwb.hdf5.heap_guard import refuse_long_strings
from devaria.nwb.hdf5.link_guard import follow, refuse_unsafe
from devaria.nwb.hdf5.remote_file import RemoteFile
from devaria.nwb.hdf5.selection import Where
from devaria.nwb.hdf5.values import RowsReader
from devaria.nwb.limits import ReadLimits

#: Most texts of one dataset, and most characters of one text.
_MAX_TEXTS, _MAX_TEXT_CHARACTERS = 10_000, 10_000

#: Start, stop and step of a slice of the first axis.
Rows = Tuple[Any, Any, Any]


class NumericDataset:
    """A dataset of numbers, whose values are all stored in the file.

    Args:
        file: An open file.
        path: Path of the dataset.
        file_bytes: Length of the file.
        limits: How much is read at most.

    Attributes:
        shape: Lengths of the axes.
        dtype: Type of the values that are read, in this machine's byte order.

    Raises:
        InvalidInputError: The path names no dataset.
        NwbError: It holds no numbers, or must not be read.
    """

    def __init__(self, file: h5py.File, path: str, file_bytes: int, limits: ReadLimits) -> None:
        self._file, self._file_bytes = file, file_bytes
        self._path = path
        self._limits = limits
        self._dataset = _dataset(file, path, file_bytes, limits)
        if type_name(self._dataset)[:1] not in ("<", ">", "|"):
            raise NwbError(f"{one_line(path)} holds {type_name(self._dataset)}, not numbers")
        self.shape: Tuple[int, ...] = self._dataset.shape
        self.dtype: np.dtype[Any] = self._dataset.dtype.newbyteorder("=")

    def numbers(self, rows: Rows) -> range:
        """Return the numbers of the rows that a slice takes.

        Args:
            rows: Start, stop and step, as ``slice`` has them.

        Raises:
            InvalidInputError: The dataset is a single value, which has no rows.
        """
        if not self.shape:
            if rows != (None, None, None):
                raise InvalidInputError(f"{one_line(self._path)} is a single value: it has no rows")
            return range(1)
        return range(*slice(*rows).indices(self.shape[0]))

    def row_bytes(self, dtype: "np.dtype[Any]") -> int:
        """Return the length of one row's values."""
        item_bytes: int = max(dtype.itemsize, self.dtype.itemsize)
        return math.prod(self.shape[1:]) * item_bytes

    def read(
        self, rows: range, dtype: "np.dtype[Any]", progress: ReadProgress
    ) -> "npt.NDArray[Any]":
        """Read some rows.

        Args:
            rows: Their numbers, with a step of 1 or more.
            dtype: Type of the result.
            progress: Called with bytes read and bytes in all.

        Returns:
            The values, with an axis of ``len(rows)`` first; for a single value, without axes.

        Raises:
            NwbError: They are more than the limit, or cannot be read.
        """
        num_bytes = len(rows) * self.row_bytes(dtype)
        if num_bytes > self._limits.max_read_bytes:
            raise NwbError(
                f"{one_line(self._path)} needs {num_bytes:,} bytes; at most "
                f"{self._limits.max_read_bytes:,} may be read at once (DEVARIA_MAX_READ_BYTES)"
            )
        if not self.shape:
            return np.asarray(self._dataset[()]).astype(dtype)
        values = np.empty((len(rows), *self.shape[1:]), dtype)
        if values.size:
            reader = RowsReader(
                self._file, self._dataset, one_line(self._path), rows, self._file_bytes
            )
            reader.read(lambda where, part: _put(values, where, part), self._limits, progress)
        return values


def _put(values: "npt.NDArray[Any]", where: Where, part: "npt.NDArray[Any]") -> None:
    # Threads each have their own settings of numpy.
    with np.errstate(over="ignore", invalid="ignore"):
        values[where] = part


def read_texts(file: h5py.File, path: str, file_bytes: int, limits: ReadLimits) -> List[str]:
    """Read a dataset of texts.

    Args:
        file: An open file.
        path: Path of the dataset: one axis, or a single text.
        file_bytes: Length of the file.
        limits: How much is read at most.

    Returns:
        The texts.

    Raises:
        InvalidInputError: The path names no dataset.
        NwbError: It holds no texts, too many or too long ones, or must not be read.
    """
    dataset = _dataset(file, path, file_bytes, limits)
    shown = one_line(path)
    if type_name(dataset) != "text" or dataset.ndim > 1:
        raise NwbError(f"{shown} is not a list of texts")
    count = math.prod(dataset.shape)
    if count > _MAX_TEXTS or dataset.dtype.itemsize > 4 * _MAX_TEXT_CHARACTERS:
        raise NwbError(f"{shown} has more than {_MAX_TEXTS:,} texts, or too long ones")
    if count and dataset.dtype.kind == "O" and isinstance(file, RemoteFile):
        rows = np.arange(count)
        refuse_long_strings(dataset, rows, 4 * _MAX_TEXT_CHARACTERS, file.blocks.read_at)
    return [_text(value) for value in _one_by_one(dataset)]


def _one_by_one(dataset: h5py.Dataset) -> Iterator[Any]:
    """Read texts singly, since a thousand of them may all refer to the same 100 MB of the file."""
    if dataset.ndim == 0:
        yield dataset[()]
    elif dataset.dtype.kind == "O":
        for row in range(dataset.shape[0]):
            yield dataset[row]
    else:
        yield from dataset[:]


def _text(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _dataset(file: h5py.File, path: str, file_bytes: int, limits: ReadLimits) -> h5py.Dataset:
    found = follow(file["/"], path)
    shown = one_line(path)
    if not isinstance(found, h5py.Dataset):
        raise InvalidInputError(f"{shown} is a {kind_of(found)}, not a dataset")
    if found.shape is None:
        raise NwbError(f"{shown} has no values")
    refuse_unsafe(found, shown, file_bytes, limits)
    return found
