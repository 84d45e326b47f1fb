"""Retries: the waits between tries, and the waits that a server asks for."""

import math
import random
import time
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import Callable, Optional, Tuple, Type, TypeVar

from devaria.common.errors import RateLimited, TransientError, Unauthorized, WorkerError
from devaria.common.timing import Timing

T = TypeVar("T")

#: A longer wait that a server asks for is cut to this, in seconds.
MAX_SERVER_WAIT_SEC = 600.0

#: These errors say nothing of the job that a request is about.
NOT_THE_JOBS = (RateLimited, Unauthorized)


class Backoff:
    """The waits between the tries of one request: exponential, capped, with full jitter.

    Each wait is drawn evenly between 0 and the cap of its try, so that many runners that lost the
    worker at the same moment do not come back at the same moment. It is at least `base_sec / 2`,
    so that it never becomes a busy loop.

    Args:
        base_sec: The cap of the first wait, in seconds; it grows with each further one.
        max_sec: The cap of every wait, in seconds.
        draw: Draws a number from [0, 1).
        factor: The cap grows by this factor with each wait.
    """

    def __init__(
        self,
        base_sec: float,
        max_sec: float,
        draw: Callable[[], float] = random.random,
        factor: float = 2.0,
    ) -> None:
        self._base_sec = base_sec
        self._max_sec = max_sec
        self._draw = draw
        self._factor = factor
        self._cap_sec = base_sec

    def next_wait_sec(self, retry_after_sec: Optional[float] = None) -> float:
        """Return how long to wait now, and lengthen the wait after it.

        Args:
            retry_after_sec: The wait that the server asked for, in seconds (`Retry-After`, or the
                reset time of a rate limit). It is kept in full, up to 10 minutes, and made up to
                a second longer, at random.

        Returns:
            Seconds to wait.
        """
        wait = max(self._base_sec / 2, self._draw() * self._cap_sec)
        self._cap_sec = min(self._cap_sec * self._factor, self._max_sec)
        if retry_after_sec is None or math.isnan(retry_after_sec):
            return wait
        return min(max(retry_after_sec, 0.0), MAX_SERVER_WAIT_SEC) + self._draw()


def backoff_of(timing: Timing) -> Backoff:
    """Return the waits between the tries of a request."""
    return Backoff(timing.backoff_base_sec, timing.backoff_max_sec, factor=timing.backoff_factor)


class Failures:
    """The failures of one request of a job, while the worker answers others.

    They are of one *kind* if they have the same error and status. A flaky network fails in many
    ways, and what it answers in between is good: the waits begin anew. A worker that refuses the
    request does so in one way, and the waits grow.

    Args:
        timing: The waits.
    """

    def __init__(self, timing: Timing) -> None:
        self.count = 0
        self._timing = timing
        self._kind: Optional[Tuple[Type[WorkerError], Optional[int]]] = None
        self._backoff = backoff_of(timing)

    def note(self, error: WorkerError) -> float:
        """Count a failure; return how long to wait before the next try, in seconds."""
        kind = (type(error), error.status)
        self.count += 1
        if kind != self._kind:
            self._kind = kind
            self._backoff = backoff_of(self._timing)
        return self._backoff.next_wait_sec()


class Pace:
    """Keeps requests under a rate limit: a number of them at once, then one after each interval.

    Args:
        burst: How many requests may come at once.
        every_sec: The interval, in seconds.
        clock: Returns a monotonic time in seconds.
    """

    def __init__(
        self, burst: int, every_sec: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ahead_sec = burst * every_sec
        self._every_sec = every_sec
        self._clock = clock
        self._due_at = -math.inf

    def wait_sec(self) -> float:
        """Return how long to wait before the next request, in seconds, and count that request."""
        now = self._clock()
        self._due_at = max(self._due_at, now) + self._every_sec
        return max(self._due_at - self._ahead_sec - now, 0.0)


def patiently(request: Callable[[], T], timing: Timing) -> T:
    """Make a request, and repeat it after transient errors.

    Args:
        request: Makes the request, which must do no harm if it is made twice.
        timing: `patience_sec` is how long to repeat it: 5 minutes by default.

    Returns:
        What the request returns.

    Raises:
        WorkerError: The last error that the request raised.
    """
    backoff = Backoff(timing.backoff_base_sec, timing.patience_max_wait_sec)
    give_up_at = time.monotonic() + timing.patience_sec
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
        header: The header's value; empty if there is none.
        now: The time at the server, in seconds since 1970.

    Returns:
        Seconds to wait from now; None if the header holds neither.
    """
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    moment = epoch_sec(text)
    return None if moment is None else moment - now


def epoch_sec(http_date: str) -> Optional[float]:
    """Read the date in an HTTP header.

    Returns:
        Seconds since 1970; None if it is not a date.
    """
    try:
        moment = parsedate_to_datetime(http_date)
        # HTTP dates are in GMT. Python returns some of them without a time zone.
        return moment.replace(tzinfo=moment.tzinfo or timezone.utc).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
