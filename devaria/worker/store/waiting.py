"""Requests that wait: in the order of their arrival, in bounded number, ended when nobody listens.

Each holds a thread of the server, which sleeps. So a request that waits costs memory, and no
processor time.
"""

import threading
import time
from typing import Callable, List, Optional, Type, TypeVar

#: Returns whether the client of a request has closed its connection.
IsGone = Callable[[], bool]

#: How often to look for clients that are gone, and for offers that have lapsed, in seconds.
_SWEEP_SEC = 0.25


class Wait:
    """A request that waits for news.

    Args:
        is_gone: Returns whether its client is gone.
    """

    def __init__(self, is_gone: IsGone) -> None:
        self.is_gone = is_gone
        #: Whether to wait no more: its client is gone, or the worker stops.
        self.is_over = False
        self._news = threading.Event()

    @property
    def has_news(self) -> bool:
        """Whether it was woken, and has not looked yet."""
        return self._news.is_set()

    def wake(self) -> None:
        """Let its thread look, from any thread."""
        self._news.set()

    def end(self) -> None:
        """Let it wait no more, from any thread."""
        self.is_over = True
        self._news.set()

    def begin_look(self) -> None:
        """Forget the news so far: its thread is about to look at everything."""
        self._news.clear()

    def sleep(self, until: float) -> bool:
        """Sleep until there is news.

        Args:
            until: The longest time, on the monotonic clock in seconds.

        Returns:
            Whether to look, and perhaps wait again; False when the wait is over.
        """
        has_news = self._news.wait(max(until - time.monotonic(), 0.0))
        return has_news and not self.is_over


W = TypeVar("W", bound=Wait)


class Waits:
    """All requests that wait at one worker.

    The methods that say so are called with the `lock` held. It also guards what the waits wait for:
    nothing can happen between a look and the beginning of a wait.

    Attributes:
        lock: Guards the requests that wait.
        is_closed: Whether the worker stops; nothing waits any more.
        make_room: Called with the number of requests that wait, when there were never so many.
        on_sweep: Called several times a second while requests wait, with the lock held.
    """

    def __init__(self) -> None:
        self.lock = threading.Condition(threading.Lock())
        self.is_closed = False
        self.make_room: Callable[[int], None] = lambda _number: None
        self.on_sweep: Callable[[], None] = lambda: None
        self._line: List[Wait] = []
        self._most = 0
        self._sweeper: Optional[threading.Thread] = None

    def enter(self, wait: Wait, limit: int) -> bool:
        """Let a request wait, unless too many of its kind do. The lock is held.

        Args:
            wait: The request.
            limit: How many requests of its type may wait at once.

        Returns:
            Whether it may wait.
        """
        if self.is_closed or len(self.of_type(type(wait))) >= limit:
            return False
        self._line.append(wait)
        if len(self._line) > self._most:
            self._most = len(self._line)
            self.make_room(self._most)
        if self._sweeper is None:
            self._sweeper = threading.Thread(
                target=self._sweep, name="devaria-worker-waits", daemon=True
            )
            self._sweeper.start()
        self.lock.notify()
        return True

    def leave(self, wait: Wait) -> None:
        """End the wait of a request. The lock is held."""
        if wait in self._line:
            self._line.remove(wait)

    def of_type(self, kind: Type[W]) -> List[W]:
        """Return the requests of a type that wait, the longest first. The lock is held."""
        return [wait for wait in self._line if isinstance(wait, kind)]

    def close(self) -> None:
        """End all waits, and let no request wait any more."""
        with self.lock:
            self.is_closed = True
            for wait in self._line:
                wait.end()
            self.lock.notify()
        if self._sweeper is not None:
            self._sweeper.join()

    def _sweep(self) -> None:
        with self.lock:
            while not self.is_closed:
                self.lock.wait(_SWEEP_SEC if self._line else None)
                for wait in self._line:
                    if wait.is_gone():
                        wait.end()
                self.on_sweep()
