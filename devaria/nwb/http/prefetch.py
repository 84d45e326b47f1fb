"""Fetch ranges of a file ahead of its reader, over several connections, in bounded memory.

The fetching threads never call h5py: the reader holds h5py's lock while it waits for them.
"""

import threading
from bisect import bisect_right
from collections import deque
from typing import Callable, Deque, List, Optional, Sequence, Tuple

#: Length of a part: long enough that the wait for its first byte matters little, and short enough
#: that all connections have parts to fetch.
PART_BYTES = 2 * 1024 * 1024

#: Length of the shortest part. The first parts are short, so that the reader can start early. In a
#: small plan all parts are, so that all connections share it.
_FIRST_PART_BYTES = 256 * 1024

#: Most bytes that are in memory or being fetched; somewhat more than the connections fetch at once.
WINDOW_BYTES = 24 * PART_BYTES


class _Part:
    def __init__(self, start: int, stop: int) -> None:
        self.start = start
        self.stop = stop
        self.is_done = threading.Event()
        self.content = b""
        self.failure: Optional[Exception] = None
        self.is_passed = False

    def __len__(self) -> int:
        return self.stop - self.start

    def wait(self) -> bytes:
        self.is_done.wait()
        if self.failure is not None:
            raise self.failure
        return self.content


class Plan:
    """Ranges that are fetched in their order. ``Prefetcher.plan`` makes it; one thread may read it.

    Parts that the reader has passed are dropped.

    Args:
        parts: The ranges in parts.
        room: Guards the parts of all plans.
        note_passed: Called with the lengths of fetched parts that are dropped.

    Attributes:
        is_wanted: The reader waits for the first part that nobody has taken.
    """

    def __init__(
        self, parts: List[_Part], room: threading.Condition, note_passed: Callable[[int], None]
    ) -> None:
        self._parts = parts
        self._starts = [part.start for part in parts]
        self._room = room
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
            pieces.append(memoryview(part.wait())[start - part.start : stop - part.start])
            start, number = part.stop, number + 1
        return pieces

    def close(self) -> None:
        """Drop all parts. Reading returns None from now on."""
        self._move_to(len(self._parts))

    def part_at(self, position: int) -> Optional[_Part]:
        """Return the part that holds a byte and is fetched or being fetched; None if there is none.

        Args:
            position: Offset of the byte.
        """
        number = self._part_at(position)
        return self._parts[number] if number is not None and number < self._next else None

    def next_part(self) -> Optional[_Part]:
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


class Prefetcher:
    """Fetches planned ranges in order, as far ahead of the readers as memory allows.

    Args:
        fetch: Returns the bytes from one offset up to another. Several threads call it.
        threads: How many ranges to fetch at once.
        most_threads: The same for short ranges, which take little of the line.
        size: Length of the file in bytes. Nothing beyond it is fetched.
    """

    def __init__(
        self, fetch: Callable[[int, int], bytes], threads: int, most_threads: int, size: int
    ) -> None:
        self._fetch = fetch
        self._num_threads = threads
        self._most_threads = most_threads
        self._size = size
        self._threads: List[threading.Thread] = []
        self._room = threading.Condition()
        self._plans: Deque[Plan] = deque()
        self._num_parts = 0
        self._held_bytes = 0
        self._closed = False

    def close(self) -> None:
        """Stop fetching, and drop all ranges."""
        with self._room:
            self._closed = True
            self._plans.clear()
            self._room.notify_all()

    def clear(self) -> None:
        """Drop all plans."""
        for plan in tuple(self._plans):
            plan.close()

    def plan(self, ranges: Sequence[Tuple[int, int]], *, is_urgent: bool = False) -> Plan:
        """Start to fetch ranges, after those planned before. Close the plan when it is read.

        Args:
            ranges: For each, the offset of its first byte and the offset after its last; ascending,
                and in the order in which they will be read.
            is_urgent: Fetch them before those planned before.
        """
        parts = self._parts(ranges)
        plan = Plan(parts, self._room, self._note_passed)
        self._num_parts += len(parts)
        with self._room:
            if is_urgent:
                self._plans.appendleft(plan)
            else:
                self._plans.append(plan)
            self._room.notify_all()
        is_scattered = len(parts) * _FIRST_PART_BYTES > sum(map(len, parts))
        num_threads = self._most_threads if is_scattered else self._num_threads
        while len(self._threads) < min(num_threads, self._num_parts):
            # A daemon: its request may still hang when the process ends.
            thread = threading.Thread(target=self._work, name="fetch", daemon=True)
            self._threads.append(thread)
            thread.start()
        return plan

    def peek(self, position: int) -> Optional[Tuple[int, bytes]]:
        """Return the part that holds a byte, without dropping any.

        Args:
            position: Offset of the byte.

        Returns:
            The offset of the part's first byte, and its bytes, once they are fetched. None if no
            part that is fetched or being fetched holds the byte, or if fetching it failed.
        """
        for plan in tuple(self._plans):
            part = plan.part_at(position)
            if part is not None:
                part.is_done.wait()
                # The reader may have passed it meanwhile.
                return (part.start, part.content) if part.content else None
        return None

    def _parts(self, ranges: Sequence[Tuple[int, int]]) -> List[_Part]:
        parts: List[_Part] = []
        share = sum(stop - start for start, stop in ranges) // self._num_threads
        longest = min(PART_BYTES, max(_FIRST_PART_BYTES, share))
        is_first = not self._plans
        for start, end in ranges:
            stop = min(end, self._size)
            while start < stop:
                ramp = _FIRST_PART_BYTES * (len(parts) + 1)
                length = min(longest, ramp) if is_first else PART_BYTES
                parts.append(_Part(start, min(start + length, stop)))
                start += length
        return parts

    def _note_passed(self, num_bytes: int) -> None:
        """Make room. The caller holds the lock."""
        self._held_bytes -= num_bytes
        while self._plans and self._plans[0].is_closed:
            self._plans.popleft()

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
            while not self._closed:
                for plan in self._plans:
                    part = plan.next_part()
                    if part is not None and self._may_take(plan, part):
                        plan.take()
                        self._held_bytes += len(part)
                        return part
                self._room.wait()
        return None

    def _may_take(self, plan: Plan, part: _Part) -> bool:
        # A part that a reader waits for is fetched in any case, or both would wait for ever.
        return plan.is_wanted or self._held_bytes + len(part) <= WINDOW_BYTES
