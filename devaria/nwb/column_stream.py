"""Reading a column of a remote file at the line's speed.

HDF5 reads chunk after chunk, and its index between them, each over a round trip of its own. Here
the stored bytes are fetched in parallel, ahead of HDF5 as it walks its index, which lies among
them; and each chunk is decoded as soon as its place is known. What is odd in any way is left to
HDF5, so that the result is always its own.
"""

from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any, Callable, List, NamedTuple, Tuple

import h5py
import numpy as np

from devaria.nwb.chunk_decode import Hdf5Decoder, thread_decoder
from devaria.nwb.errors import NwbError
from devaria.nwb.pipeline import Consume, Pipeline
from devaria.nwb.prefetch import Prefetcher

#: Chunks by which it is judged how a column lies in the file.
_SURVEYED = 64

#: Chunks are fetched in one stretch where they fill at least this share of it.
_MIN_DENSITY = 0.5

#: Bytes of no use that are fetched rather than asked around.
_MAX_GAP_BYTES = 64 * 1024

#: Values of a column that is not in chunks are taken so many at a time.
_PIECE_VALUES = 128 * 1024

#: Leaps of the chunks after which the whole index is read before any more of them.
_MAX_LEAPS = 8


@dataclass(frozen=True)
class Route:
    """Where a column's bytes come from, and where its values go.

    Attributes:
        prefetcher: Fetches ranges of the file.
        file_bytes: Length of the file.
        consume: Takes the values, in any order, from several threads.
        progress: Takes stored bytes that are read, and those to be read.
    """

    prefetcher: Prefetcher
    file_bytes: int
    consume: Consume
    progress: Callable[[int, int], None]


class _Chunk(NamedTuple):
    """Where a chunk lies in the file, and which it is of the column's."""

    start: int
    stop: int
    number: int
    filter_mask: int


class ColumnStream:
    """Reads the first values of one column.

    Args:
        dataset: A one-dimensional dataset, in chunks, that ``hdf5_guard`` has passed.
        count: How many of its values are wanted, 1 or more.
        route: Where its bytes come from, and where its values go.

    Attributes:
        stored_bytes: What has been read of the file.
    """

    def __init__(self, dataset: h5py.Dataset, count: int, route: Route) -> None:
        self._dataset = dataset
        self._count = count
        self._route = route
        self._prefetcher = route.prefetcher
        self._length: int = dataset.chunks[0]
        self._chunk_bytes = self._length * dataset.dtype.itemsize
        self._seen = bytearray(-(-count // self._length))
        self._is_streaming = False
        self._later: List[_Chunk] = []
        self._plan_stop = 0
        self._leaps = 0
        self._done = 0
        self._total_bytes = 0
        self.stored_bytes = 0

    def run(self) -> List[int]:
        """Read the chunks.

        Returns:
            The numbers of the values at which chunks start that are left to HDF5: they are not
            stored, or damaged.

        Raises:
            NwbError: A chunk has an impossible place, or the server fails.
        """
        with ExitStack() as stack:
            decoder = thread_decoder(self._dataset) or stack.enter_context(
                closing(Hdf5Decoder(self._dataset))
            )
            pipeline = Pipeline(decoder, self._route.consume, self._chunk_bytes)
            self._pipeline = stack.enter_context(closing(pipeline))
            self._dataset.id.chunk_iter(self._visit)
            self._read_later()
            pipeline.finish()
        missing = [n * self._length for n, seen in enumerate(self._seen) if not seen]
        return missing + pipeline.undecodable

    def _visit(self, info: Any) -> None:
        """Take note of a chunk, or read it; HDF5 calls this for each in the order of the values."""
        number, misfit = divmod(info.chunk_offset[0], self._length)
        if misfit == 0 and number >= len(self._seen):
            return
        chunk = _Chunk(info.byte_offset, info.byte_offset + info.size, number, info.filter_mask)
        self._refuse_impossible(chunk, misfit)
        self._seen[number] = 1
        self.stored_bytes += info.size
        if self._is_streaming:
            self._read_on(chunk)
            return
        self._later.append(chunk)
        if len(self._later) == _SURVEYED and _is_dense(self._later):
            self._start_streaming()

    def _refuse_impossible(self, chunk: _Chunk, misfit: int) -> None:
        # Filters lengthen what they cannot shorten by little.
        too_long = chunk.stop - chunk.start > 2 * self._chunk_bytes + 64 * 1024
        if misfit or too_long or self._seen[chunk.number] or chunk.stop > self._route.file_bytes:
            raise NwbError("the file is damaged: the index of the spike times' chunks is wrong")

    def _start_streaming(self) -> None:
        surveyed, self._later, self._is_streaming = self._later, [], True
        self._surveyed_bytes = surveyed[-1].stop - surveyed[0].start
        self._expect(self.stored_bytes * len(self._seen) // _SURVEYED)
        self._plan_from(surveyed[0])
        for chunk in surveyed:
            self._read_on(chunk)

    def _plan_from(self, chunk: _Chunk) -> None:
        chunks_left = len(self._seen) - self._done
        # A little more than it should take: to ask again at the end costs a round trip.
        expected = self._surveyed_bytes * chunks_left // _SURVEYED * 33 // 32
        self._plan_stop = min(max(chunk.start + expected, chunk.stop), self._route.file_bytes)
        self._prefetcher.plan([(chunk.start, self._plan_stop)])

    def _read_on(self, chunk: _Chunk) -> None:
        if chunk.stop > self._plan_stop and self._leaps < _MAX_LEAPS:
            self._leaps += 1
            self._plan_from(chunk)
        stored = self._prefetcher.read(chunk.start, chunk.stop)
        if stored is None:
            self._later.append(chunk)  # it lies behind the others in the file
        else:
            self._put(chunk, stored)

    def _read_later(self) -> None:
        """Read the chunks whose places were noted, in the order in which they lie in the file."""
        chunks = sorted(self._later)
        if not self._is_streaming:
            self._expect(self.stored_bytes)
        self._prefetcher.plan(_coalesced(chunks))
        for chunk in chunks:
            stored = self._prefetcher.read(chunk.start, chunk.stop)
            if stored is None:
                self._seen[chunk.number] = 0  # chunks that overlap: HDF5 may make sense of them
            else:
                self._put(chunk, stored)

    def _put(self, chunk: _Chunk, stored: memoryview) -> None:
        first = chunk.number * self._length
        length = min(self._length, self._count - first)
        self._pipeline.put(first, stored, chunk.filter_mask, length)
        self._done += 1
        self._route.progress(self._total_bytes * self._done // len(self._seen), self._total_bytes)

    def _expect(self, total_bytes: int) -> None:
        self._total_bytes = max(1, total_bytes)
        self._route.progress(0, self._total_bytes)


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


def stream_contiguous(dataset: h5py.Dataset, count: int, route: Route) -> None:
    """Read the first values of a column that lies in the file in one piece, unfiltered.

    Args:
        dataset: A dataset of this layout, of a type that numpy has.
        count: How many of its values are wanted, 1 or more.
        route: Where its bytes come from, and where its values go.

    Raises:
        NwbError: It does not lie within the file, or the server fails.
    """
    start, item_bytes = dataset.id.get_offset(), dataset.dtype.itemsize
    stop = start + count * item_bytes
    if stop > route.file_bytes:
        raise NwbError("the file is damaged: the spike times end beyond its end")
    route.progress(0, stop - start)
    route.prefetcher.plan([(start, stop)])
    step = _PIECE_VALUES * item_bytes
    for offset in range(start, stop, step):
        end = min(offset + step, stop)
        piece = route.prefetcher.read(offset, end)
        if piece is not None:  # and it never is: all of it is planned
            route.consume((offset - start) // item_bytes, np.frombuffer(piece, dataset.dtype))
        route.progress(end - start, stop - start)
