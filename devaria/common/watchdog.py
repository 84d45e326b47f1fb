"""Time limits for what blocks: one thread watches over any number of them."""

import math
import threading
import time
from contextlib import contextmanager
from typing import Callable, Dict, Iterator, Tuple


class Watchdog:
    """Calls a function when a time limit is over. Several threads may use it.

    A timer for each limit would start a thread each time. This one starts with the first limit, and
    ends when it wakes and there is none.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._limits: Dict[object, Tuple[float, Callable[[], object]]] = {}
        self._is_running = False
        self._wakes_sec = math.inf

    @contextmanager
    def limit(self, seconds: float, act: Callable[[], object]) -> Iterator[None]:
        """Watch over a ``with`` block.

        Args:
            seconds: How long the block may take.
            act: Called once, in another thread, if it takes longer. It must be quick, and raise
                nothing.
        """
        end_sec, key = time.monotonic() + seconds, object()
        with self._changed:
            if not self._is_running:
                # Before anything is noted: there may be no thread left (RuntimeError).
                threading.Thread(target=self._run, name="watchdog", daemon=True).start()
                self._is_running = True
            elif end_sec < self._wakes_sec:
                self._changed.notify()
            self._limits[key] = end_sec, act
        try:
            yield
        finally:
            with self._changed:
                self._limits.pop(key, None)

    def _run(self) -> None:
        with self._changed:
            try:
                self._watch()
            finally:
                self._is_running = False

    def _watch(self) -> None:
        while self._limits:
            now_sec = time.monotonic()
            for key, (end_sec, act) in tuple(self._limits.items()):
                if end_sec <= now_sec:
                    del self._limits[key]
                    act()
            ends = (end_sec for end_sec, _ in self._limits.values())
            self._wakes_sec = min(ends, default=now_sec)
            self._changed.wait(self._wakes_sec - now_sec)
