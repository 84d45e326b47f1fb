"""Which chunks some rows need, and where their values go: the same as by trying all."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devaria.nwb.decoding.selection import Selection
from devaria.nwb.errors import NwbError


def draw_selection(draw: Any) -> Any:
    """Draw a shape, chunks and rows."""
    shape = tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=4), "shape"))
    chunks = tuple(draw(st.integers(1, length + 2), "chunk") for length in shape)
    bound = st.integers(0, shape[0])
    rows = range(*slice(draw(bound), draw(bound), draw(st.integers(1, 5))).indices(shape[0]))
    return shape, chunks, rows


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_each_wanted_value_comes_from_one_chunk(data: Any) -> None:
    """And chunks without wanted rows are none of them."""
    shape, chunks, rows = draw_selection(data.draw)
    values = np.arange(np.prod(shape)).reshape(shape)
    padded = np.full([-(-n // c) * c for n, c in zip(shape, chunks)], -1)
    padded[tuple(slice(0, n) for n in shape)] = values
    selection = Selection(shape, chunks, rows)
    result = np.full((len(rows), *shape[1:]), -2)
    numbers = []
    for corner in itertools.product(*(range(0, n, c) for n, c in zip(shape, chunks))):
        number = selection.number(corner)
        is_wanted = any(row in range(corner[0], corner[0] + chunks[0]) for row in rows)
        assert (number is not None) == is_wanted
        assert not (is_wanted and selection.is_beyond(corner))
        if number is not None:
            numbers.append(number)
            chunk = padded[tuple(slice(at, at + c) for at, c in zip(corner, chunks))]
            where, inside = selection.place(number)
            assert (result[where] == -2).all()
            result[where] = chunk[inside]
    assert numbers == list(range(selection.num_chunks))
    np.testing.assert_array_equal(result, values[rows.start : rows.stop : rows.step])


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_pieces_are_whole_chunks(data: Any) -> None:
    """They follow each other, have no more rows than asked, and share no chunk."""
    shape, chunks, rows = draw_selection(data.draw)
    most_rows = data.draw(st.integers(1, 10), "most rows")
    selection = Selection(shape, chunks, rows)
    piece_chunks, pieces = selection.divided(most_rows)
    if not pieces:
        rows_of_chunks = [selection.place(number)[0][0] for number in range(selection.num_chunks)]
        longest = max((part.stop - part.start for part in rows_of_chunks), default=0)
        assert not rows or most_rows < -(-chunks[0] // rows.step) >= longest
        return
    assert [first for first, _ in pieces[1:]] == [stop for _, stop in pieces[:-1]]
    assert (pieces[0][0], pieces[-1][1]) == (0, len(rows))
    for number, (first, stop) in enumerate(pieces):
        assert 0 < stop - first <= most_rows
        own = range(number * piece_chunks, min((number + 1) * piece_chunks, selection.num_chunks))
        for chunk in own:
            where = selection.place(chunk)[0][0]
            assert first <= where.start < where.stop <= stop


@pytest.mark.parametrize("corner", [(3, 0), (0, 3), (0, 4), (2, 400)])
def test_a_chunk_that_cannot_be_is_an_error(corner: Any) -> None:
    """One between two chunks, or beyond the dataset."""
    with pytest.raises(NwbError, match="an index of chunks is wrong"):
        Selection((10, 4), (2, 2), range(10)).number(corner)


def test_huge_shapes_take_no_memory() -> None:
    """Only numbers are calculated."""
    selection = Selection((10**12, 10**9), (1, 1), range(5, 10**12, 10**6))
    assert selection.num_chunks == 10**15
    assert selection.number((10**6 + 5, 7)) == 10**9 + 7
    assert selection.number((10**6 + 6, 7)) is None
