"""The chunks of an array: where each lies, how it is fetched and decoded."""

from typing import Any, Iterator, Tuple

import numpy as np
import numpy.typing as npt

from devaria.nwb.decoding.codecs import Stored, longest_filtered
from devaria.nwb.decoding.decoder import ThreadDecoder
from devaria.nwb.decoding.selection import Selection
from devaria.nwb.zarr.ahead import Fetch
from devaria.nwb.zarr.documents import Array
from devaria.nwb.zarr.shards import shard_fetches
from devaria.nwb.zarr.stores import Store

#: The longest chunk of texts as it is stored.
_MAX_TEXT_BYTES = 8 * 1024 * 1024


class ChunkDecoder:
    """Decodes chunks whose axes may be stored in any order.

    Args:
        array: The array.
        dtype: Type of its values.
        may_be_short: Whether a chunk without codecs may end early, and zeros follow.
    """

    in_threads = True

    def __init__(self, array: Array, dtype: "np.dtype[Any]", may_be_short: bool) -> None:
        self._order = array.codecs.order
        self._chunks = array.chunks
        self._may_be_short = may_be_short and not array.codecs.steps
        self._num_bytes = array.chunk_bytes
        self._decoder = ThreadDecoder(dtype, array.chunk_length, array.codecs.steps)

    def decode(self, stored: Stored, filter_mask: int) -> "npt.NDArray[Any]":
        """Decode one chunk, as `ThreadDecoder.decode` does."""
        length = sum(map(len, stored))
        if self._may_be_short and length < self._num_bytes:
            stored = [*stored, memoryview(bytes(self._num_bytes - length))]
        values = self._decoder.decode(stored, filter_mask)
        if self._order is None:
            return values
        lengths = [self._chunks[axis] for axis in self._order]
        back = np.argsort(self._order)
        return values.reshape(lengths).transpose(back)


def place_of(array: Array, selection: Selection, rows: range, number: int) -> Tuple[int, ...]:
    """Return the number of a chunk on each axis of the array.

    Args:
        array: The array.
        selection: The wanted rows, of which there are some.
        rows: Their numbers.
        number: The number of the chunk in the selection.
    """
    if not array.grid:
        return ()
    where, _ = selection.place(number)
    row = rows[where[0].start] // array.chunks[0]
    return (row, *(a.start // length for a, length in zip(where[1:], array.chunks[1:])))


def chunk_fetches(store: Store, array: Array, places: Iterator[Tuple[int, ...]]) -> Iterator[Fetch]:
    """Tell how to fetch chunks of an array, in their order.

    Args:
        store: Has them.
        array: The array.
        places: The number of each chunk on each axis.
    """
    # The length of texts is not known before.
    longest = longest_filtered(array.chunk_bytes) if array.dtype else _MAX_TEXT_BYTES
    if array.codecs.inner_shape is not None:
        return shard_fetches(store, array, places, longest)
    return store.fetches(map(array.key, places), array.chunk_bytes, longest)
