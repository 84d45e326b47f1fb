"""Progress of a figure job: a percentage for the runner, and console lines for people."""

import time
from typing import Callable

#: Shortest time between two console lines, in seconds.
_LINE_GAP_SEC = 5.0

#: Start and end of each part of the job, in percent of the whole job.
_READ, _BUILD, _UPLOAD = (5, 60), (60, 75), (75, 99)

#: The same of a part that reads and builds at once, piece by piece.
_READ_AND_BUILD = (5, 75)


class Progress:
    """Turns the progress of the job's parts into percentages and console lines.

    Args:
        percent: Called with the percentage of the whole job, which never decreases.
        say: Called with console lines.
        clock: Returns monotonic time in seconds.
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
        """Report how much of the whole job is done.

        Args:
            percent: From 0 to 100. A smaller value than before, as after a retry, is ignored.
        """
        self._highest = max(self._highest, percent)
        self._percent(self._highest)

    def read(self, done: int, total: int) -> None:
        """Report how many bytes of the file are read."""
        self._part(_READ, done, total, f"Read {done / 1e6:.1f} of {total / 1e6:.1f} MB")

    def built(self, verb: str, done: int, total: int, unit: str) -> None:
        """Report how much of the figure is built after all is read.

        Args:
            verb: What was done, such as "Sorted", for the console line.
            done: How many are done.
            total: How many there are to do.
            unit: What is counted, such as "spikes".
        """
        self._part(_BUILD, done, total, f"{verb} {done:,} of {total:,} {unit}")

    def read_and_built(self, verb: str, done: int, total: int, unit: str) -> None:
        """Report how much of a figure is built that is read piece by piece; else as `built`."""
        self._part(_READ_AND_BUILD, done, total, f"{verb} {done:,} of {total:,} {unit}")

    def uploaded(self, done: int, total: int) -> None:
        """Report how many files are uploaded. figpack prints lines of its own for them."""
        self._part(_UPLOAD, done, total, "")

    def _part(self, bounds: "tuple[int, int]", done: int, total: int, line: str) -> None:
        start, end = bounds
        self.reached(start + (end - start) * min(1.0, done / max(1, total)))
        now = self._clock()
        if line and done < total and now - self._said_sec >= _LINE_GAP_SEC:
            self._said_sec = now
            self._say(line)
