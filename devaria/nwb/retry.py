"""Trying an operation again after faults that may pass, with longer and longer waits."""

import random
from typing import Callable, Optional, TypeVar

_T = TypeVar("_T")


class TransientError(Exception):
    """A fault that may be gone the next time.

    Args:
        text: What is wrong, in words that may be printed.
        retry_after_sec: How long the server wants to be left alone, if it said so.
    """

    def __init__(self, text: str, retry_after_sec: Optional[float] = None) -> None:
        super().__init__(text)
        self.retry_after_sec = retry_after_sec


def try_often(
    operation: Callable[[], _T],
    tries: int,
    max_retry_after_sec: float,
    wait: Callable[[float], object],
) -> _T:
    """Run an operation until it succeeds, fails for good, or has been tried often enough.

    Args:
        operation: What to do; raises TransientError where another try makes sense.
        tries: Number of tries in all, 1 or more.
        max_retry_after_sec: Longest wait that a server's wish is granted.
        wait: Called with the seconds before each further try: half a second at first, doubling
            up to 30, each a little shortened at random.

    Returns:
        What the operation returns.

    Raises:
        TransientError: No try succeeded; the text says how many there were.
        Exception: Whatever else the operation raises, at once.
    """
    fault = ""
    for attempt in range(tries):
        try:
            return operation()
        except TransientError as error:
            fault, wish = str(error), error.retry_after_sec
        if attempt + 1 < tries:
            backoff = min(30.0, 0.5 * 2.0**attempt) * random.uniform(0.5, 1.0)  # noqa: S311
            wait(backoff if wish is None else min(wish, max_retry_after_sec))
    raise TransientError(f"{fault}; given up after {tries} tries")
