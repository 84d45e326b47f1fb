"""Rate limits in fixed windows, as the hosted worker has them."""

import threading
from typing import Dict, Optional, Tuple

from devaria.worker.store.database import Clock

WINDOW_MS = 60_000
_PRUNE_ABOVE = 1_000


class RateLimiter:
    """Counts requests in windows of 60 s. A window starts with the first request counted in it.

    Args:
        clock: Returns the time in epoch milliseconds.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._windows: Dict[Tuple[str, str], Tuple[int, int]] = {}  # (first request, count)

    def refused_until(self, rule: str, caller: str, limit: int) -> Optional[int]:
        """Count one request of a caller, unless the caller has reached the limit.

        Args:
            rule: The limit's name; each rule has windows of its own.
            caller: An IP address or a runner id.
            limit: The number of requests that a window allows.

        Returns:
            None if the request may pass, else the end of the window in epoch milliseconds.
        """
        now = self._clock()
        with self._lock:
            start, count = self._windows.get((rule, caller), (now, 0))
            # A start in the future means that the clock was set back; that window counts as over.
            if not start <= now < start + WINDOW_MS:
                start, count = now, 0
            if count >= limit:
                return start + WINDOW_MS
            self._windows[rule, caller] = (start, count + 1)
            if len(self._windows) > _PRUNE_ABOVE:
                self._prune(now)
            return None

    def _prune(self, now: int) -> None:
        """Drop windows that are over, so that ever new callers do not fill the memory."""
        self._windows = {
            key: window for key, window in self._windows.items() if window[0] + WINDOW_MS > now
        }
