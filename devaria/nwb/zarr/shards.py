"""Fetch the inner chunks of shards: objects that hold many chunks, with an index (Zarr 3)."""

import math
from functools import partial
from itertools import groupby
from typing import Iterator, List, Optional, Tuple

import numpy as np
import numpy.typing as npt

from devaria.common.text import one_line
from devaria.nwb.decoding.codecs import CHECKSUM_BYTES, UndecodableError
from devaria.nwb.decoding.decoder import ThreadDecoder
from devaria.nwb.errors import NwbError
from devaria.nwb.zarr.ahead import Fetch
from devaria.nwb.zarr.documents import Array
from devaria.nwb.zarr.runs import Span, run_fetches
from devaria.nwb.zarr.stores import Store

#: The offset and the length of a chunk that is not stored.
_ABSENT = 2**64 - 1

#: Most inner chunks of a shard.
_MAX_INNER = 1_000_000


def shard_fetches(
    store: Store, array: Array, places: Iterator[Tuple[int, ...]], longest: int
) -> Iterator[Fetch]:
    """Tell how to fetch inner chunks. The index of each shard is read on the way.

    Args:
        store: Has the shards.
        array: The array.
        places: The number of each inner chunk on each axis.
        longest: The longest that a chunk may be.

    Raises:
        NwbError: An index is damaged, or cannot be fetched.
    """
    inner = [shard // chunk for shard, chunk in zip(array.shards, array.chunks)]
    if math.prod(inner) > _MAX_INNER:
        raise NwbError(f"{one_line('/' + array.path)} has too many chunks in a shard")
    located = (
        (tuple(a // b for a, b in zip(place, inner)), tuple(a % b for a, b in zip(place, inner)))
        for place in places
    )
    for shard, group in groupby(located, key=lambda pair: pair[0]):
        key = array.key(shard)
        index = _index(store, array, key, inner)
        spans = (_span(index, within, longest) for _, within in group)
        yield from run_fetches(spans, partial(store.read_range, key))


def _index(
    store: Store, array: Array, key: str, inner: List[int]
) -> "Optional[npt.NDArray[np.uint64]]":
    length = 2 * math.prod(inner)
    steps = array.codecs.index_steps
    num_bytes = 8 * length + CHECKSUM_BYTES * len(steps)
    if array.codecs.index_first:
        stored: Optional[bytes] = store.read_range(key, 0, num_bytes)
    else:
        stored = store.read_end(key, num_bytes)
    if stored is None:
        return None
    try:
        values = ThreadDecoder(np.dtype("<u8"), length, steps).decode([memoryview(stored)], 0)
    except UndecodableError:
        raise NwbError(f"the index of {one_line(key)} is damaged") from None
    return values.reshape((*inner, 2)).copy()


def _span(index: "Optional[npt.NDArray[np.uint64]]", within: Tuple[int, ...], longest: int) -> Span:
    if index is None:
        return None
    start, length = (int(each) for each in index[within])
    if start == _ABSENT and length == _ABSENT:
        return None
    if length > longest or start + length >= 2**62:
        raise NwbError("the index of a shard gives a chunk an impossible length")
    return start, start + length
