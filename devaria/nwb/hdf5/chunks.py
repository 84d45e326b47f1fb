"""Decode the stored bytes of chunks into values: in threads, or by HDF5 itself."""

import math
import threading
import zlib
from itertools import product
from typing import Any, Iterator, List, Optional, Sequence

import h5py
import numpy as np
import numpy.typing as npt

from devaria.common.text import one_line
from devaria.nwb.errors import NwbError
from devaria.nwb.hdf5.selection import Where

#: Bytes that one call inflates, or inflates to: few enough for the processor's cache.
_SLICE_BYTES = 32 * 1024

#: The stored bytes of a chunk, in one or more pieces.
Stored = Sequence[memoryview]


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
    for compressed in _slices(stored):
        try:
            # At most one byte too many: a decompression bomb stops here.
            inflated = inflater.decompress(compressed, len(target) - place + 1)
        except zlib.error:
            raise UndecodableError from None
        if place + len(inflated) > len(target):
            raise _bomb()
        target[place : place + len(inflated)] = inflated
        place += len(inflated)
        if inflater.eof:  # else zlib would copy all that follows, again at each slice
            break
    if place != len(target) or not inflater.eof:
        raise UndecodableError


def _slices(stored: Stored) -> Iterator[memoryview]:
    for piece in stored:
        for at in range(0, len(piece), _SLICE_BYTES):
            yield piece[at : at + _SLICE_BYTES]


def _bomb() -> NwbError:
    return NwbError("the file is damaged: a compressed chunk is far longer than it may be")


def longest_filtered(chunk_bytes: int) -> int:
    """Return the longest that a chunk may be after a filter, which may lengthen it a little.

    Args:
        chunk_bytes: Its length before.
    """
    return 2 * chunk_bytes + 64 * 1024


class _InflationGuard:
    """Refuses decompression bombs, which HDF5 would inflate to the end.

    Args:
        dataset: Any dataset.

    Attributes:
        is_needed: Whether its chunks may be compressed by gzip.

    Raises:
        NwbError: Another filter hides the compressed bytes.
    """

    def __init__(self, dataset: h5py.Dataset) -> None:
        plist = dataset.id.get_create_plist()
        filters = [plist.get_filter(place)[0] for place in range(plist.get_nfilters())]
        self._places = [n for n, code in enumerate(filters) if code == h5py.h5z.FILTER_DEFLATE]
        self.is_needed = bool(self._places)
        # A checksum may follow gzip: it lies behind the compressed bytes.
        after = filters[self._places[0] + 1 :] if self._places else []
        if any(code != h5py.h5z.FILTER_FLETCHER32 for code in after):
            raise NwbError(f"{one_line(dataset.name)} has filters after gzip: not supported")
        num_values = math.prod(dataset.chunks or ())
        self._most_bytes = longest_filtered(num_values * dataset.dtype.itemsize)

    def check(self, stored: Stored, filter_mask: int) -> None:
        """Inflate a chunk as far as it may go, without keeping it.

        Args:
            stored: Its bytes in the file.
            filter_mask: A set bit means that the filter at this position was not applied.

        Raises:
            NwbError: It goes further.
        """
        if all(filter_mask >> place & 1 for place in self._places):
            return
        inflater, room = zlib.decompressobj(), self._most_bytes
        for compressed in _slices(stored):
            left: Any = compressed
            while left and not inflater.eof:
                try:
                    room -= len(inflater.decompress(left, _SLICE_BYTES))
                except zlib.error:  # HDF5 stops there too
                    return
                if room < 0:
                    raise _bomb()
                left = inflater.unconsumed_tail


def refuse_inflation(dataset: h5py.Dataset, rows: range, rest: Where = ()) -> None:
    """Refuse decompression bombs in the chunks that HDF5 is about to read.

    Args:
        dataset: Any dataset.
        rows: Numbers of the rows, within the dataset.
        rest: Slices of the other axes; an axis without one is read whole.

    Raises:
        NwbError: A chunk inflates to far more than its length, or filters hide whether it does.
    """
    guard, chunks = _InflationGuard(dataset), dataset.chunks
    if not guard.is_needed:
        return
    corners: List[Sequence[int]] = [sorted({row // chunks[0] * chunks[0] for row in rows})]
    whole = [slice(None)] * dataset.ndim
    for part, length, chunk in zip([*rest, *whole], dataset.shape[1:], chunks[1:]):
        start, stop, _ = part.indices(length)
        corners.append(range(start // chunk * chunk, stop, chunk))
    for corner in product(*corners):
        try:
            filter_mask, stored = dataset.id.read_direct_chunk(corner)
        except (OSError, RuntimeError):  # nothing is stored, or HDF5 fails to read it too
            continue
        guard.check([memoryview(stored)], filter_mask)


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
        self._guard = _InflationGuard(dataset)

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
