"""Fetch chunks ahead of their reader, over several connections, in bounded memory."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Callable, Deque, Iterator, NamedTuple, Optional, Tuple

from devaria.nwb.http.objects import OBJECT_CONNECTIONS

#: Bytes that are in memory or being fetched. A chunk that is waited for is fetched in any case.
_WINDOW_BYTES = 48 * 1024 * 1024

#: Most fetches that are under way or done and not read: of short chunks, and of long ones.
_MOST_SHORT, _MOST_LONG = 128, 16
_LONG_BYTES = 256 * 1024


class Fetch(NamedTuple):
    """One request, or something that is there already.

    Attributes:
        get: Returns the bytes; None if there are none. A thread calls it.
        num_bytes: How many bytes it is, about.
        places: Where each chunk lies in the bytes; empty for one chunk that is all of them.
    """

    get: Callable[[], Optional[bytes]]
    num_bytes: int
    places: Tuple[Tuple[int, int], ...] = ()


class Planned:
    """Fetches that were planned together. ``Ahead.plan`` makes it.

    Args:
        ahead: Fetches them.
        fetches: They, in the order in which they are read.
    """

    def __init__(self, ahead: "Ahead", fetches: Iterator[Fetch]) -> None:
        self._ahead = ahead
        self._fetches = fetches
        self._next: Optional[Fetch] = next(fetches, None)
        self.pending: Deque[Tuple[Fetch, Future[Optional[bytes]]]] = deque()
        self._ready: Deque[Optional[memoryview]] = deque()

    def read(self) -> Optional[memoryview]:
        """Return the next chunk; None if it is not stored.

        Raises:
            NwbError: It cannot be fetched.
        """
        while not self._ready:
            if not self.pending:
                self.submit()
            fetch, future = self.pending.popleft()
            try:
                content = future.result()
            finally:
                self._ahead.note_read(fetch)
            self._ready.extend(_parts(fetch, content))
        return self._ready.popleft()

    def peek(self) -> Optional[Fetch]:
        """Return the fetch that is submitted next."""
        return self._next

    def submit(self) -> None:
        """Start the next fetch."""
        fetch = self._next
        if fetch is not None:
            self._next = next(self._fetches, None)
            self.pending.append((fetch, self._ahead.submitted(fetch)))

    @property
    def is_over(self) -> bool:
        """Whether everything has been read."""
        return self._next is None and not self.pending

    def close(self) -> None:
        """Drop what is left."""
        self._next, self._fetches = None, iter(())
        for fetch, future in self.pending:
            future.cancel()
            self._ahead.note_read(fetch, goes_on=False)
        self.pending.clear()


class Ahead:
    """Fetches what is planned in its order, as far ahead of the readers as memory allows.

    One thread plans and reads.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(OBJECT_CONNECTIONS, "fetch")
        self._plans: Deque[Planned] = deque()
        self._held_bytes = self._held = 0

    def plan(self, fetches: Iterator[Fetch]) -> Planned:
        """Start to fetch, after what was planned before.

        Args:
            fetches: What to fetch.
        """
        plan = Planned(self, fetches)
        self._plans.append(plan)
        self._go_on()
        return plan

    def submitted(self, fetch: Fetch) -> "Future[Optional[bytes]]":
        """Start a fetch."""
        self._held += 1
        self._held_bytes += fetch.num_bytes
        return self._pool.submit(fetch.get)

    def note_read(self, fetch: Fetch, *, goes_on: bool = True) -> None:
        """Make room for others: a fetch has been read."""
        self._held -= 1
        self._held_bytes -= fetch.num_bytes
        if goes_on:
            self._go_on()

    def clear(self) -> None:
        """Drop all plans, also those that nobody has read to the end."""
        while self._plans:
            self._plans.popleft().close()

    def close(self) -> None:
        """End the threads. They finish what they are fetching."""
        self.clear()
        self._pool.shutdown(wait=False)

    def _go_on(self) -> None:
        for plan in tuple(self._plans):
            fetch = plan.peek()
            while fetch is not None and self._has_room(fetch):
                plan.submit()
                fetch = plan.peek()
            if fetch is not None:
                return
            if plan.is_over:
                self._plans.remove(plan)

    def _has_room(self, fetch: Fetch) -> bool:
        most = _MOST_LONG if fetch.num_bytes >= _LONG_BYTES else _MOST_SHORT
        return self._held < most and self._held_bytes + fetch.num_bytes <= _WINDOW_BYTES


def _parts(fetch: Fetch, content: Optional[bytes]) -> Iterator[Optional[memoryview]]:
    view = None if content is None else memoryview(content)
    for start, stop in fetch.places or ((0, len(content or b"")),):
        yield None if view is None else view[start:stop]
