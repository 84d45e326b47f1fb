"""Ranges of a file that are fetched in their order, and read in that order."""

import threading
from bisect import bisect_right
from typing import Callable, List, Optional


class Part:
    """A range that one request fetches."""

    __slots__ = ("content", "failure", "is_done", "is_passed", "start", "stop")

    def __init__(self, start: int, stop: int) -> None:
        self.start = start
        self.stop = stop
        self.is_done = self.is_passed = False
        self.content = b""
        self.failure: Optional[Exception] = None

    def __len__(self) -> int:
        return self.stop - self.start


class Plan:
    """Ranges that are fetched in their order. ``Prefetcher.plan`` makes it; one thread may read it.

    Parts that the reader has passed are dropped.

    Args:
        parts: The ranges in parts.
        room: Guards the parts of all plans. Fetching threads wait for it.
        arrival: Readers wait for it, with the same lock.
        note_passed: Called with the lengths of fetched parts that are dropped.

    Attributes:
        is_wanted: The reader waits for the first part that nobody has taken.
    """

    def __init__(
        self,
        parts: List[Part],
        room: threading.Condition,
        arrival: threading.Condition,
        note_passed: Callable[[int], None],
    ) -> None:
        self._parts = parts
        self._starts = [part.start for part in parts]
        self._room = room
        self._arrival = arrival
        self._note_passed = note_passed
        self._first = 0
        self._next = 0
        self.is_wanted = False

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
            self._want(number)
            content = memoryview(self._wait(part))
            pieces.append(content[start - part.start : stop - part.start])
            start, number = part.stop, number + 1
        return pieces

    def close(self) -> None:
        """Drop all parts. Reading returns None from now on."""
        self._move_to(len(self._parts))

    def holds(self, position: int) -> bool:
        """Return whether a byte is planned, and was not passed.

        Args:
            position: Offset of the byte.
        """
        return self._part_at(position) is not None

    def append(self, parts: List[Part]) -> None:
        """Fetch more at the end. The caller holds the lock.

        Args:
            parts: The ranges, beyond the present ones.
        """
        self._parts = [*self._parts, *parts]
        self._starts += [part.start for part in parts]

    def part_at(self, position: int) -> Optional[Part]:
        """Return the part that holds a byte and is fetched or being fetched; None if there is none.

        Args:
            position: Offset of the byte.
        """
        number = self._part_at(position)
        return self._parts[number] if number is not None and number < self._next else None

    def next_part(self) -> Optional[Part]:
        """Return the first part that nobody has taken."""
        return self._parts[self._next] if self._next < len(self._parts) else None

    def take(self) -> None:
        """Note that the first part that nobody has taken is being fetched."""
        self._next += 1
        self.is_wanted = False

    @property
    def is_closed(self) -> bool:
        """Whether the reader has passed all parts."""
        return self._first == len(self._parts)

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

    def wait_for(self, part: Part) -> bytes:
        """Wait until a part is fetched; it is empty if that failed, or the reader has passed it.

        Args:
            part: A part of `part_at`.
        """
        with self._arrival:
            self._arrival.wait_for(lambda: part.is_done)
            return part.content

    def _wait(self, part: Part) -> bytes:
        content = self.wait_for(part)
        if part.failure is not None:
            raise part.failure
        return content

    def _want(self, number: int) -> None:
        if number >= self._next:
            with self._room:
                self.is_wanted = number >= self._next
                self._room.notify_all()

    def _move_to(self, number: int) -> None:
        if number == self._first:
            return
        with self._room:
            for part in self._parts[self._first : number]:
                part.content, part.is_passed = b"", True
            taken = self._parts[self._first : min(number, self._next)]
            self._first = number
            self._next = max(self._next, number)
            self._note_passed(sum(map(len, taken)))
            self._room.notify_all()
