"""Decode chunks beside each other, and pass their values on."""

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Callable, Deque, List, Protocol, Tuple

import numpy.typing as npt

from devaria.nwb.decoding.codecs import Stored, UndecodableError
from devaria.nwb.decoding.selection import Selection, Where

#: Called with the place of values in an array of the wanted rows, and the values; by several
#: threads.
Consume = Callable[[Where, "npt.NDArray[Any]"], None]

#: Small chunks are decoded in batches of this many stored bytes.
_BATCH_BYTES = 512 * 1024

#: Most bytes of all chunks that are decoded at the same time.
_MAX_BUSY_BYTES = 64 * 1024 * 1024

_THREADS = max(2, min(4, os.cpu_count() or 1))

#: A chunk's number, its bytes in the file, and its filter mask.
_Task = Tuple[int, Stored, int]


class Decoder(Protocol):
    """Decodes a chunk.

    Attributes:
        in_threads: Whether several threads may use it at once.
    """

    in_threads: bool

    def decode(self, stored: Stored, filter_mask: int) -> "npt.NDArray[Any]":
        """Decode one chunk, as ``ThreadDecoder.decode`` does."""


class DecodingPipeline:
    """Decodes chunks, in threads where the decoder allows it, and passes their values on.

    Args:
        decoder: Decodes a chunk.
        selection: The wanted rows.
        consume: Called with the values.
        chunk_bytes: Length of a decoded chunk.

    Attributes:
        undecodable: The numbers of the chunks that could not be decoded.
    """

    def __init__(
        self,
        decoder: Decoder,
        selection: Selection,
        consume: Consume,
        chunk_bytes: int,
    ) -> None:
        self._decoder = decoder
        self._selection = selection
        self._consume = consume
        threads = max(1, min(_THREADS, _MAX_BUSY_BYTES // chunk_bytes))
        self._max_pending = 2 * threads if threads > 1 else 1
        self._pool = ThreadPoolExecutor(threads, "decode")
        self._pending: Deque[Future[None]] = deque()
        self._batch: List[_Task] = []
        self._batch_bytes = 0
        self.undecodable: List[int] = []

    def put(self, number: int, stored: Stored, filter_mask: int) -> None:
        """Queue a chunk for decoding.

        Args:
            number: Its number in the selection.
            stored: Its bytes in the file.
            filter_mask: A set bit means that the filter at this position was not applied.
        """
        if not self._decoder.in_threads:
            self._decode([(number, stored, filter_mask)])
            return
        self._batch.append((number, stored, filter_mask))
        self._batch_bytes += sum(map(len, stored))
        if self._batch_bytes >= _BATCH_BYTES:
            self._submit()

    def finish(self) -> None:
        """Wait until all chunks are decoded.

        Raises:
            Exception: Any exception of ``consume``.
        """
        self._submit()
        while self._pending:
            self._pending.popleft().result()

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def _submit(self) -> None:
        if len(self._pending) >= self._max_pending:
            self._pending.popleft().result()
        self._pending.append(self._pool.submit(self._decode, self._batch))
        self._batch, self._batch_bytes = [], 0

    def _decode(self, tasks: List[_Task]) -> None:
        for number, stored, filter_mask in tasks:
            try:
                values = self._decoder.decode(stored, filter_mask)
            except UndecodableError:
                self.undecodable.append(number)
            else:
                where, inside = self._selection.place(number)
                self._consume(where, values.reshape(self._selection.chunks)[inside])
