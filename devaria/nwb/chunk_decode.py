"""Turning the stored bytes of a chunk into its values: in threads, or by HDF5 itself."""

import threading
import zlib
from typing import Any, List, Optional, Sequence

import h5py
import numpy as np
import numpy.typing as npt

#: What one call inflates: little enough that it fits the processor's cache.
_SLICE_BYTES = 32 * 1024

#: The bytes of a chunk, in one piece or more.
Stored = Sequence[memoryview]


class UndecodableError(Exception):
    """The bytes are not what they should be; HDF5 may say more."""


class ThreadDecoder:
    """Undoes gzip, shuffle and no filter at all; may be used by several threads at once.

    It has nothing of h5py, whose lock the thread that waits for it holds. Each thread uses its own
    memory again for every chunk: to get new pages from the system takes as long as to inflate.

    Args:
        dtype: The type of the values, as stored.
        length: Number of values of a chunk.
        filters: The codes of the filters that all chunks went through, shuffle before gzip.
    """

    in_threads = True

    def __init__(self, dtype: "np.dtype[Any]", length: int, filters: List[int]) -> None:
        self._dtype = dtype
        self._num_bytes = length * dtype.itemsize
        self._filters = filters
        self._memory = threading.local()

    def decode(self, stored: Stored, filter_mask: int) -> "npt.NDArray[Any]":
        """Give the values of one chunk.

        Args:
            stored: Its bytes in the file, in pieces.
            filter_mask: Has a bit set for each filter that this chunk did not go through.

        Returns:
            The values; they are good until this thread decodes another chunk.

        Raises:
            UndecodableError: The bytes are damaged.
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
    slices = (
        piece[at : at + _SLICE_BYTES]
        for piece in stored
        for at in range(0, len(piece), _SLICE_BYTES)
    )
    for compressed in slices:
        try:
            # A byte more than there should be at most: so a bomb ends here.
            inflated = inflater.decompress(compressed, len(target) - place + 1)
        except zlib.error:
            raise UndecodableError from None
        if place + len(inflated) > len(target):
            raise UndecodableError
        target[place : place + len(inflated)] = inflated
        place += len(inflated)
    if place != len(target) or not inflater.eof:
        raise UndecodableError


class Hdf5Decoder:
    """Has HDF5 undo any filters that it knows, in a file in memory that has this one chunk.

    Args:
        dataset: Whose chunks will be decoded.
    """

    in_threads = False

    def __init__(self, dataset: h5py.Dataset) -> None:
        name = f"chunk decoder {id(self)}"
        self._file = h5py.File(name, "w", driver="core", backing_store=False)
        space = h5py.h5s.create_simple((dataset.chunks[0],))
        layout = dataset.id.get_create_plist()
        layout.set_alloc_time(h5py.h5d.ALLOC_TIME_INCR)  # no chunk before the first is written
        stored_type = dataset.id.get_type().copy()
        made = h5py.h5d.create(self._file.id, b"chunk", stored_type, space, layout)
        self._chunk = h5py.Dataset(made)

    def decode(self, stored: Stored, filter_mask: int) -> "npt.NDArray[Any]":
        """Give the values of one chunk, as ``ThreadDecoder.decode`` does.

        Args:
            stored: Its bytes in the file, in pieces.
            filter_mask: Has a bit set for each filter that this chunk did not go through.

        Returns:
            The values.

        Raises:
            UndecodableError: The bytes are damaged, or did not go through all the filters.
        """
        if filter_mask:
            # HDF5 does not always use the mask of a chunk that was written just now.
            raise UndecodableError
        try:
            self._chunk.id.write_direct_chunk((0,), b"".join(stored), filter_mask)
            values: npt.NDArray[Any] = self._chunk[:]
        except OSError:
            raise UndecodableError from None
        return values

    def close(self) -> None:
        """Let go of the file in memory."""
        self._file.close()


def thread_decoder(dataset: h5py.Dataset) -> Optional[ThreadDecoder]:
    """Give the decoder of a column that can be decoded in threads.

    Args:
        dataset: A one-dimensional dataset, in chunks or not.

    Returns:
        The decoder; None if the column's type or filters are for HDF5 alone.
    """
    dtype = dataset.dtype
    if not dataset.id.get_type().equal(h5py.h5t.py_create(dtype)):
        return None
    filters = thread_filters(dataset, dtype.itemsize)
    if filters is None:
        return None
    return ThreadDecoder(dtype, dataset.chunks[0] if dataset.chunks else 0, filters)


def thread_filters(dataset: h5py.Dataset, item_bytes: int) -> Optional[List[int]]:
    """Give the filters of a column that ``ThreadDecoder`` can undo.

    Args:
        dataset: A one-dimensional dataset.
        item_bytes: Length of a value, as stored.

    Returns:
        Their codes; None if there is any other.
    """
    plist = dataset.id.get_create_plist()
    filters, expected = [], [h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE]
    for position in range(plist.get_nfilters()):
        code, _, settings, _ = plist.get_filter(position)
        if code not in expected:
            return None
        if code == h5py.h5z.FILTER_SHUFFLE and tuple(settings) != (item_bytes,):
            return None
        # Each once, and shuffled before it is compressed: what every writer does.
        del expected[: expected.index(code) + 1]
        filters.append(code)
    return filters
