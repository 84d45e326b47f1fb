"""Let a few of many threads go on at a time, those with the largest files first."""

import contextlib
import itertools
import threading
from typing import Iterator, List, Tuple

#: How long to wait until all expected threads have come, in seconds. They come within a few
#: milliseconds; the bound holds if fewer come than were expected.
_GATHERING_SEC = 0.05


class Lanes:
    """A semaphore that prefers large files: a small one beside them costs no time of its own.

    Args:
        count: How many threads may go on at a time.
    """

    def __init__(self, count: int) -> None:
        self._num_free = count
        self._num_expected = 0
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        #: The files that wait: minus the size, and a number to tell files of one size apart.
        self._waiting: List[Tuple[int, int]] = []

    def expect(self, count: int) -> None:
        """Let the next files wait until this many have come, so that the largest of them is known.

        Args:
            count: How many threads come with a file, each of its own.
        """
        with self._changed:
            self._num_expected = count

    @contextlib.contextmanager
    def lane(self, num_bytes: int) -> Iterator[None]:
        """Wait for a free lane, and hold it for the length of a ``with`` block.

        Args:
            num_bytes: The size of the file.
        """
        turn = (-num_bytes, next(self._numbers))
        with self._changed:
            self._waiting.append(turn)
            self._num_expected -= 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._num_expected <= 0, _GATHERING_SEC)
            self._num_expected = 0
            self._changed.wait_for(lambda: self._num_free > 0 and turn == min(self._waiting))
            self._waiting.remove(turn)
            self._num_free -= 1
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._num_free += 1
                self._changed.notify_all()
