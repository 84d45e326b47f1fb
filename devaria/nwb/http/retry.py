"""Repeat HTTP operations after faults that may pass."""

import math
import random
import time
from dataclasses import dataclass
from typing import Callable, Optional, TypeVar

from devaria.common.retry import Backoff
from devaria.nwb.errors import NwbError

_T = TypeVar("_T")

#: The first wait before another try, and the longest one, in seconds.
_FIRST_WAIT_SEC, _MAX_WAIT_SEC = 0.5, 30.0


class RetryableFault(Exception):
    """A fault of the network or the server that may be gone at the next try.

    Args:
        text: What is wrong, in one printable line.
        retry_after_sec: How long the server asks to wait, if it does.
        give_up_after_sec: How long to retry while only this kind of fault occurs. Infinity leaves
            it to ``HttpTiming.no_progress_sec``.
    """

    def __init__(
        self,
        text: str,
        retry_after_sec: Optional[float] = None,
        give_up_after_sec: float = math.inf,
    ) -> None:
        super().__init__(text)
        self.retry_after_sec = retry_after_sec
        self.give_up_after_sec = give_up_after_sec


@dataclass(frozen=True)
class HttpTiming:
    """How long to wait for a file server.

    Attributes:
        connect_timeout_sec: Longest time to connect; with the TLS handshake, twice that.
        read_timeout_sec: Longest wait for the whole head of an answer, and longest silence in its
            body.
        min_bytes_per_sec: Slowest answer that is accepted, on average. It is checked once the body
            has taken longer than ``read_timeout_sec``.
        no_progress_sec: Longest time of retries without progress. Each range that arrived whole
            and verified is progress, over any connection. In a download of the whole file, each
            2 MiB are progress.
        max_retry_after_sec: Longest wait that a server may ask for with Retry-After.
        tail_wait_sec: Longest wait, in all, for the end of the file that was requested early.
    """

    connect_timeout_sec: float = 10.0
    read_timeout_sec: float = 30.0
    min_bytes_per_sec: int = 1024
    unheard_sec: float = 60.0
    no_progress_sec: float = 300.0
    max_retry_after_sec: float = 60.0
    tail_wait_sec: float = 2.0


class Retry:
    """Repeats operations until they succeed, or nothing has succeeded for too long.

    Several threads may share one. Success in any of them is progress for all.

    Args:
        timing: When to give up.
        wait: Called with the seconds to wait before each further try: half a second at first,
            doubling up to 30, each shortened at random by up to a half. Returns True to stop.
        clock: Returns monotonic time in seconds.
    """

    def __init__(
        self,
        timing: HttpTiming,
        wait: Callable[[float], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timing = timing
        self._wait = wait
        self._clock = clock
        self._last_progress = clock()

    def note_progress(self) -> None:
        """Restart the time without progress."""
        self._last_progress = self._clock()

    def run(self, operation: Callable[[], _T]) -> _T:
        """Run an operation until it succeeds.

        Args:
            operation: Raises RetryableFault where another try makes sense.

        Returns:
            What the operation returns.

        Raises:
            RetryableFault: There was no progress for too long; the text names the last fault.
            NwbError: ``wait`` returned True.
            Exception: Any other exception of the operation, at once.
        """
        started = self._clock()
        backoff = Backoff(_FIRST_WAIT_SEC, _MAX_WAIT_SEC, _draw)
        bounded_since = math.inf
        while True:
            tried = self._clock()
            try:
                result = operation()
            except RetryableFault as error:
                fault = error
            else:
                self.note_progress()
                return result
            now = self._clock()
            silence_sec = now - max(started, self._last_progress)
            left_sec = self._timing.no_progress_sec - silence_sec
            is_bounded = math.isfinite(fault.give_up_after_sec)
            bounded_since = min(bounded_since, tried) if is_bounded else math.inf
            if is_bounded:
                left_sec = min(left_sec, bounded_since + fault.give_up_after_sec - now)
            if left_sec <= 0:
                text = f"{fault}; given up after {silence_sec:,.0f} s without progress"
                raise RetryableFault(text)
            if self._wait(min(left_sec, self._wait_sec(fault, backoff))) is True:
                raise NwbError("reading was stopped")

    def _wait_sec(self, fault: RetryableFault, backoff: Backoff) -> float:
        wait_sec = backoff.next_wait_sec()
        if fault.retry_after_sec is None:
            return wait_sec
        return min(max(fault.retry_after_sec, 0.0), self._timing.max_retry_after_sec)


def _draw() -> float:
    return random.uniform(0.5, 1.0)  # noqa: S311 - no secret depends on it
