"""Which chunks of a dataset hold the wanted rows, and where their values go."""

import math
from typing import List, Optional, Sequence, Tuple

from devaria.nwb.errors import NwbError

#: A part of an array: a slice for each axis.
Where = Tuple[slice, ...]


class Selection:
    """Some rows of a dataset in chunks.

    Its chunks are numbered in the order of the index: along the last axis first.

    Args:
        shape: Lengths of the dataset's axes, one or more.
        chunks: Lengths of a chunk's axes.
        rows: Numbers of the wanted rows, with a step of 1 or more.

    Attributes:
        chunks: Lengths of a chunk's axes.
        num_chunks: How many chunks hold wanted rows.
        index_chunks: How many chunks there are from the first of the dataset to the last wanted.
        first_row: The first row of the first chunk that holds wanted rows.
        stop_row: The row after the last such chunk.
    """

    def __init__(self, shape: Sequence[int], chunks: Sequence[int], rows: range) -> None:
        self.chunks = tuple(chunks)
        self._shape = tuple(shape)
        self._rows = rows
        self._grid = [-(-length // chunk) for length, chunk in zip(shape[1:], chunks[1:])]
        self._chunks_a_row = math.prod(self._grid)
        # With a longer step, each wanted row lies in a chunk of its own.
        self._is_sparse = rows.step > chunks[0]
        self._first = rows.start // chunks[0]
        if not rows:
            chunk_rows = 0
        elif self._is_sparse:
            chunk_rows = len(rows)
        else:
            chunk_rows = rows[-1] // chunks[0] - self._first + 1
        self.num_chunks = chunk_rows * self._chunks_a_row
        self.first_row = self._first * chunks[0]
        self.stop_row = (rows[-1] // chunks[0] + 1) * chunks[0] if rows else 0
        self.index_chunks = self.stop_row // chunks[0] * self._chunks_a_row

    def is_beyond(self, offset: Sequence[int]) -> bool:
        """Return whether a chunk, and all after it in the index, hold no wanted rows.

        Args:
            offset: The chunk's first value: its place on each axis.
        """
        return offset[0] >= self.stop_row

    def number(self, offset: Sequence[int]) -> Optional[int]:
        """Return the number of a chunk.

        Args:
            offset: The chunk's first value: its place on each axis.

        Returns:
            The number, less than ``num_chunks``; None if the chunk holds no wanted rows.

        Raises:
            NwbError: No chunk can start there.
        """
        row, misfit = divmod(offset[0], self.chunks[0])
        number = self._row_number(row)
        for place, length, grid in zip(offset[1:], self.chunks[1:], self._grid):
            index, rest = divmod(place, length)
            misfit |= rest or index >= grid
            number = number * grid + index
        if misfit:
            raise NwbError("the file is damaged: an index of chunks is wrong")
        return number if 0 <= number < self.num_chunks else None

    def divided(self, most_rows: int) -> Tuple[int, List[Tuple[int, int]]]:
        """Divide the wanted rows into pieces of whole chunks.

        Args:
            most_rows: How many rows a piece may have, 1 or more.

        Returns:
            The number of chunks in each piece but the last; and for each piece, its first row and
            the row after its last one, counted among the wanted rows. 0 and nothing if a chunk has
            more wanted rows than a piece may have.
        """
        chunk_rows = self.num_chunks // max(1, self._chunks_a_row)
        rows_a_chunk = -(-self.chunks[0] // self._rows.step)
        step = chunk_rows if most_rows >= len(self._rows) else most_rows // rows_a_chunk
        pieces = [
            (
                self._row_place(first)[0].start,
                self._row_place(min(first + step, chunk_rows) - 1)[0].stop,
            )
            for first in (range(0, chunk_rows, step) if step else ())
        ]
        return step * self._chunks_a_row, pieces

    def place(self, number: int) -> Tuple[Where, Where]:
        """Return where the wanted values of a chunk are, and where they go.

        Args:
            number: The chunk's number.

        Returns:
            Their place in an array of the wanted rows, and their place in the chunk.
        """
        if len(self.chunks) == 1:
            where, inside = self._row_place(number)
            return (where,), (inside,)
        number, rest = divmod(number, self._chunks_a_row)
        axes = []
        for length, chunk, grid in zip(
            self._shape[:0:-1], self.chunks[:0:-1], reversed(self._grid)
        ):
            rest, index = divmod(rest, grid)
            start = index * chunk
            stop = min(start + chunk, length)
            axes.append((slice(start, stop), slice(0, stop - start)))
        axes.append(self._row_place(number))
        wheres, insides = zip(*reversed(axes))
        return wheres, insides

    def _row_number(self, row: int) -> int:
        """Number a row of chunks; the number is out of range if it holds no wanted rows."""
        if not self._is_sparse:
            return row - self._first
        rows, start = self._rows, row * self.chunks[0]
        number = -(-(start - rows.start) // rows.step)
        is_wanted = 0 <= number < len(rows) and rows[number] < start + self.chunks[0]
        return number if is_wanted else -1

    def _row_place(self, number: int) -> Tuple[slice, slice]:
        rows, length = self._rows, self.chunks[0]
        if self._is_sparse:
            inside = rows[number] % length
            return slice(number, number + 1), slice(inside, inside + 1)
        start = (self._first + number) * length
        first = max(0, -(-(start - rows.start) // rows.step))
        last = min(len(rows), -(-(start + length - rows.start) // rows.step))
        inside = rows.start + first * rows.step - start
        return slice(first, last), slice(inside, inside + (last - first) * rows.step, rows.step)
