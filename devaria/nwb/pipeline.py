"""Decoding chunks in threads beside the one that reads, in bounded memory."""

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Callable, Deque, List, Tuple, Union

import numpy.typing as npt

from devaria.nwb.chunk_decode import Hdf5Decoder, Stored, ThreadDecoder, UndecodableError

#: Takes the number of the first value, and the values. Several threads call it.
Consume = Callable[[int, "npt.NDArray[Any]"], None]

#: Many small chunks are worth one task.
_BATCH_BYTES = 512 * 1024

#: Chunks that are decoded at once may have so many bytes in all.
_BUSY_BYTES = 64 * 1024 * 1024

_THREADS = max(2, min(4, os.cpu_count() or 1))

_Job = Tuple[int, Stored, int, int]


class Pipeline:
    """Takes stored chunks, and hands their values on.

    Args:
        decoder: What makes values of stored bytes.
        consume: What takes the values.
        chunk_bytes: Length of a chunk in memory.

    Attributes:
        undecodable: Numbers of the first values of chunks that could not be decoded.
    """

    def __init__(
        self, decoder: Union[ThreadDecoder, Hdf5Decoder], consume: Consume, chunk_bytes: int
    ) -> None:
        self._decoder = decoder
        self._consume = consume
        threads = max(1, min(_THREADS, _BUSY_BYTES // chunk_bytes))
        self._max_pending = 2 * threads if threads > 1 else 1
        self._pool = ThreadPoolExecutor(threads, "decode")
        self._pending: Deque[Future[None]] = deque()
        self._batch: List[_Job] = []
        self._batch_bytes = 0
        self.undecodable: List[int] = []

    def put(self, first: int, stored: Stored, filter_mask: int, length: int) -> None:
        """Decode a chunk, soon.

        Args:
            first: Number of its first value.
            stored: Its bytes in the file, in pieces.
            filter_mask: Has a bit set for each filter that this chunk did not go through.
            length: How many of its values are wanted.
        """
        if not self._decoder.in_threads:
            self._decode([(first, stored, filter_mask, length)])
            return
        self._batch.append((first, stored, filter_mask, length))
        self._batch_bytes += sum(map(len, stored))
        if self._batch_bytes >= _BATCH_BYTES:
            self._submit()

    def finish(self) -> None:
        """Wait until all is decoded.

        Raises:
            Exception: What ``consume`` raised.
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

    def _decode(self, jobs: List[_Job]) -> None:
        for first, stored, filter_mask, length in jobs:
            try:
                values = self._decoder.decode(stored, filter_mask)
            except UndecodableError:
                self.undecodable.append(first)
            else:
                self._consume(first, values[:length])
