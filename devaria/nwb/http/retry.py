"""Trying an operation again after faults that may pass, with longer and longer waits."""

import math
import random
import time
from dataclasses import dataclass
from typing import Callable, Optional, TypeVar

from devaria.nwb.errors import NwbError

_T = TypeVar("_T")


class TransientError(Exception):
    """A fault that may be gone the next time.

    Args:
        text: What is wrong, in words that may be printed.
        retry_after_sec: How long the server wants to be left alone, if it said so.
        hope_sec: For how long it is worth trying again while nothing else is wrong, if it is less
            than for other faults.
    """

    def __init__(
        self, text: str, retry_after_sec: Optional[float] = None, hope_sec: float = math.inf
    ) -> None:
        super().__init__(text)
        self.retry_after_sec = retry_after_sec
        self.hope_sec = hope_sec


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server.

    Attributes:
        connect_timeout_sec: Longest time to connect; with the TLS handshake, twice that.
        read_timeout_sec: Longest wait for the whole head of an answer, and longest silence in its
            body.
        min_bytes_per_sec: An answer that, this time-out into its body, has come more slowly on
            average is broken off like a silent one.
        no_progress_sec: Longest time without progress, trying again and again. Progress is a range
            of the file that has arrived whole and verified, over any connection; of a file that
            must be taken as a whole, the next 2 MiB.
        max_retry_after_sec: Longest wait that a server may ask for by Retry-After.
    """

    connect_timeout_sec: float = 10.0
    read_timeout_sec: float = 30.0
    min_bytes_per_sec: int = 1024
    no_progress_sec: float = 300.0
    max_retry_after_sec: float = 60.0


class Retry:
    """Runs operations again until they succeed, or nothing at all succeeds for too long.

    Several threads may share one: what succeeds in any of them is progress for all.

    Args:
        patience: How long to go on.
        wait: Called with the seconds before each further try: half a second at first, doubling up
            to 30, each a little shortened at random. Returns True to have it given up.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self,
        patience: Patience,
        wait: Callable[[float], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._patience = patience
        self._wait = wait
        self._clock = clock
        self._last_progress = clock()

    def note_progress(self) -> None:
        """Take note that something has been achieved just now."""
        self._last_progress = self._clock()

    def run(self, operation: Callable[[], _T]) -> _T:
        """Run an operation until it succeeds.

        Args:
            operation: What to do; raises TransientError where another try makes sense.

        Returns:
            What the operation returns.

        Raises:
            TransientError: There was no progress for too long; the text gives the last fault.
            NwbError: ``wait`` said to give up.
            Exception: Whatever else the operation raises, at once.
        """
        started = self._clock()
        backoff = 0.5
        doubtful_since = math.inf
        while True:
            try:
                result = operation()
            except TransientError as error:
                fault = error
            else:
                self.note_progress()
                return result
            now = self._clock()
            silence = now - max(started, self._last_progress)
            is_doubtful = math.isfinite(fault.hope_sec)
            doubtful_since = min(doubtful_since, now) if is_doubtful else math.inf
            left = self._patience.no_progress_sec - silence
            if is_doubtful:
                left = min(left, doubtful_since + fault.hope_sec - now)
            if left <= 0:
                raise TransientError(f"{fault}; given up after {silence:,.0f} s without progress")
            if self._wait(min(left, self._pause(fault, backoff))) is True:
                raise NwbError("the reading was ended")
            backoff = min(30.0, 2 * backoff)

    def _pause(self, fault: TransientError, backoff: float) -> float:
        if fault.retry_after_sec is None:
            return backoff * random.uniform(0.5, 1.0)  # noqa: S311 - no secret hangs on it
        return min(max(fault.retry_after_sec, 0.0), self._patience.max_retry_after_sec)
