"""Read a dataset of texts."""

import math
from typing import Any, Iterator, List

import h5py
import numpy as np

from devaria.common.text import one_line
from devaria.nwb.errors import NwbError
from devaria.nwb.hdf5.browse import type_name
from devaria.nwb.hdf5.datasets import opened_dataset
from devaria.nwb.hdf5.filters import refuse_inflation
from devaria.nwb.hdf5.heap_guard import refuse_long_strings
from devaria.nwb.hdf5.remote_file import RemoteFile
from devaria.nwb.limits import ReadLimits

#: Most texts of one dataset, most characters of one text, and of all together: as JSON, a character
#: may take twelve.
_MAX_TEXTS, _MAX_TEXT_CHARACTERS, _MAX_CHARACTERS = 10_000, 10_000, 1_000_000


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
    dataset = opened_dataset(file, path, file_bytes, limits)
    shown = one_line(path)
    if type_name(dataset) != "text" or dataset.ndim > 1:
        raise NwbError(f"{shown} is not a list of texts")
    count = math.prod(dataset.shape)
    item_bytes = dataset.dtype.itemsize
    if count > _MAX_TEXTS or item_bytes > 4 * _MAX_TEXT_CHARACTERS:
        raise NwbError(f"{shown} has more than {_MAX_TEXTS:,} texts, or too long ones")
    if count * item_bytes > 4 * _MAX_CHARACTERS:
        raise _too_long(shown)
    if count and dataset.dtype.kind == "O" and isinstance(file, RemoteFile):
        rows = np.arange(count)
        refuse_long_strings(dataset, rows, 4 * _MAX_TEXT_CHARACTERS, file.blocks.read_at)
    texts: List[str] = []
    room = _MAX_CHARACTERS
    for text in map(_text, _one_by_one(dataset)):
        texts.append(text)
        room -= len(text)
        if room < 0:
            raise _too_long(shown)
    return texts


def _too_long(shown: str) -> NwbError:
    return NwbError(f"{shown} has texts of more than {_MAX_CHARACTERS:,} characters together")


def _one_by_one(dataset: h5py.Dataset) -> Iterator[Any]:
    """Read texts singly, since a thousand of them may all refer to the same 100 MB of the file."""
    if dataset.ndim == 0:
        yield dataset[()]
    elif dataset.dtype.kind == "O":
        for row in range(dataset.shape[0]):
            yield dataset[row]
    else:
        refuse_inflation(dataset, range(dataset.shape[0]))
        yield from dataset[:]


def _text(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
