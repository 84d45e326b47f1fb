"""Reading a column of a remote file at the line's speed.

HDF5 reads chunk after chunk, and its index between them, each over a round trip of its own. Here
the stored bytes are fetched in parallel, ahead of HDF5 as it walks its index, which lies among
them; and each chunk is decoded as soon as its place is known. What is odd in any way is left to
HDF5, so that the result is always its own.
"""

from contextlib import ExitStack, closing
from typing import Any, Callable, List, NamedTuple, Optional, Tuple

import h5py
import numpy as np

from devaria.nwb.errors import NwbError
from devaria.nwb.hdf5.btree_prefetch import IndexLookahead
from devaria.nwb.hdf5.chunks import Consume, Hdf5Decoder, Pipeline, Stored, thread_decoder
from devaria.nwb.http.prefetch import Prefetcher

#: Chunks by which it is judged how a column lies in the file.
_SURVEYED = 64

#: Chunks are fetched in one stretch where they fill at least this share of it.
_MIN_DENSITY = 0.5

#: Bytes of no use that are fetched rather than asked around.
_MAX_GAP_BYTES = 128 * 1024

#: Values of a column that is not in chunks are taken so many at a time.
_PIECE_VALUES = 128 * 1024

#: Leaps of the chunks after which the whole index is read before any more of them.
_MAX_LEAPS = 8


#: Takes bytes done and bytes in all.
ReadProgress = Callable[[int, int], None]


class _Chunk(NamedTuple):
    """Where a chunk lies in the file, and which it is of the column's."""

    start: int
    stop: int
    number: int
    filter_mask: int


class ChunkStream:
    """Reads the first values of a column that is in chunks.

    Args:
        dataset: A one-dimensional dataset that ``hdf5_guard`` has passed.
        prefetcher: Fetches ranges of the file.
        lookahead: Fetches the index.
        file_bytes: Length of the file.

    Attributes:
        stored_bytes: What is stored of it; known when it has been read.
    """

    def __init__(
        self,
        dataset: h5py.Dataset,
        prefetcher: Prefetcher,
        lookahead: IndexLookahead,
        file_bytes: int,
    ) -> None:
        self._dataset = dataset
        self._prefetcher = prefetcher
        self._lookahead = lookahead
        self._file_bytes = file_bytes
        self._length: int = dataset.chunks[0]
        self._chunk_bytes = self._length * dataset.dtype.itemsize
        self._surveyed: List[_Chunk] = []
        self._later: List[_Chunk] = []
        self._plan_stop = 0
        self._leaps = 0
        self._done = 0
        self.stored_bytes = 0
        # What HDF5 reads of the index for this, it keeps.
        dataset.id.chunk_iter(self._survey)
        is_longer = len(self._surveyed) == _SURVEYED
        self._is_streaming = is_longer and _is_dense(self._surveyed)

    def read(self, count: int, consume: Consume, progress: ReadProgress) -> List[int]:
        """Read the chunks that hold the first values.

        Args:
            count: How many values are wanted, 1 or more.
            consume: Takes the values, in any order, from several threads.
            progress: Takes stored bytes that are read, and those to be read.

        Returns:
            The numbers of the values at which chunks start that are left to HDF5: they are not
            stored, or damaged.

        Raises:
            NwbError: A chunk has an impossible place, or the server fails.
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
            self._lookahead.start()
        with ExitStack() as stack:
            decoder = thread_decoder(self._dataset) or stack.enter_context(
                closing(Hdf5Decoder(self._dataset))
            )
            pipeline = Pipeline(decoder, consume, self._chunk_bytes)
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
        # Filters lengthen what they cannot shorten by little.
        if misfit or info.size > 2 * self._chunk_bytes + 64 * 1024:
            raise _wrong_index()
        return _Chunk(info.byte_offset, info.byte_offset + info.size, number, info.filter_mask)

    def _visit(self, info: Any) -> None:
        """Take note of a chunk, or read it; HDF5 calls this for each in the order of the values."""
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
        # A little more than it should take: to ask again at the end costs a round trip.
        expected = surveyed_bytes * num_chunks // _SURVEYED * 33 // 32
        self._plan_stop = min(max(chunk.start + expected, chunk.stop), self._file_bytes)
        self._prefetcher.plan([(chunk.start, self._plan_stop)])

    def _read_on(self, chunk: _Chunk) -> None:
        if chunk.stop > self._plan_stop and self._leaps < _MAX_LEAPS:
            self._leaps += 1
            self._plan_from(chunk, len(self._seen) - self._done)
        stored = self._prefetcher.read(chunk.start, chunk.stop)
        if stored is None:
            self._later.append(chunk)  # it lies behind the others in the file
        else:
            self._put(chunk, stored)

    def _read_later(self) -> None:
        """Read the chunks whose places were noted, in the order in which they lie in the file."""
        chunks = sorted(self._later)
        self._prefetcher.plan(_coalesced(chunks))
        for chunk in chunks:
            stored = self._prefetcher.read(chunk.start, chunk.stop)
            if stored is None:
                self._seen[chunk.number] = 0  # chunks that overlap: HDF5 may make sense of them
            else:
                self._put(chunk, stored)

    def _put(self, chunk: _Chunk, stored: Stored) -> None:
        first = chunk.number * self._length
        length = min(self._length, self._count - first)
        self._pipeline.put(first, stored, chunk.filter_mask, length)
        self._done += 1
        self._progress(self._total_bytes * self._done // len(self._seen), self._total_bytes)


class PieceStream:
    """Reads the first values of a column that lies in the file in one piece, unfiltered.

    It is used as a ``ChunkStream`` is.

    Args:
        dataset: A dataset of this layout, of a type that numpy has.
        prefetcher: Fetches ranges of the file.
        file_bytes: Length of the file.

    Attributes:
        stored_bytes: What has been read of the file.
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
            count: How many are wanted, 1 or more.
            consume: Takes them.
            progress: Takes bytes that are read, and those to be read.

        Returns:
            Nothing that is left to HDF5.

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
            if pieces is not None:  # and it never is: all of it is planned
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
