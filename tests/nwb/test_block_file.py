"""The file object over ranges reads like a file, with few requests."""

import io
from typing import List, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devaria.nwb.http.block_file import BLOCK_BYTES, BlockFile

CONTENT = bytes(range(251)) * (5 * BLOCK_BYTES // 251 + 7)


@settings(max_examples=50, deadline=None)
@given(
    reads=st.lists(
        st.tuples(st.integers(0, len(CONTENT) + 5), st.integers(0, 3 * BLOCK_BYTES)), max_size=8
    ),
    max_blocks=st.integers(1, 4),
    head=st.sampled_from([0, 100, BLOCK_BYTES, BLOCK_BYTES + 1, len(CONTENT)]),
)
def test_reads_as_a_file(reads: List[Tuple[int, int]], max_blocks: int, head: int) -> None:
    """Any reads, with any small cache, give the same as a plain file."""
    with io.BytesIO(CONTENT) as plain, BlockFile(
        lambda start, stop: CONTENT[start:stop],
        len(CONTENT),
        CONTENT[:head],
        max_blocks=max_blocks,
        max_run_blocks=max_blocks,
    ) as blocks:
        for offset, length in reads:
            assert blocks.seek(offset) == plain.seek(offset)
            assert blocks.read(length) == plain.read(length)
            assert blocks.tell() == plain.tell()


def test_reading_on_takes_few_requests_and_bounded_memory() -> None:
    """Sequential reading requests longer and longer runs, and keeps a limited number of blocks."""
    asked: List[Tuple[int, int]] = []

    def fetch(start: int, stop: int) -> bytes:
        asked.append((start, stop))
        return bytes(stop - start)

    size = 100 * BLOCK_BYTES
    with BlockFile(fetch, size, max_blocks=20) as blocks:
        while blocks.read(50_000):
            assert len(blocks._blocks) <= 20
    assert sum(stop - start for start, stop in asked) == size
    assert len(asked) < 12


def test_failure_is_kept() -> None:
    """The exception of a fetch is raised, and kept in ``failure``."""

    def fetch(_start: int, _stop: int) -> bytes:
        raise RuntimeError("gone")

    with BlockFile(fetch, 10) as blocks:
        with pytest.raises(RuntimeError, match="gone"):
            blocks.read(1)
        assert str(blocks.failure) == "gone"
