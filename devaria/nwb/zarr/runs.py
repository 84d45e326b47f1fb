"""Join ranges of one file that lie close to each other into one request."""

from functools import partial
from typing import Callable, Iterable, Iterator, List, Optional, Tuple

from devaria.nwb.zarr.ahead import Fetch

#: The longest request, unless one chunk is longer; and the longest gap that is fetched too.
_RUN_BYTES, _MAX_GAP_BYTES = 2 * 1024 * 1024, 128 * 1024

#: Offset of a chunk's first byte, and the offset after its last; None if it is not stored.
Span = Optional[Tuple[int, int]]


def run_fetches(
    spans: Iterable[Span], read: Callable[[int, int], Optional[bytes]]
) -> Iterator[Fetch]:
    """Tell how to fetch ranges of one file, in their order.

    Args:
        spans: The ranges.
        read: Returns the bytes from one offset up to another.
    """
    run: List[Tuple[int, int]] = []
    for span in spans:
        if run and (span is None or not _fits(run, span)):
            yield _fetch(run, read)
            run = []
        if span is None:
            yield Fetch(_nothing, 0)
        else:
            run.append(span)
    if run:
        yield _fetch(run, read)


def _fits(run: List[Tuple[int, int]], span: Tuple[int, int]) -> bool:
    gap = span[0] - run[-1][1]
    return 0 <= gap <= _MAX_GAP_BYTES and span[1] - run[0][0] <= _RUN_BYTES


def _fetch(run: List[Tuple[int, int]], read: Callable[[int, int], Optional[bytes]]) -> Fetch:
    first, stop = run[0][0], run[-1][1]
    places = tuple((start - first, end - first) for start, end in run)
    return Fetch(partial(read, first, stop), stop - first, places)


def _nothing() -> None:
    return None
