"""Turning the stored bytes of a chunk into its values: in threads, or by HDF5 itself."""

import zlib
from typing import Any, List, Optional, Union

import h5py
import numpy as np
import numpy.typing as npt


class UndecodableError(Exception):
    """The bytes are not what they should be; HDF5 may say more."""


class ThreadDecoder:
    """Undoes gzip, shuffle and no filter at all; may be used by several threads at once.

    It has nothing of h5py, whose lock the thread that waits for it holds.

    Args:
        dtype: The type of the values, as stored.
        length: Number of values of a chunk.
        filters: The codes of the filters that all chunks went through, in that order.
    """

    in_threads = True

    def __init__(self, dtype: "np.dtype[Any]", length: int, filters: List[int]) -> None:
        self._dtype = dtype
        self._num_bytes = length * dtype.itemsize
        self._filters = filters

    def decode(self, stored: memoryview, filter_mask: int) -> "npt.NDArray[Any]":
        """Give the values of one chunk.

        Args:
            stored: Its bytes in the file.
            filter_mask: Has a bit set for each filter that this chunk did not go through.

        Returns:
            The values, in a read-only array.

        Raises:
            UndecodableError: The bytes are damaged.
        """
        content: Union[memoryview, bytes] = stored
        for position in reversed(range(len(self._filters))):
            if filter_mask >> position & 1:
                continue
            if self._filters[position] == h5py.h5z.FILTER_DEFLATE:
                content = self._inflated(content)
            else:
                content = self._unshuffled(content)
        if len(content) != self._num_bytes:
            raise UndecodableError
        return np.frombuffer(content, self._dtype)

    def _inflated(self, content: Union[memoryview, bytes]) -> bytes:
        inflater = zlib.decompressobj()
        try:
            # One byte more than there should be: so a bomb ends here, and a right end is seen.
            inflated = inflater.decompress(content, self._num_bytes + 1)
        except zlib.error:
            raise UndecodableError from None
        if not inflater.eof:
            raise UndecodableError
        return inflated

    def _unshuffled(self, content: Union[memoryview, bytes]) -> memoryview:
        if len(content) != self._num_bytes:
            raise UndecodableError
        planes = np.frombuffer(content, np.uint8).reshape(self._dtype.itemsize, -1)
        return np.ascontiguousarray(planes.T).reshape(-1).data


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

    def decode(self, stored: memoryview, filter_mask: int) -> "npt.NDArray[Any]":
        """Give the values of one chunk, as ``ThreadDecoder.decode`` does.

        Args:
            stored: Its bytes in the file.
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
            self._chunk.id.write_direct_chunk((0,), bytes(stored), filter_mask)
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
