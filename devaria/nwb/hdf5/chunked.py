"""Read a dataset in chunks as fast as the network allows.

HDF5 reads one chunk after another, and parts of the index between them, each with a round trip to
the server. Here the stored bytes are fetched in parallel while HDF5 walks the index, and each chunk
is decoded as soon as its bytes are there. Unusual chunks are left to HDF5, so the values are always
those that HDF5 itself would read.
"""

from collections import deque
from contextlib import ExitStack, closing, contextmanager
from typing import Callable, Deque, Iterator, List, NamedTuple, Optional, Tuple

import h5py

from devaria.nwb.decoding.codecs import Stored
from devaria.nwb.decoding.pipeline import Consume, DecodingPipeline
from devaria.nwb.decoding.wanted import ReadProgress
from devaria.nwb.hdf5.chunk_index import Chunk, ChunkIndex
from devaria.nwb.hdf5.chunks import Hdf5Decoder, thread_decoder
from devaria.nwb.http.plan import Plan
from devaria.nwb.http.prefetch import Prefetcher

#: The first chunks, whose places show how the dataset lies in the file.
_SURVEYED = 64

#: Chunks are fetched as one stretch if they fill at least this share of it.
_MIN_DENSITY = 0.5

#: Gaps between chunks up to this length are fetched too: that is faster than another request.
_MAX_GAP_BYTES = 128 * 1024

#: Most bytes that are fetched before the place of any chunk is known.
_MAX_GUESS_BYTES = 8 * 1024 * 1024

#: Chunks are planned in groups of this many stored bytes: fetching starts before the whole index is
#: read.
_GROUP_BYTES = 8 * 1024 * 1024

#: How often fetching may start again at a chunk beyond the planned stretch. After that, such chunks
#: wait until the whole index is read.
_MAX_LEAPS = 8


class _Group(NamedTuple):
    """Chunks of one piece that are fetched together, in file order."""

    piece: int
    chunks: List[Chunk]
    plan: Plan


class ChunkedReader:
    """Reads some rows of a dataset that is stored in chunks.

    Call ``plan`` and then ``read_piece`` for each piece; or ``survey`` and then ``read_all``, which
    starts sooner if the dataset is long and its chunks lie close to each other.

    Args:
        dataset: A dataset that ``link_guard.refuse_unsafe`` has accepted.
        index: Finds its chunks.
        prefetcher: Fetches ranges of the file.

    Attributes:
        index: Finds its chunks.
        left: The numbers of the chunks that were left to HDF5 in the last reading.
    """

    def __init__(self, dataset: h5py.Dataset, index: ChunkIndex, prefetcher: Prefetcher) -> None:
        self._dataset = dataset
        self.index = index
        self._prefetcher = prefetcher
        self._surveyed: List[Chunk] = []
        self._guessed: Optional[Plan] = None
        self._noted: List[Chunk] = []
        self._noted_bytes = 0
        self._groups: Deque[_Group] = deque()
        self._piece_chunks = 1
        self._leaps = self._done = self._stretch_stop = 0
        self._tell: Callable[[], object] = lambda: None
        self.left: List[int] = []

    def survey(self) -> None:
        """Look at the places of the first chunks.

        Where these probably lie, fetching begins at once.

        Raises:
            NwbError: The index gives a chunk an impossible place, or the server fails.
        """
        guess = self.index.guess()
        if guess is not None:
            stop = min(guess[1], guess[0] + _MAX_GUESS_BYTES)
            self._guessed = self._prefetcher.plan([(guess[0], stop)], is_urgent=True)
            self._stretch_stop = stop
        self._surveyed = self.index.first(_SURVEYED)

    def plan(self, piece_chunks: int) -> None:
        """Find the places of all wanted chunks, and start to fetch them.

        Args:
            piece_chunks: How many chunks each piece has, 1 or more; the last may have fewer.

        Raises:
            NwbError: The index gives a chunk an impossible place, or the server fails.
        """
        self._piece_chunks = max(1, piece_chunks)
        self.index.walk(self._note)
        self._plan_noted()
        self._groups = deque(sorted(self._groups, key=lambda group: group.piece))

    def read_piece(self, piece: int, consume: Consume, progress: ReadProgress) -> None:
        """Read the chunks of one piece. Pieces are read in their order.

        Args:
            piece: Its number.
            consume: Called with the values, in any order, by several threads.
            progress: Called with the chunks that are read, and with those of a whole piece.

        Raises:
            NwbError: The server fails.
        """
        self._done = 0
        self._tell = lambda: progress(self._done, self._piece_chunks)
        with self._decoding(consume):
            self._read_groups(piece)

    def read_all(self, consume: Consume, progress: ReadProgress) -> None:
        """Read all chunks.

        Args:
            consume: Called with the values, in any order, by several threads.
            progress: Called with the stored bytes that are read, and with those to read.

        Raises:
            NwbError: The index gives a chunk an impossible place, or the server fails.
        """
        num_chunks = self.index.selection.num_chunks
        surveyed = sum(chunk.stop - chunk.start for chunk in self._surveyed)
        total_bytes = max(1, surveyed * num_chunks // max(1, len(self._surveyed)))
        progress(0, total_bytes)
        with self._decoding(consume):
            self._tell = lambda: progress(total_bytes * self._done // num_chunks, total_bytes)
            if len(self._surveyed) == _SURVEYED and _is_dense(self._surveyed):
                self._stream(num_chunks)
            else:
                self._drop_guess()
                self.index.fetch()
                self.plan(num_chunks)
            self._read_groups(0)
        progress(total_bytes, total_bytes)

    @contextmanager
    def _decoding(self, consume: Consume) -> Iterator[None]:
        with ExitStack() as stack:
            decoder = thread_decoder(self._dataset) or stack.enter_context(
                closing(Hdf5Decoder(self._dataset))
            )
            selection, chunk_bytes = self.index.selection, self.index.chunk_bytes
            pipeline = DecodingPipeline(decoder, selection, consume, chunk_bytes)
            self._pipeline = stack.enter_context(closing(pipeline))
            self.left = []
            yield
            pipeline.finish()
        self.left += pipeline.undecodable
        del self._pipeline  # it holds the values, which the caller owns

    def _note(self, chunk: Chunk) -> None:
        piece = chunk.number // self._piece_chunks
        if self._noted and (
            self._noted_bytes >= _GROUP_BYTES
            or self._noted[0].number // self._piece_chunks != piece
        ):
            self._plan_noted()
        self._noted.append(chunk)
        self._noted_bytes += chunk.stop - chunk.start

    def _plan_noted(self) -> None:
        if self._noted:
            piece = self._noted[0].number // self._piece_chunks
            chunks = sorted(self._noted)
            self._groups.append(_Group(piece, chunks, self._prefetcher.plan(_coalesced(chunks))))
        self._noted, self._noted_bytes = [], 0

    def _read_groups(self, piece: int) -> None:
        while self._groups and self._groups[0].piece == piece:
            group = self._groups.popleft()
            for chunk in group.chunks:
                stored = group.plan.read(chunk.start, chunk.stop)
                if stored is None:
                    self.left.append(chunk.number)  # overlapping chunks, which HDF5 may still read
                else:
                    self._put(chunk, stored)
            group.plan.close()

    def _stream(self, num_chunks: int) -> None:
        """Fetch the stretch that probably holds all chunks, and read them as HDF5 finds them."""
        self._piece_chunks = num_chunks
        self._stretch = self._first_stretch(num_chunks)
        self.index.walk(self._read_on)
        self._stretch.close()
        self._plan_noted()

    def _first_stretch(self, num_chunks: int) -> Plan:
        first, guessed = self._surveyed[0], self._guessed
        if guessed is None or not guessed.holds(first.start):
            self._drop_guess()
            return self._fetched_from(first, num_chunks)
        self._guessed = None
        start, self._stretch_stop = self._stretch_stop, self._expected_stop(first, num_chunks)
        self._prefetcher.extend(guessed, [(start, self._stretch_stop)])
        self._stretch_stop = max(start, self._stretch_stop)
        return guessed

    def _drop_guess(self) -> None:
        if self._guessed is not None:
            self._guessed.close()
            self._guessed = None

    def _fetched_from(self, chunk: Chunk, num_chunks: int) -> Plan:
        self._stretch_stop = self._expected_stop(chunk, num_chunks)
        return self._prefetcher.plan([(chunk.start, self._stretch_stop)], is_urgent=True)

    def _expected_stop(self, chunk: Chunk, num_chunks: int) -> int:
        surveyed_bytes = self._surveyed[-1].stop - self._surveyed[0].start
        # A little more than expected: another request at the end would cost a round trip.
        expected = surveyed_bytes * num_chunks // _SURVEYED * 33 // 32
        return max(chunk.start + expected, chunk.stop)

    def _read_on(self, chunk: Chunk) -> None:
        if chunk.stop > self._stretch_stop and self._leaps < _MAX_LEAPS:
            self._leaps += 1
            self._stretch.close()
            left = self.index.selection.num_chunks - self._done
            self._stretch = self._fetched_from(chunk, left)
        stored = self._stretch.read(chunk.start, chunk.stop)
        if stored is None:
            self._noted.append(chunk)  # not in the stretch, or the reader has passed it
        else:
            self._put(chunk, stored)

    def _put(self, chunk: Chunk, stored: Stored) -> None:
        self._pipeline.put(chunk.number, stored, chunk.filter_mask)
        self._done += 1
        self._tell()


def _is_dense(chunks: List[Chunk]) -> bool:
    stored = sum(chunk.stop - chunk.start for chunk in chunks)
    ascending = all(a.stop <= b.start for a, b in zip(chunks, chunks[1:]))
    return ascending and stored >= _MIN_DENSITY * (chunks[-1].stop - chunks[0].start)


def _coalesced(chunks: List[Chunk]) -> List[Tuple[int, int]]:
    ranges: List[Tuple[int, int]] = []
    for chunk in chunks:
        if ranges and chunk.start - ranges[-1][1] <= _MAX_GAP_BYTES:
            ranges[-1] = (ranges[-1][0], max(ranges[-1][1], chunk.stop))
        else:
            ranges.append((chunk.start, chunk.stop))
    return ranges
