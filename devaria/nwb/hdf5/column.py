"""Read a column of a remote file as fast as the network allows.

HDF5 reads one chunk after another, and parts of the index between them, each with a round trip to
the server. Here the stored bytes are fetched in parallel while HDF5 walks the index, and each chunk
is decoded as soon as its place is known. Unusual chunks are left to HDF5, so the values are always
those that HDF5 itself would read.
"""

from contextlib import ExitStack, closing
from typing import Any, Callable, List, NamedTuple, Optional, Tuple

import h5py
import numpy as np

from devaria.nwb.errors import NwbError
from devaria.nwb.hdf5.btree_prefetch import BTreePrefetcher
from devaria.nwb.hdf5.chunks import (
    Consume,
    DecodingPipeline,
    Hdf5Decoder,
    Stored,
    thread_decoder,
)
from devaria.nwb.http.prefetch import Prefetcher

#: The first chunks, whose places show how the column lies in the file.
_SURVEYED = 64

#: Chunks are fetched as one stretch if they fill at least this share of it.
_MIN_DENSITY = 0.5

#: Gaps between chunks up to this length are fetched too: that is faster than another request.
_MAX_GAP_BYTES = 128 * 1024

#: A contiguous column is passed on in pieces of this many values.
_PIECE_VALUES = 128 * 1024

#: How often fetching may start again at a chunk beyond the planned stretch. After that, such chunks
#: wait until the whole index is read.
_MAX_LEAPS = 8

#: Called with bytes read and bytes in all.
ReadProgress = Callable[[int, int], None]


class _Chunk(NamedTuple):
    """A chunk's place in the file, and its number within the column."""

    start: int
    stop: int
    number: int
    filter_mask: int


class ChunkedColumnReader:
    """Reads the first values of a column that is stored in chunks.

    Args:
        dataset: A one-dimensional dataset, opened by ``link_guard.safe_dataset``.
        prefetcher: Fetches ranges of the file.
        btree_prefetcher: Fetches the index.
        file_bytes: Length of the file.

    Attributes:
        stored_bytes: Length of all stored chunks; known after ``read``.
    """

    def __init__(
        self,
        dataset: h5py.Dataset,
        prefetcher: Prefetcher,
        btree_prefetcher: BTreePrefetcher,
        file_bytes: int,
    ) -> None:
        self._dataset = dataset
        self._prefetcher = prefetcher
        self._btree_prefetcher = btree_prefetcher
        self._file_bytes = file_bytes
        self._length: int = dataset.chunks[0]
        self._chunk_bytes = self._length * dataset.dtype.itemsize
        self._surveyed: List[_Chunk] = []
        self._later: List[_Chunk] = []
        self._plan_stop = 0
        self._leaps = 0
        self._done = 0
        self.stored_bytes = 0
        # HDF5 keeps the part of the index that it reads for this.
        dataset.id.chunk_iter(self._survey)
        is_longer = len(self._surveyed) == _SURVEYED
        self._is_streaming = is_longer and _is_dense(self._surveyed)

    def read(self, count: int, consume: Consume, progress: ReadProgress) -> List[int]:
        """Read the chunks that hold the first values.

        Args:
            count: How many values to read, 1 or more.
            consume: Called with the values, in any order, by several threads.
            progress: Called with the stored bytes that are read, and with those to read.

        Returns:
            For each chunk that is left to HDF5, the number of its first value. These chunks are
            not stored, or damaged.

        Raises:
            NwbError: The index gives a chunk an impossible place, or the server fails.
        """
        self._count, self._progress = count, progress
        self._seen = bytearray(-(-count // self._length))
        surveyed = sum(chunk.stop - chunk.start for chunk in self._surveyed)
        chunks = max(1, len(self._surveyed))
        self._total_bytes = max(1, surveyed * len(self._seen) // chunks)
        progress(0, self._total_bytes)
        if self._is_streaming:
            self._plan_from(self._surveyed[0], len(self._seen))
        else:
            self._btree_prefetcher.start()
        with ExitStack() as stack:
            decoder = thread_decoder(self._dataset) or stack.enter_context(
                closing(Hdf5Decoder(self._dataset))
            )
            pipeline = DecodingPipeline(decoder, consume, self._chunk_bytes)
            self._pipeline = stack.enter_context(closing(pipeline))
            self._dataset.id.chunk_iter(self._visit)
            self._read_later()
            pipeline.finish()
        progress(self._total_bytes, self._total_bytes)
        missing = [n * self._length for n, seen in enumerate(self._seen) if not seen]
        return missing + pipeline.undecodable

    def _survey(self, info: Any) -> Optional[bool]:
        self._surveyed.append(self._chunk(info))
        return True if len(self._surveyed) == _SURVEYED else None

    def _chunk(self, info: Any) -> _Chunk:
        number, misfit = divmod(info.chunk_offset[0], self._length)
        # A filter that cannot compress a chunk makes it longer, but only a little.
        if misfit or info.size > 2 * self._chunk_bytes + 64 * 1024:
            raise _wrong_index()
        return _Chunk(info.byte_offset, info.byte_offset + info.size, number, info.filter_mask)

    def _visit(self, info: Any) -> None:
        """Read a chunk, or note its place. HDF5 calls this for each chunk, in column order."""
        chunk = self._chunk(info)
        self.stored_bytes += chunk.stop - chunk.start
        if chunk.number >= len(self._seen):
            return
        if self._seen[chunk.number] or chunk.stop > self._file_bytes:
            raise _wrong_index()
        self._seen[chunk.number] = 1
        if self._is_streaming:
            self._read_on(chunk)
        else:
            self._later.append(chunk)

    def _plan_from(self, chunk: _Chunk, num_chunks: int) -> None:
        surveyed_bytes = self._surveyed[-1].stop - self._surveyed[0].start
        # A little more than expected: another request at the end would cost a round trip.
        expected = surveyed_bytes * num_chunks // _SURVEYED * 33 // 32
        self._plan_stop = min(max(chunk.start + expected, chunk.stop), self._file_bytes)
        self._prefetcher.plan([(chunk.start, self._plan_stop)])

    def _read_on(self, chunk: _Chunk) -> None:
        if chunk.stop > self._plan_stop and self._leaps < _MAX_LEAPS:
            self._leaps += 1
            self._plan_from(chunk, len(self._seen) - self._done)
        stored = self._prefetcher.read(chunk.start, chunk.stop)
        if stored is None:
            self._later.append(chunk)  # not in the planned stretch, or the reader has passed it
        else:
            self._put(chunk, stored)

    def _read_later(self) -> None:
        """Read the chunks whose places were noted, in file order."""
        chunks = sorted(self._later)
        self._prefetcher.plan(_coalesced(chunks))
        for chunk in chunks:
            stored = self._prefetcher.read(chunk.start, chunk.stop)
            if stored is None:
                self._seen[chunk.number] = 0  # overlapping chunks, which HDF5 may still read
            else:
                self._put(chunk, stored)

    def _put(self, chunk: _Chunk, stored: Stored) -> None:
        first = chunk.number * self._length
        length = min(self._length, self._count - first)
        self._pipeline.put(first, stored, chunk.filter_mask, length)
        self._done += 1
        self._progress(self._total_bytes * self._done // len(self._seen), self._total_bytes)


class ContiguousColumnReader:
    """Reads the first values of a column that is stored contiguously, without filters.

    It has the interface of ``ChunkedColumnReader``.

    Args:
        dataset: A dataset of this layout, of a type that numpy has.
        prefetcher: Fetches ranges of the file.
        file_bytes: Length of the file.

    Attributes:
        stored_bytes: Length of the stored column.

    Raises:
        NwbError: The column ends beyond the end of the file.
    """

    def __init__(self, dataset: h5py.Dataset, prefetcher: Prefetcher, file_bytes: int) -> None:
        self._dtype = dataset.dtype
        self._prefetcher = prefetcher
        self._start = dataset.id.get_offset()
        self.stored_bytes = dataset.shape[0] * self._dtype.itemsize
        if self._start + self.stored_bytes > file_bytes:
            raise NwbError("the file is damaged: the spike times end beyond its end")

    def read(self, count: int, consume: Consume, progress: ReadProgress) -> List[int]:
        """Read the values.

        Args:
            count: How many values to read, 1 or more.
            consume: Called with the values, in order.
            progress: Called with the bytes that are read, and with those to read.

        Returns:
            An empty list: nothing is left to HDF5.

        Raises:
            NwbError: The server fails.
        """
        item_bytes = self._dtype.itemsize
        self._prefetcher.plan([(self._start, self._start + count * item_bytes)])
        progress(0, count * item_bytes)
        for first in range(0, count, _PIECE_VALUES):
            last = min(first + _PIECE_VALUES, count)
            start, stop = (self._start + number * item_bytes for number in (first, last))
            pieces = self._prefetcher.read(start, stop)
            if pieces is None:
                # All of it is planned, so this cannot happen. Going on would leave these values
                # uninitialised in the figure.
                raise AssertionError(f"values {first:,} to {last:,} were not fetched")
            piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            consume(first, np.frombuffer(piece, self._dtype))
            progress(last * item_bytes, count * item_bytes)
        return []


def _wrong_index() -> NwbError:
    return NwbError("the file is damaged: the index of the spike times' chunks is wrong")


def _is_dense(chunks: List[_Chunk]) -> bool:
    stored = sum(chunk.stop - chunk.start for chunk in chunks)
    ascending = all(a.stop <= b.start for a, b in zip(chunks, chunks[1:]))
    return ascending and stored >= _MIN_DENSITY * (chunks[-1].stop - chunks[0].start)


def _coalesced(chunks: List[_Chunk]) -> List[Tuple[int, int]]:
    ranges: List[Tuple[int, int]] = []
    for chunk in chunks:
        if ranges and chunk.start - ranges[-1][1] <= _MAX_GAP_BYTES:
            ranges[-1] = (ranges[-1][0], max(ranges[-1][1], chunk.stop))
        else:
            ranges.append((chunk.start, chunk.stop))
    return ranges
