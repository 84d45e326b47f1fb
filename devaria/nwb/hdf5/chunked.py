"""Read a dataset in chunks as fast as the network allows.

HDF5 reads one chunk after another, and parts of the index between them, each with a round trip to
the server. Here the stored bytes are fetched in parallel while HDF5 walks the index, and each chunk
is decoded as soon as its bytes are there. Unusual chunks are left to HDF5, so the values are always
those that HDF5 itself would read.
"""

import math
from contextlib import ExitStack, closing
from typing import Any, Callable, List, NamedTuple, Optional, Tuple

import h5py

from devaria.nwb.errors import NwbError
from devaria.nwb.hdf5.btree_prefetch import BTreePrefetcher
from devaria.nwb.hdf5.chunks import Hdf5Decoder, Stored, thread_decoder
from devaria.nwb.hdf5.pipeline import Consume, DecodingPipeline
from devaria.nwb.hdf5.selection import Selection
from devaria.nwb.http.prefetch import Plan, Prefetcher

#: The first chunks, whose places show how the dataset lies in the file.
_SURVEYED = 64

#: Chunks are fetched as one stretch if they fill at least this share of it.
_MIN_DENSITY = 0.5

#: Gaps between chunks up to this length are fetched too: that is faster than another request.
_MAX_GAP_BYTES = 128 * 1024

#: Chunks that do not follow each other are planned in groups of this many stored bytes: fetching
#: starts before the whole index is read.
_GROUP_BYTES = 8 * 1024 * 1024

#: How often fetching may start again at a chunk beyond the planned stretch. After that, such chunks
#: wait until the whole index is read.
_MAX_LEAPS = 8

#: Called with bytes read and bytes in all.
ReadProgress = Callable[[int, int], None]


class _Chunk(NamedTuple):
    """A chunk's place in the file, and its number in the selection."""

    start: int
    stop: int
    number: int
    filter_mask: int


class _Group(NamedTuple):
    """Chunks that are fetched together, in file order."""

    chunks: List[_Chunk]
    plan: Plan


class ChunkedReader:
    """Reads some rows of a dataset that is stored in chunks.

    Args:
        dataset: A dataset that ``link_guard.refuse_unsafe`` has accepted.
        selection: The wanted rows.
        prefetcher: Fetches ranges of the file.
        btree_prefetcher: Fetches the index.
        file_bytes: Length of the file.

    Attributes:
        selection: The wanted rows. They may become fewer at the end before ``read``.
        absent: The numbers of the chunks that are not stored; known after ``read``.
        left: The numbers of the chunks that are left to HDF5; known after ``read``.
    """

    def __init__(
        self,
        dataset: h5py.Dataset,
        selection: Selection,
        prefetcher: Prefetcher,
        btree_prefetcher: BTreePrefetcher,
        file_bytes: int,
    ) -> None:
        self._dataset = dataset
        self.selection = selection
        self._prefetcher = prefetcher
        self._btree_prefetcher = btree_prefetcher
        self._file_bytes = file_bytes
        self._chunk_bytes = math.prod(dataset.chunks) * dataset.dtype.itemsize
        self._has_filters = dataset.id.get_create_plist().get_nfilters() > 0
        self._surveyed: List[_Chunk] = []
        self._noted: List[_Chunk] = []
        self._noted_bytes = 0
        self._groups: List[_Group] = []
        self._is_planned = False
        self._seen = bytearray()
        self._leaps = self._done = self._stretch_stop = 0
        self._stored_bytes = 0
        self.absent: List[int] = []
        self.left: List[int] = []
        # HDF5 keeps the part of the index that it reads for this.
        dataset.id.chunk_iter(self._survey)
        is_longer = len(self._surveyed) == _SURVEYED
        self._is_streaming = is_longer and _is_dense(self._surveyed)

    def plan(self) -> None:
        """Find the places of all wanted chunks, and start to fetch them.

        Raises:
            NwbError: The index gives a chunk an impossible place, or the server fails.
        """
        self._is_planned = True
        self._seen = bytearray(self.selection.num_chunks)
        self._btree_prefetcher.start()
        self._dataset.id.chunk_iter(self._note)
        self._plan_noted()

    def read(self, consume: Consume, progress: ReadProgress) -> None:
        """Read the chunks.

        Args:
            consume: Called with the values, in any order, by several threads.
            progress: Called with the stored bytes that are read, and with those to read.

        Raises:
            NwbError: The index gives a chunk an impossible place, or the server fails.
        """
        self._progress = progress
        surveyed = sum(chunk.stop - chunk.start for chunk in self._surveyed)
        chunks = max(1, len(self._surveyed))
        self._total_bytes = max(1, surveyed * self.selection.num_chunks // chunks)
        progress(0, self._total_bytes)
        with ExitStack() as stack:
            decoder = thread_decoder(self._dataset) or stack.enter_context(
                closing(Hdf5Decoder(self._dataset))
            )
            self._pipeline = stack.enter_context(
                closing(DecodingPipeline(decoder, self.selection, consume, self._chunk_bytes))
            )
            if not self._is_planned and self._is_streaming:
                self._stream()
            elif not self._is_planned:
                self.plan()
            self._read_groups()
            self._pipeline.finish()
        self.left += self._pipeline.undecodable
        self.absent = [number for number, seen in enumerate(self._seen) if not seen]
        progress(self._total_bytes, self._total_bytes)

    def stored_bytes(self, enough: int) -> int:
        """Return the length of the chunks in the file that hold wanted rows; call it after `read`.

        Args:
            enough: If they are shorter than this, all chunks of the dataset count.
        """
        if self._stored_bytes < enough:
            self._stored_bytes = 0
            self._dataset.id.chunk_iter(self._count)
        return self._stored_bytes

    def _count(self, info: Any) -> None:
        self._stored_bytes += info.size

    def _survey(self, info: Any) -> Optional[bool]:
        if self.selection.is_beyond(info.chunk_offset):
            return True
        chunk = self._chunk(info)
        if chunk is not None:
            self._surveyed.append(chunk)
        return True if len(self._surveyed) == _SURVEYED else None

    def _chunk(self, info: Any) -> Optional[_Chunk]:
        number = self.selection.number(info.chunk_offset)
        # A filter that cannot compress a chunk makes it longer, but only a little.
        if info.size > 2 * self._chunk_bytes + 64 * 1024:
            raise _wrong_index()
        if number is None:
            return None
        return _Chunk(info.byte_offset, info.byte_offset + info.size, number, info.filter_mask)

    def _found(self, info: Any) -> Optional[_Chunk]:
        """Check a chunk's place in the file; return the chunk if it is wanted and usual."""
        chunk = self._chunk(info)
        if chunk is None:
            return None
        if self._seen[chunk.number] or chunk.stop > self._file_bytes:
            raise _wrong_index()
        self._seen[chunk.number] = 1
        self._stored_bytes += info.size
        if self._is_unfiltered_edge(info):
            self.left.append(chunk.number)
            return None
        return chunk

    def _is_unfiltered_edge(self, info: Any) -> bool:
        """Tell whether a chunk may be stored without filters since it reaches beyond the edge.

        Nothing that h5py shows says so (H5Pset_chunk_opts). Such a chunk has its full length.
        """
        if info.size != self._chunk_bytes or not self._has_filters:
            return False
        ends = (at + length for at, length in zip(info.chunk_offset, self.selection.chunks))
        return any(end > length for end, length in zip(ends, self._dataset.shape))

    def _note(self, info: Any) -> Optional[bool]:
        """Note the place of a chunk. HDF5 calls this for each chunk, in the order of the index."""
        if self.selection.is_beyond(info.chunk_offset):
            return True
        chunk = self._found(info)
        if chunk is not None:
            self._noted.append(chunk)
            self._noted_bytes += info.size
            if self._noted_bytes >= _GROUP_BYTES:
                self._plan_noted()
        return None

    def _plan_noted(self) -> None:
        chunks = sorted(self._noted)
        self._groups.append(_Group(chunks, self._prefetcher.plan(_coalesced(chunks))))
        self._noted, self._noted_bytes = [], 0

    def _read_groups(self) -> None:
        while self._groups:
            group = self._groups.pop(0)
            for chunk in group.chunks:
                stored = group.plan.read(chunk.start, chunk.stop)
                if stored is None:
                    self.left.append(chunk.number)  # overlapping chunks, which HDF5 may still read
                else:
                    self._put(chunk, stored)
            group.plan.close()

    def _stream(self) -> None:
        """Fetch the stretch that probably holds all chunks, and read them as HDF5 finds them."""
        self._seen = bytearray(self.selection.num_chunks)
        self._stretch = self._fetched_from(self._surveyed[0], self.selection.num_chunks)
        self._dataset.id.chunk_iter(self._visit)
        self._stretch.close()
        self._plan_noted()

    def _fetched_from(self, chunk: _Chunk, num_chunks: int) -> Plan:
        surveyed_bytes = self._surveyed[-1].stop - self._surveyed[0].start
        # A little more than expected: another request at the end would cost a round trip.
        expected = surveyed_bytes * num_chunks // _SURVEYED * 33 // 32
        self._stretch_stop = min(max(chunk.start + expected, chunk.stop), self._file_bytes)
        return self._prefetcher.plan([(chunk.start, self._stretch_stop)], is_urgent=True)

    def _visit(self, info: Any) -> Optional[bool]:
        """Read a chunk, or note its place. HDF5 calls this for each chunk."""
        if self.selection.is_beyond(info.chunk_offset):
            return True
        chunk = self._found(info)
        if chunk is not None:
            self._read_on(chunk)
        return None

    def _read_on(self, chunk: _Chunk) -> None:
        if chunk.stop > self._stretch_stop and self._leaps < _MAX_LEAPS:
            self._leaps += 1
            self._stretch.close()
            self._stretch = self._fetched_from(chunk, self.selection.num_chunks - self._done)
        stored = self._stretch.read(chunk.start, chunk.stop)
        if stored is None:
            self._noted.append(chunk)  # not in the stretch, or the reader has passed it
        else:
            self._put(chunk, stored)

    def _put(self, chunk: _Chunk, stored: Stored) -> None:
        self._pipeline.put(chunk.number, stored, chunk.filter_mask)
        self._done += 1
        done_bytes = self._total_bytes * self._done // self.selection.num_chunks
        self._progress(done_bytes, self._total_bytes)


def _wrong_index() -> NwbError:
    return NwbError("the file is damaged: an index of chunks is wrong")


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
