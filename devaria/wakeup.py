"""The one place where the runner's main thread waits."""

import queue
import sys
import time

#: A wait cannot be interrupted by a signal on Windows; it is cut into slices of this length there.
_WINDOWS_SLICE_SEC = 0.5


class Wakeup:
    """Lets the main thread sleep until something happens, or a time is over.

    Whoever has news (a signal handler, a thread) calls `notify`; the main thread then looks at
    everything that it waits for. A `SimpleQueue`, not an `Event`: its `put` is the one primitive
    that the standard library promises to be safe within a signal handler.
    """

    def __init__(self) -> None:
        self._news: queue.SimpleQueue[None] = queue.SimpleQueue()

    def notify(self) -> None:
        """Wake the main thread; from any thread, or from a signal handler."""
        self._news.put(None)

    def wait(self, timeout_sec: float) -> bool:
        """Sleep until there is news.

        Args:
            timeout_sec: The longest time to sleep, in seconds.

        Returns:
            Whether there was news; False when the time was over.
        """
        deadline = time.monotonic() + timeout_sec
        while True:
            left = deadline - time.monotonic()
            if self._took_news(max(left, 0.0)):
                return True
            if left <= 0:
                return False

    def _took_news(self, timeout_sec: float) -> bool:
        if sys.platform == "win32":
            timeout_sec = min(timeout_sec, _WINDOWS_SLICE_SEC)
        try:
            self._news.get(timeout=timeout_sec)
        except queue.Empty:
            return False
        # Older news tell nothing that the look around will not see.
        while not self._news.empty():
            self._news.get()
        return True
