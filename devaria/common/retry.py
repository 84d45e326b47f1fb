"""How long to wait before the next try: exponential, capped, with full jitter."""

import math
import random
import time
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import Callable, Optional, TypeVar

from devaria.common.errors import TransientError

T = TypeVar("T")

#: How long `patiently` waits for a worker that does not answer, in seconds.
_PATIENCE_SEC = 300.0

#: A server's own wish is honoured up to this many seconds.
MAX_SERVER_WISH_SEC = 600.0


class Backoff:
    """The waits between the tries of one thing; `reset` it after a success.

    Full jitter: each wait is drawn evenly between 0 and the cap of its try, so that many runners
    that lost the worker at the same moment do not come back at the same moment. At least
    `base_sec / 2`, so that it never becomes a busy loop.

    Args:
        base_sec: Cap of the first wait, in seconds; doubles with each further one.
        max_sec: Cap of every wait, in seconds.
        draw: Draws a number from [0, 1).
        factor: By how much the cap grows with each wait.
    """

    def __init__(
        self,
        base_sec: float = 1.0,
        max_sec: float = 300.0,
        draw: Callable[[], float] = random.random,
        factor: float = 2.0,
    ) -> None:
        self._base_sec = base_sec
        self._max_sec = max_sec
        self._draw = draw
        self._factor = factor
        self._cap_sec = base_sec

    def next_wait_sec(self, server_wish_sec: Optional[float] = None) -> float:
        """Tell how long to wait now, and lengthen the wait after it.

        Args:
            server_wish_sec: What the server asked for, in seconds from now (`Retry-After`, or a
                rate limit's reset time). It is waited for in full, up to 10 minutes, with up to a
                second of jitter on top.

        Returns:
            Seconds to wait.
        """
        wait = max(self._base_sec / 2, self._draw() * self._cap_sec)
        self._cap_sec = min(self._cap_sec * self._factor, self._max_sec)
        if server_wish_sec is None or math.isnan(server_wish_sec):
            return wait
        return min(max(server_wish_sec, 0.0), MAX_SERVER_WISH_SEC) + self._draw()

    def reset(self) -> None:
        """Start again from the shortest wait."""
        self._cap_sec = self._base_sec


def patiently(request: Callable[[], T]) -> T:
    """Make a request, again where that may help, for 5 minutes.

    Args:
        request: Makes it; what it does must not matter if it is done twice.

    Returns:
        What it returns.

    Raises:
        WorkerError: As it raises it.
    """
    backoff = Backoff(max_sec=30.0)
    give_up_at = time.monotonic() + _PATIENCE_SEC
    while True:
        try:
            return request()
        except TransientError as error:
            wait_sec = backoff.next_wait_sec(error.retry_after_sec)
            if time.monotonic() + wait_sec > give_up_at:
                raise
            time.sleep(wait_sec)


def retry_after_sec(header: str, now: float) -> Optional[float]:
    """Read the header `Retry-After`, which holds seconds or a date (RFC 9110, 10.2.3).

    Args:
        header: Its text; empty where there is none.
        now: The time at the server, in seconds since 1970.

    Returns:
        Seconds to wait from now; None where the header says nothing of use.
    """
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    moment = epoch_sec(text)
    return None if moment is None else moment - now


def epoch_sec(http_date: str) -> Optional[float]:
    """Read the date of an HTTP header.

    Args:
        http_date: The header's text.

    Returns:
        Seconds since 1970; None where it is no date.
    """
    try:
        moment = parsedate_to_datetime(http_date)
        # HTTP dates are in GMT, also where one says so in a way that Python does not take for it.
        return moment.replace(tzinfo=moment.tzinfo or timezone.utc).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
