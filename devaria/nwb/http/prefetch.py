"""Fetching ranges of a file ahead of whoever reads it, over several connections, in bounded memory.

The fetching threads know nothing of HDF5: the reader holds h5py's lock while it waits for them.
"""

import threading
from bisect import bisect_right
from typing import Callable, List, Optional, Sequence, Tuple

#: Long enough that the wait for the first byte weighs little, short enough to share the line.
PART_BYTES = 2 * 1024 * 1024

#: The first parts are shorter, this the shortest: so there soon is something to work on. So are
#: those of a short plan, which all connections should share.
_FIRST_PART_BYTES = 256 * 1024

#: Parts in memory or on their way; somewhat more than there are connections.
WINDOW_PARTS = 24


class _Part:
    def __init__(self, start: int, stop: int) -> None:
        self.start = start
        self.stop = stop
        self.there = threading.Event()
        self.content = b""
        self.failure: Optional[Exception] = None
        self.is_passed = False

    def wait(self) -> bytes:
        self.there.wait()
        if self.failure is not None:
            raise self.failure
        return self.content


class Prefetcher:
    """Fetches a plan's ranges in order, as far ahead of the reader as memory allows.

    One thread reads. What it has passed is forgotten.

    Args:
        fetch: Gives the bytes from an offset up to another; is called by several threads.
        threads: Ranges fetched at once.
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
        """Fetch nothing more."""
        with self._room:
            self._closed = True
            self._parts = []
            self._room.notify_all()

    def plan(self, ranges: Sequence[Tuple[int, int]]) -> None:
        """Start fetching; what was planned before is dropped.

        Args:
            ranges: Offsets of the first byte and after the last, ascending, in the order in which
                they will be read.
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
            # A daemon: it may hang in a request when the job is over.
            thread = threading.Thread(target=self._work, name="fetch", daemon=True)
            self._threads.append(thread)
            thread.start()

    def read(self, start: int, stop: int) -> Optional[List[memoryview]]:
        """Read on: what lies before will not be asked for again.

        Args:
            start: Offset of the first byte.
            stop: Offset after the last byte.

        Returns:
            The bytes, in pieces; None if they are not all planned, or passed already.

        Raises:
            Exception: What ``fetch`` raised.
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
        """Look at what is there, or on its way, without moving on.

        Args:
            position: Offset of a byte.

        Returns:
            The offset and the bytes of a part that has it; None if none has, or it failed.
        """
        number = self._part_at(position)
        if number is None or number >= self._next:
            return None
        part = self._parts[number]
        part.there.wait()
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
            except Exception as error:  # noqa: BLE001,RUF100 - the reader's to raise
                part.failure = error
            else:
                with self._room:
                    part.content = b"" if part.is_passed else content
            part.there.set()

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
