"""Bound how much HDF5 reads at once, and of how many chunks.

HDF5 takes memory for what it is about to read, and believes the file about its length. For each
chunk of a selection it takes up to 7 KB (HDF5 2.0), before it looks whether the chunk is there.
"""

import math
import threading
from contextlib import contextmanager
from typing import Any, Iterator

import h5py
import numpy as np
import numpy.typing as npt

from devaria.common.text import one_line
from devaria.nwb.errors import NwbError

#: The longest piece of metadata: the names of a very large group, or the index of many chunks.
_LONGEST_BYTES = 16 * 1024 * 1024

#: All attributes of one object, with what HDF5 reads to find them.
_ATTRIBUTES_BYTES = 32 * 1024 * 1024

#: Most chunks that HDF5 is asked for at once, where they can be divided, and where they cannot.
_CHUNKS_AT_ONCE, _MAX_CHUNKS_AT_ONCE = 4_096, 16_384


class _Allowed(threading.local):
    longest_bytes: float = _LONGEST_BYTES
    left_bytes: float = math.inf


_allowed = _Allowed()


def refuse_long_read(num_bytes: int) -> None:
    """Refuse a read of HDF5 that is longer than what it was asked for can need.

    Args:
        num_bytes: How long it is.

    Raises:
        NwbError: It is too long, or there were too many in this thread's `reading_attributes`.
    """
    if num_bytes > _allowed.longest_bytes:
        raise NwbError(f"the file is damaged: it has metadata of {num_bytes:,} bytes in one piece")
    _allowed.left_bytes -= num_bytes
    if _allowed.left_bytes < 0:
        raise NwbError("the file has an object with too many or too long attributes")


@contextmanager
def reading_values() -> Iterator[None]:
    """Let HDF5 read values of any length in this thread, for the length of a ``with`` block."""
    _allowed.longest_bytes = math.inf
    try:
        yield
    finally:
        _allowed.longest_bytes = _LONGEST_BYTES


@contextmanager
def reading_attributes() -> Iterator[None]:
    """Let HDF5 read no more than the attributes of an object need, in this thread and block.

    HDF5 reads the values of all attributes to list their names. Any number of them may share the
    same bytes of the file.
    """
    _allowed.left_bytes = _ATTRIBUTES_BYTES
    try:
        yield
    finally:
        _allowed.left_bytes = math.inf


def rows_at_once(dataset: h5py.Dataset) -> int:
    """Return how many rows of a dataset HDF5 may be asked for at once.

    Args:
        dataset: A dataset with one axis or more.

    Returns:
        The rows of some thousand chunks: whole chunks, one at least.

    Raises:
        NwbError: One row lies in too many chunks.
    """
    if not dataset.chunks:
        num_rows: int = dataset.shape[0]
        return max(1, num_rows)
    axes = zip(dataset.shape[1:], dataset.chunks[1:])
    chunks_a_row = math.prod(-(-length // chunk) for length, chunk in axes)
    if chunks_a_row > _MAX_CHUNKS_AT_ONCE:
        shown = one_line(dataset.name)
        raise NwbError(f"{shown} has {chunks_a_row:,} chunks in each row: too many")
    chunk_rows: int = dataset.chunks[0]
    return chunk_rows * max(1, _CHUNKS_AT_ONCE // max(1, int(chunks_a_row)))


def read_slab(dataset: h5py.Dataset, where: Any) -> "npt.NDArray[Any]":
    """Have HDF5 read values.

    Args:
        dataset: A dataset; its chunks there have been checked for decompression bombs.
        where: What h5py takes as an index.

    Returns:
        The values.
    """
    with reading_values():
        values: npt.NDArray[Any] = np.asarray(dataset[where])
    return values
