"""Fetch ranges of a file ahead of its reader, over several connections, in bounded memory.

The fetching threads never call h5py: the reader holds h5py's lock while it waits for them.
"""

import threading
from collections import deque
from typing import Callable, Deque, List, Optional, Sequence, Tuple

from devaria.nwb.http.plan import Part, Plan

#: Length of a part: long enough that the wait for its first byte matters little, and short enough
#: that all connections have parts to fetch.
PART_BYTES = 2 * 1024 * 1024

#: Length of the shortest part. The first parts are short, so that the reader can start early. In a
#: small plan all parts are, so that all connections share it.
_FIRST_PART_BYTES = 256 * 1024

#: Most bytes that are in memory or being fetched; somewhat more than the connections fetch at once.
WINDOW_BYTES = 24 * PART_BYTES


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
        lock = threading.RLock()
        self._room, self._arrival = threading.Condition(lock), threading.Condition(lock)
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
        parts = self._parts(ranges, is_first=is_urgent or not self._plans)
        plan = Plan(parts, self._room, self._arrival, self._note_passed)
        if not parts:
            return plan
        with self._room:
            if is_urgent:
                self._plans.appendleft(plan)
            else:
                self._plans.append(plan)
            self._room.notify_all()
        self._start_threads(parts)
        return plan

    def extend(self, plan: Plan, ranges: Sequence[Tuple[int, int]]) -> None:
        """Fetch more ranges after those of a plan.

        Args:
            plan: An open plan.
            ranges: As for `plan`, beyond its ranges.
        """
        parts = self._parts(ranges, is_first=True)
        with self._room:
            plan.append(parts)
            self._room.notify_all()
        self._start_threads(parts)

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
                content = plan.wait_for(part)
                return (part.start, content) if content else None
        return None

    def _parts(self, ranges: Sequence[Tuple[int, int]], *, is_first: bool) -> List[Part]:
        parts: List[Part] = []
        share = sum(stop - start for start, stop in ranges) // self._num_threads
        longest = min(PART_BYTES, max(_FIRST_PART_BYTES, share))
        for start, end in ranges:
            stop = min(end, self._size)
            while start < stop:
                ramp = _FIRST_PART_BYTES * (len(parts) + 1)
                length = min(longest, ramp) if is_first else PART_BYTES
                parts.append(Part(start, min(start + length, stop)))
                start += length
        return parts

    def _start_threads(self, parts: List[Part]) -> None:
        self._num_parts += len(parts)
        is_scattered = len(parts) * _FIRST_PART_BYTES > sum(map(len, parts))
        num_threads = self._most_threads if is_scattered else self._num_threads
        while len(self._threads) < min(num_threads, self._num_parts):
            # A daemon: its request may still hang when the process ends.
            thread = threading.Thread(target=self._work, name="fetch", daemon=True)
            self._threads.append(thread)
            thread.start()

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
            content = b""
            try:
                content = self._fetch(part.start, part.stop)
            except Exception as error:  # noqa: BLE001,RUF100 - raised in the reader
                part.failure = error
            with self._arrival:
                part.content = b"" if part.is_passed else content
                part.is_done = True
                self._arrival.notify_all()

    def _take(self) -> Optional[Part]:
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

    def _may_take(self, plan: Plan, part: Part) -> bool:
        # A part that a reader waits for is fetched in any case, or both would wait for ever.
        return plan.is_wanted or self._held_bytes + len(part) <= WINDOW_BYTES
