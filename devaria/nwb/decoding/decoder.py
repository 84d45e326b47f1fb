"""Decode the stored bytes of chunks into values, in threads."""

import threading
from typing import Any, List, Sequence

import numpy as np
import numpy.typing as npt

from devaria.nwb.decoding.codecs import (
    CHECKSUM_BYTES,
    CHECKSUMS,
    COMPRESSORS,
    Step,
    Stored,
    UndecodableError,
    joined,
)


class ThreadDecoder:
    """Decodes chunks that went through filters of ``codecs``, or through none.

    Several threads may use it at once. It never calls h5py, whose lock is held by the thread that
    waits for the values. Each thread reuses its own memory for every chunk, because fresh memory
    pages from the system take as long as inflating.

    Args:
        dtype: Type of the stored values.
        length: Number of values in a chunk.
        steps: The filters, in the order in which they were applied.
    """

    in_threads = True

    def __init__(self, dtype: "np.dtype[Any]", length: int, steps: Sequence[Step]) -> None:
        self._dtype = dtype
        self._num_bytes = length * dtype.itemsize
        self._steps = tuple(steps)
        self._memory = threading.local()

    def decode(self, stored: Stored, filter_mask: int) -> "npt.NDArray[Any]":
        """Decode one chunk.

        Args:
            stored: Its bytes in the file.
            filter_mask: A set bit means that the filter at this position was not applied.

        Returns:
            The values, along one axis. They are overwritten when this thread decodes another
            chunk.

        Raises:
            UndecodableError: The bytes are damaged.
            NwbError: They inflate to more than a chunk: a decompression bomb.
        """
        applied = [n for n in range(len(self._steps)) if not filter_mask >> n & 1]
        while applied:
            place = applied.pop()
            stored = [self._undone(place, stored, self._length_before(applied))]
        if sum(map(len, stored)) != self._num_bytes:
            raise UndecodableError
        content = stored[0]
        if len(stored) > 1:
            content = self._buffer(len(self._steps), self._num_bytes)
            content[:] = b"".join(stored)
        return np.frombuffer(content, self._dtype)

    def _length_before(self, applied: List[int]) -> int:
        """Return how long a chunk is after some of the filters, if they do not compress it."""
        checksums = sum(self._steps[place].name in CHECKSUMS for place in applied)
        return self._num_bytes + CHECKSUM_BYTES * checksums

    def _undone(self, place: int, stored: Stored, num_bytes: int) -> memoryview:
        step = self._steps[place]
        if step.name in COMPRESSORS:
            target = self._buffer(place, num_bytes)
            COMPRESSORS[step.name](stored, target)
            return target
        content = joined(stored)
        if step.name in CHECKSUMS:
            return CHECKSUMS[step.name](content)
        if len(content) != num_bytes:
            raise UndecodableError
        if step.name == "delta":
            target = self._buffer(place, num_bytes)
            summed = np.frombuffer(target, self._dtype)
            np.cumsum(np.frombuffer(content, self._dtype), dtype=self._dtype, out=summed)
            return target
        return self._unshuffled(content, step.item_bytes, self._buffer(place, num_bytes))

    def _unshuffled(self, content: memoryview, item_bytes: int, target: memoryview) -> memoryview:
        # What is left over behind the last whole item is not shuffled.
        whole = len(content) // item_bytes * item_bytes
        planes = np.frombuffer(content[:whole], np.uint8).reshape(item_bytes, -1)
        np.frombuffer(target[:whole], np.uint8).reshape(-1, item_bytes)[:] = planes.T
        target[whole:] = content[whole:]
        return target

    def _buffer(self, place: int, num_bytes: int) -> memoryview:
        """Return this thread's memory for what a filter is undone into."""
        buffers = self._memory.__dict__.setdefault("buffers", {})
        if place not in buffers or len(buffers[place]) != num_bytes:
            buffers[place] = memoryview(bytearray(num_bytes))
        buffer: memoryview = buffers[place]
        return buffer
