"""How far a raster job is: percent of the whole for the runner, a line now and then to read."""

import time
from typing import Callable

#: Console lines come at most this often, in seconds.
_LINE_GAP_SEC = 5.0

#: Where each part of the job starts and ends, in percent of the whole.
_READ, _BUILD, _UPLOAD = (5, 60), (60, 75), (75, 99)


class Progress:
    """Turns the news of the job's parts into percentages and lines.

    Args:
        percent: Is called with the percentage of the whole job, which never goes down.
        say: Is called with console lines.
        clock: Gives the time in seconds; it never goes back.
    """

    def __init__(
        self,
        percent: Callable[[float], None],
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._percent = percent
        self._say = say
        self._clock = clock
        self._highest = 0.0
        self._said_sec = clock()

    def reached(self, percent: float) -> None:
        """Tell that so much of the whole job is done.

        Args:
            percent: From 0 to 100. A part that is done anew does not bring it down.
        """
        self._highest = max(self._highest, percent)
        self._percent(self._highest)

    def read(self, done: int, total: int) -> None:
        """Tell how much of the file's spike times is read, in bytes."""
        self._part(_READ, done, total, f"Read {done / 1e6:.1f} of {total / 1e6:.1f} MB")

    def built(self, done: int, total: int) -> None:
        """Tell how many spikes are in their place in the figure."""
        self._part(_BUILD, done, total, f"Sorted {done:,} of {total:,} spikes")

    def uploaded(self, done: int, total: int) -> None:
        """Tell how many files are uploaded; figpack says so itself."""
        self._part(_UPLOAD, done, total, "")

    def _part(self, bounds: "tuple[int, int]", done: int, total: int, line: str) -> None:
        start, end = bounds
        self.reached(start + (end - start) * min(1.0, done / max(1, total)))
        now = self._clock()
        if line and done < total and now - self._said_sec >= _LINE_GAP_SEC:
            self._said_sec = now
            self._say(line)
