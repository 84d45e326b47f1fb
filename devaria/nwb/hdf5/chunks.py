"""Turning the stored bytes of a chunk into its values: in threads, or by HDF5 itself."""

import os
import threading
import zlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Callable, Deque, List, Optional, Sequence, Tuple, Union

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


#: Takes the number of the first value, and the values. Several threads call it.
Consume = Callable[[int, "npt.NDArray[Any]"], None]

#: Many small chunks are worth one task.
_BATCH_BYTES = 512 * 1024

#: Chunks that are decoded at once may have so many bytes in all.
_BUSY_BYTES = 64 * 1024 * 1024

_THREADS = max(2, min(4, os.cpu_count() or 1))

_Job = Tuple[int, Stored, int, int]


class Pipeline:
    """Takes stored chunks, and hands their values on.

    Args:
        decoder: What makes values of stored bytes.
        consume: What takes the values.
        chunk_bytes: Length of a chunk in memory.

    Attributes:
        undecodable: Numbers of the first values of chunks that could not be decoded.
    """

    def __init__(
        self, decoder: Union[ThreadDecoder, Hdf5Decoder], consume: Consume, chunk_bytes: int
    ) -> None:
        self._decoder = decoder
        self._consume = consume
        threads = max(1, min(_THREADS, _BUSY_BYTES // chunk_bytes))
        self._max_pending = 2 * threads if threads > 1 else 1
        self._pool = ThreadPoolExecutor(threads, "decode")
        self._pending: Deque[Future[None]] = deque()
        self._batch: List[_Job] = []
        self._batch_bytes = 0
        self.undecodable: List[int] = []

    def put(self, first: int, stored: Stored, filter_mask: int, length: int) -> None:
        """Decode a chunk, soon.

        Args:
            first: Number of its first value.
            stored: Its bytes in the file, in pieces.
            filter_mask: Has a bit set for each filter that this chunk did not go through.
            length: How many of its values are wanted.
        """
        if not self._decoder.in_threads:
            self._decode([(first, stored, filter_mask, length)])
            return
        self._batch.append((first, stored, filter_mask, length))
        self._batch_bytes += sum(map(len, stored))
        if self._batch_bytes >= _BATCH_BYTES:
            self._submit()

    def finish(self) -> None:
        """Wait until all is decoded.

        Raises:
            Exception: What ``consume`` raised.
        """
        self._submit()
        while self._pending:
            self._pending.popleft().result()

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def _submit(self) -> None:
        if len(self._pending) >= self._max_pending:
            self._pending.popleft().result()
        self._pending.append(self._pool.submit(self._decode, self._batch))
        self._batch, self._batch_bytes = [], 0

    def _decode(self, jobs: List[_Job]) -> None:
        for first, stored, filter_mask, length in jobs:
            try:
                values = self._decoder.decode(stored, filter_mask)
            except UndecodableError:
                self.undecodable.append(first)
            else:
                self._consume(first, values[:length])
