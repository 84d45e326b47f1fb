"""Read rows of an array of numbers: its chunks are fetched in parallel and decoded in threads."""

from contextlib import closing
from functools import partial
from typing import Any, Iterator, List, Optional, Tuple

import numpy as np
import numpy.typing as npt

from devaria.common.text import one_line
from devaria.nwb.decoding.pipeline import Consume, DecodingPipeline
from devaria.nwb.decoding.selection import Selection, Where
from devaria.nwb.decoding.wanted import Empty, ReadProgress, Rows, WantedRows
from devaria.nwb.errors import NwbError
from devaria.nwb.limits import ReadLimits
from devaria.nwb.zarr.ahead import Ahead, Fetch, Planned
from devaria.nwb.zarr.chunks import ChunkDecoder, chunk_fetches, place_of
from devaria.nwb.zarr.documents import Array
from devaria.nwb.zarr.stores import Store

#: Most chunks that are read of one array: each may be a request.
_MAX_CHUNKS = 1_000_000

#: So much may be declared and not stored before it counts as a bomb.
_FREE_BYTES = 64 * 1024 * 1024


class ZarrRows:
    """Reads rows of an array of numbers in pieces.

    Args:
        store: Has the chunks.
        ahead: Fetches them.
        array: The array.
        rows: Numbers of the wanted rows, with a step of 1 or more.
        limits: The largest chunk, and the largest ratio of declared to stored bytes.

    Raises:
        NwbError: The chunks are too large or too many.
    """

    def __init__(
        self, store: Store, ahead: Ahead, array: Array, rows: range, limits: ReadLimits
    ) -> None:
        self._shown = one_line(f"/{array.path}")
        if array.dtype is None:
            raise NwbError(f"{self._shown} holds {array.kind}, not numbers")
        self._dtype = array.dtype
        self._store = store
        self._ahead = ahead
        self._array = array
        self._limits = limits
        self._rows = rows
        if array.chunk_bytes > limits.max_chunk_bytes:
            raise NwbError(f"{self._shown} has chunks of {array.chunk_bytes:,} bytes: too large")
        # A single value has no axis, or one of length 1.
        self._grid = array.grid or (1,)
        self._chunks = array.chunks or (1,)
        self._selection = Selection(self._grid, self._chunks, rows)
        if self._selection.num_chunks > _MAX_CHUNKS:
            num_chunks = self._selection.num_chunks
            raise NwbError(
                f"{self._shown} has {num_chunks:,} chunks; at most {_MAX_CHUNKS:,} are read"
            )
        self._plan: Optional[Planned] = None
        self._pieces: List[Tuple[int, int]] = []
        self._piece_chunks = 0
        self._declared = self._credited = 0

    def is_ready(self) -> bool:
        """Return True: nothing needs to be known before the chunks are fetched."""
        return True

    def pieces(self, most_rows: int) -> List[Tuple[int, int]]:
        """Divide the wanted rows into pieces. Chunks are divided only if one is too long.

        Args:
            most_rows: How many rows a piece may have, 1 or more.

        Returns:
            For each piece, its first row and the row after its last one, counted among the wanted.
        """
        self._piece_chunks, self._pieces = self._selection.divided(most_rows)
        if not self._pieces:
            count = len(self._rows)
            starts = range(0, count, most_rows)
            self._pieces = [(start, min(start + most_rows, count)) for start in starts]
        return self._pieces

    def plan(self) -> None:
        """Start to fetch the chunks, after `pieces`."""
        if self._piece_chunks and self._plan is None:
            self._plan = self._ahead.plan(self._fetches())

    def read_piece(self, number: int, consume: Consume, progress: ReadProgress) -> None:
        """Read a piece, after `plan`. Pieces are read in their order.

        Args:
            number: Its number.
            consume: Called with the values, in any order, by several threads. Each place is an
                index into an array of the piece's rows.
            progress: Called with the chunks that are read, and with those of a whole piece.

        Raises:
            NwbError: A chunk cannot be fetched or decoded, or far too little is stored.
        """
        first, stop = self._pieces[number]
        if not self._piece_chunks:  # a chunk has more rows than a piece
            told = (self._store, self._ahead, self._array)
            own = ZarrRows(*told, self._rows[first:stop], self._limits)
            own.read_first(stop - first, consume, progress)
            return

        def shifted(where: Where, part: "npt.NDArray[Any]") -> None:
            rows = slice(where[0].start - first, where[0].stop - first)
            consume((rows, *where[1:]), part)

        begin = number * self._piece_chunks
        end = min(begin + self._piece_chunks, self._selection.num_chunks)
        self._read(range(begin, end), shifted, progress)

    def read_first(self, count: int, consume: Consume, progress: ReadProgress) -> None:
        """Read the first of the wanted rows.

        Args:
            count: How many.
            consume: As for `read_piece`.
            progress: Called with bytes read and bytes in all, decompressed.

        Raises:
            NwbError: As for `read_piece`.
        """
        if self._plan is None:
            self.pieces(len(self._rows))
            self.plan()
        self._rows = self._rows[:count]
        self._selection = Selection(self._grid, self._chunks, self._rows)
        chunk_bytes = self._array.chunk_bytes

        def told(done: int, total: int) -> None:
            progress(done * chunk_bytes, total * chunk_bytes)

        self._read(range(self._selection.num_chunks), consume, told)
        if self._plan is not None:
            self._plan.close()

    def _read(self, numbers: range, consume: Consume, progress: ReadProgress) -> None:
        if self._plan is None:
            raise RuntimeError("plan comes before read_piece")
        absent = []
        progress(0, len(numbers))
        decoder = ChunkDecoder(self._array, self._dtype, self._store.has_short_chunks)
        chunk_bytes = self._array.chunk_bytes
        pipeline = DecodingPipeline(decoder, self._selection, consume, chunk_bytes)
        with closing(pipeline):
            for done, number in enumerate(numbers, 1):
                stored = self._plan.read()
                if stored is None:
                    absent.append(number)
                else:
                    # What compresses better than gzip can is stored nevertheless.
                    self._credited += max(len(stored), chunk_bytes // self._limits.max_expansion)
                    pipeline.put(number, [stored], 0)
                progress(done, len(numbers))
            pipeline.finish()
        if pipeline.undecodable:
            place = self._array.key(
                place_of(self._array, self._selection, self._rows, pipeline.undecodable[0])
            )
            raise NwbError(f"{self._shown} is damaged: its chunk {one_line(place)} is broken")
        self._declared += len(numbers) * chunk_bytes
        if absent:
            self._refuse_bomb()
            self._fill(absent, consume)

    def _refuse_bomb(self) -> None:
        most = (self._credited + 1) * self._limits.max_expansion
        if self._declared > max(most, _FREE_BYTES):
            raise NwbError(
                f"{self._shown} declares {self._declared:,} bytes, but almost nothing is stored"
            )

    def _fill(self, absent: List[int], consume: Consume) -> None:
        for number in absent:
            where, inside = self._selection.place(number)
            lengths = zip(inside, self._chunks)
            shape = [len(range(*part.indices(length))) for part, length in lengths]
            consume(where, np.broadcast_to(self._array.fill, shape))

    def _fetches(self) -> Iterator[Fetch]:
        # As they are now: they may become fewer while this goes on.
        place = partial(place_of, self._array, self._selection, self._rows)
        return chunk_fetches(
            self._store, self._array, map(place, range(self._selection.num_chunks))
        )


class ZarrWanted(WantedRows):
    """Wanted rows of an array of numbers.

    Args:
        store: Has the chunks.
        ahead: Fetches them.
        array: The array, which holds numbers.
        rows: The rows, as ``slice`` has them.
        dtype: Type of the result, as numpy names it; None for the type of the array.
        limits: How much is read at most.
        empty: Makes the arrays for the values.

    Raises:
        InvalidInputError: The array is a single value, which has no rows; or its values cannot
            become of that type.
        NwbError: It must not be read.
    """

    def __init__(
        self,
        store: Store,
        ahead: Ahead,
        array: Array,
        rows: Rows,
        dtype: Any,
        limits: ReadLimits,
        empty: Empty,
    ) -> None:
        shown = one_line(f"/{array.path}")
        stored = array.dtype or np.dtype("V1")
        super().__init__(shown, array.shape, stored, rows, dtype, limits, empty)
        wanted = self._rows if array.shape else range(1)
        self._reader = ZarrRows(store, ahead, array, wanted, limits)
        self._stored_shape, self._stored = array.grid or (1,), stored

    @property
    def _pieces(self) -> ZarrRows:
        return self._reader

    def plan(self) -> None:
        """Start to fetch all values."""
        super().plan()
        if not self._has_values and not self.shape:
            self._reader.pieces(1)
            self._reader.plan()

    def read_into(self, count: int, consume: Consume, progress: ReadProgress) -> None:
        """Read the first of the wanted rows, in any order."""
        if count and self._has_values:
            self._reader.read_first(count, consume, progress)

    def _single(self) -> "npt.NDArray[Any]":
        values = np.empty(self._stored_shape, self._stored)
        self._reader.read_first(1, values.__setitem__, lambda _done, _total: None)
        return values.reshape(())
