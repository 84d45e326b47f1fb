"""Fetch ranges of a file ahead of its reader, over several connections, in bounded memory.

The fetching threads never call h5py: the reader holds h5py's lock while it waits for them.
"""

import threading
from bisect import bisect_right
from typing import Callable, List, Optional, Sequence, Tuple

#: Length of a part: long enough that the wait for its first byte matters little, and short enough
#: that all connections have parts to fetch.
PART_BYTES = 2 * 1024 * 1024

#: Length of the shortest part. The first parts of a plan are short, so that the reader can start
#: early. In a small plan all parts are, so that all connections share it.
_FIRST_PART_BYTES = 256 * 1024

#: Most parts that are in memory or being fetched; somewhat more than there are connections.
WINDOW_PARTS = 24


class _Part:
    def __init__(self, start: int, stop: int) -> None:
        self.start = start
        self.stop = stop
        self.is_done = threading.Event()
        self.content = b""
        self.failure: Optional[Exception] = None
        self.is_passed = False

    def wait(self) -> bytes:
        self.is_done.wait()
        if self.failure is not None:
            raise self.failure
        return self.content


class Prefetcher:
    """Fetches planned ranges in order, as far ahead of the reader as memory allows.

    Only one thread may read. Parts that it has passed are dropped.

    Args:
        fetch: Returns the bytes from one offset up to another. Several threads call it.
        threads: How many ranges to fetch at once.
    """

    def __init__(self, fetch: Callable[[int, int], bytes], threads: int) -> None:
        self._fetch = fetch
        self._num_threads = threads
        self._threads: List[threading.Thread] = []
        self._room = threading.Condition()
        self._parts: List[_Part] = []
        self._starts: List[int] = []
        self._first = 0
        self._next = 0
        self._closed = False

    def close(self) -> None:
        """Stop fetching, and drop all ranges."""
        with self._room:
            self._closed = True
            self._parts = []
            self._room.notify_all()

    def plan(self, ranges: Sequence[Tuple[int, int]]) -> None:
        """Start to fetch ranges, in place of those planned before.

        Args:
            ranges: For each, the offset of its first byte and the offset after its last; ascending,
                and in the order in which they will be read.
        """
        parts: List[_Part] = []
        share = sum(stop - start for start, stop in ranges) // self._num_threads
        longest = min(PART_BYTES, max(_FIRST_PART_BYTES, share))
        for start, stop in ranges:
            while start < stop:
                length = min(longest, _FIRST_PART_BYTES * (len(parts) + 1))
                parts.append(_Part(start, min(start + length, stop)))
                start += length
        with self._room:
            self._parts, self._first, self._next = parts, 0, 0
            self._starts = [part.start for part in parts]
            self._room.notify_all()
        while len(self._threads) < min(self._num_threads, len(parts)):
            # A daemon: its request may still hang when the process ends.
            thread = threading.Thread(target=self._work, name="fetch", daemon=True)
            self._threads.append(thread)
            thread.start()

    def read(self, start: int, stop: int) -> Optional[List[memoryview]]:
        """Read one range, and drop what lies before it.

        Args:
            start: Offset of the first byte.
            stop: Offset after the last byte.

        Returns:
            The bytes, in pieces. None if some of them are not planned, or were dropped.

        Raises:
            Exception: Any exception of ``fetch``.
        """
        number = self._part_at(start)
        if number is None or self._parts[self._last_of_run(number, stop)].stop < stop:
            return None
        pieces = []
        while start < stop:
            self._move_to(number)
            part = self._parts[number]
            pieces.append(memoryview(part.wait())[start - part.start : stop - part.start])
            start, number = part.stop, number + 1
        return pieces

    def peek(self, position: int) -> Optional[Tuple[int, bytes]]:
        """Return the part that holds a byte, without dropping any.

        Args:
            position: Offset of the byte.

        Returns:
            The offset of the part's first byte, and its bytes, once they are fetched. None if no
            part that is fetched or being fetched holds the byte, or if fetching it failed.
        """
        number = self._part_at(position)
        if number is None or number >= self._next:
            return None
        part = self._parts[number]
        part.is_done.wait()
        return None if part.failure else (part.start, part.content)

    def _part_at(self, position: int) -> Optional[int]:
        number = bisect_right(self._starts, position) - 1
        if number < self._first or position >= self._parts[number].stop:
            return None
        return number

    def _last_of_run(self, number: int, stop: int) -> int:
        parts = self._parts
        while parts[number].stop < stop and number + 1 < len(parts):
            if parts[number + 1].start != parts[number].stop:
                break
            number += 1
        return number

    def _move_to(self, number: int) -> None:
        if number == self._first:
            return
        with self._room:
            for part in self._parts[self._first : number]:
                part.content, part.is_passed = b"", True
            self._first = number
            self._next = max(self._next, number)
            self._room.notify_all()

    def _work(self) -> None:
        while True:
            part = self._take()
            if part is None:
                return
            try:
                content = self._fetch(part.start, part.stop)
            except Exception as error:  # noqa: BLE001,RUF100 - raised in the reader
                part.failure = error
            else:
                with self._room:
                    part.content = b"" if part.is_passed else content
            part.is_done.set()

    def _take(self) -> Optional[_Part]:
        with self._room:
            self._room.wait_for(lambda: self._closed or self._has_work())
            if self._closed:
                return None
            part = self._parts[self._next]
            self._next += 1
            return part

    def _has_work(self) -> bool:
        return self._next < min(len(self._parts), self._first + WINDOW_PARTS)
