"""Decode the stored bytes of chunks into values: in threads, or by HDF5 itself."""

import math
import threading
import zlib
from typing import Any, List, Optional

import h5py
import numpy as np
import numpy.typing as npt

from devaria.nwb.hdf5.guards.inflation import InflationGuard, Stored, bomb, slices


class UndecodableError(Exception):
    """The stored bytes are damaged, or need HDF5 itself."""


class ThreadDecoder:
    """Decodes chunks with gzip, with shuffle, with both, or without filters.

    Several threads may use it at once. It never calls h5py, whose lock is held by the thread that
    waits for the values. Each thread reuses its own memory for every chunk, because fresh memory
    pages from the system take as long as inflating.

    Args:
        dtype: Type of the stored values.
        length: Number of values in a chunk.
        filters: HDF5's codes of the filters, in the order in which they were applied.
    """

    in_threads = True

    def __init__(self, dtype: "np.dtype[Any]", length: int, filters: List[int]) -> None:
        self._dtype = dtype
        self._num_bytes = length * dtype.itemsize
        self._filters = filters
        self._memory = threading.local()

    def decode(self, stored: Stored, filter_mask: int) -> "npt.NDArray[Any]":
        """Decode one chunk.

        Args:
            stored: Its bytes in the file.
            filter_mask: A set bit means that the filter at this position was not applied.

        Returns:
            The values, along one axis. They are overwritten when this thread decodes another
            chunk.

        Raises:
            UndecodableError: The bytes are damaged.
            NwbError: They inflate to more than a chunk: a decompression bomb.
        """
        undo = {f for place, f in enumerate(self._filters) if not filter_mask >> place & 1}
        content = self._buffer("content")
        if h5py.h5z.FILTER_DEFLATE in undo:
            _inflate(stored, content)
        elif sum(map(len, stored)) != self._num_bytes:
            raise UndecodableError
        elif len(stored) == 1:
            content = stored[0]
        else:
            content[:] = b"".join(stored)
        if h5py.h5z.FILTER_SHUFFLE in undo:
            content = self._unshuffled(content)
        return np.frombuffer(content, self._dtype)

    def _unshuffled(self, content: memoryview) -> memoryview:
        unshuffled = self._buffer("unshuffled")
        item_bytes = self._dtype.itemsize
        planes = np.frombuffer(content, np.uint8).reshape(item_bytes, -1)
        np.frombuffer(unshuffled, np.uint8).reshape(-1, item_bytes)[:] = planes.T
        return unshuffled

    def _buffer(self, name: str) -> memoryview:
        if not hasattr(self._memory, name):
            setattr(self._memory, name, memoryview(bytearray(self._num_bytes)))
        buffer: memoryview = getattr(self._memory, name)
        return buffer


def _inflate(stored: Stored, target: memoryview) -> None:
    inflater = zlib.decompressobj()
    place = 0
    for compressed in slices(stored):
        try:
            # At most one byte too many: a decompression bomb stops here.
            inflated = inflater.decompress(compressed, len(target) - place + 1)
        except zlib.error:
            raise UndecodableError from None
        if place + len(inflated) > len(target):
            raise bomb()
        target[place : place + len(inflated)] = inflated
        place += len(inflated)
        if inflater.eof:  # else zlib would copy all that follows, again at each slice
            break
    if place != len(target) or not inflater.eof:
        raise UndecodableError


class Hdf5Decoder:
    """Decodes chunks with any filter of HDF5, through a file in memory that has one chunk.

    It is for one thread, which holds h5py's lock meanwhile.

    Args:
        dataset: The dataset whose chunks will be decoded.
    """

    in_threads = False

    def __init__(self, dataset: h5py.Dataset) -> None:
        name = f"chunk decoder {id(self)}"
        self._file = h5py.File(name, "w", driver="core", backing_store=False)
        space = h5py.h5s.create_simple(dataset.chunks)
        layout = dataset.id.get_create_plist()
        layout.set_alloc_time(h5py.h5d.ALLOC_TIME_INCR)  # allocates no chunk before it is written
        stored_type = dataset.id.get_type().copy()
        made = h5py.h5d.create(self._file.id, b"chunk", stored_type, space, layout)
        self._chunk = h5py.Dataset(made)
        self._guard = InflationGuard(dataset)

    def decode(self, stored: Stored, filter_mask: int) -> "npt.NDArray[Any]":
        """Decode one chunk, as ``ThreadDecoder.decode`` does.

        Args:
            stored: Its bytes in the file.
            filter_mask: A set bit means that the filter at this position was not applied.

        Returns:
            The values, along the axes of the chunk.

        Raises:
            UndecodableError: The bytes are damaged, or not all filters were applied.
            NwbError: They inflate to far more than a chunk: a decompression bomb.
        """
        if filter_mask:
            # HDF5 may ignore the mask of a chunk that was just written.
            raise UndecodableError
        self._guard.check(stored, filter_mask)
        try:
            corner = (0,) * self._chunk.ndim
            self._chunk.id.write_direct_chunk(corner, b"".join(stored), filter_mask)
            values: npt.NDArray[Any] = self._chunk[...]
        except OSError:
            raise UndecodableError from None
        return values

    def close(self) -> None:
        """Free the file in memory."""
        self._file.close()


def thread_decoder(dataset: h5py.Dataset) -> Optional[ThreadDecoder]:
    """Return a decoder for a dataset that can be decoded in threads.

    Args:
        dataset: A dataset of numbers, in chunks or contiguous.

    Returns:
        The decoder; None if only HDF5 can decode the dataset's type or filters.
    """
    dtype = dataset.dtype
    if not dataset.id.get_type().equal(h5py.h5t.py_create(dtype)):
        return None
    filters = thread_filters(dataset, dtype.itemsize)
    if filters is None:
        return None
    return ThreadDecoder(dtype, math.prod(dataset.chunks or (0,)), filters)


def thread_filters(dataset: h5py.Dataset, item_bytes: int) -> Optional[List[int]]:
    """Return the filters of a dataset, if ``ThreadDecoder`` supports all of them.

    Args:
        dataset: Any dataset.
        item_bytes: Length of a stored value.

    Returns:
        HDF5's codes of the filters, in the order in which they were applied; None if any is not
        supported.
    """
    plist = dataset.id.get_create_plist()
    filters, expected = [], [h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE]
    for position in range(plist.get_nfilters()):
        code, _, settings, _ = plist.get_filter(position)
        if code not in expected:
            return None
        if code == h5py.h5z.FILTER_SHUFFLE and tuple(settings) != (item_bytes,):
            return None
        # Each filter once, shuffle before gzip, as every writer does.
        del expected[: expected.index(code) + 1]
        filters.append(code)
    return filters
