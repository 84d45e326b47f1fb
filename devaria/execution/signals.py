"""Signals as flags, and the wake-up that the main thread waits on."""

import logging
import math
import os
import queue
import signal
import sys
import time
from functools import partial
from types import FrameType
from typing import Callable, List, Optional

#: Two signals within this time, in seconds, count as one: a terminal's Ctrl-C and a service
#: manager's SIGTERM may both arrive.
_SAME_REQUEST_SEC = 1.0

#: On Windows a signal cannot interrupt a wait, so a wait is cut into slices of this length there,
#: in seconds.
_WINDOWS_SLICE_SEC = 0.5

_log = logging.getLogger(__name__)


class Wakeup:
    """Lets the main thread sleep until something happens or a time is over.

    A signal handler or a thread that has news calls `notify`. The main thread then checks
    everything that it waits for. The class uses a `SimpleQueue`, not an `Event`: its `put` is the
    one primitive that the standard library promises to be safe within a signal handler.
    """

    def __init__(self) -> None:
        self._news: queue.SimpleQueue[None] = queue.SimpleQueue()
        #: Wakes the main thread, from any thread or from a signal handler.
        self.notify: Callable[[], None] = partial(self._news.put, None)
        self._chore: Callable[[], None] = lambda: None
        self._chore_every_sec = self._chore_due_at = math.inf

    def do_regularly(self, chore: Callable[[], None], every_sec: float) -> None:
        """Have the main thread do something regularly while it waits.

        Args:
            chore: What to do; it must be quick.
            every_sec: How often, in seconds. There is one such chore.
        """
        self._chore, self._chore_every_sec = chore, every_sec
        self._chore_due_at = time.monotonic() + every_sec

    def do_soon(self, within_sec: float) -> None:
        """Have the main thread do that thing earlier, once.

        Args:
            within_sec: In how many seconds at the latest.
        """
        self._chore_due_at = min(self._chore_due_at, time.monotonic() + within_sec)

    def wait(self, timeout_sec: float) -> bool:
        """Sleep until there is news.

        Args:
            timeout_sec: The longest time to sleep, in seconds.

        Returns:
            Whether there was news; False when the time was over.
        """
        deadline = time.monotonic() + timeout_sec
        while True:
            now = time.monotonic()
            if now >= self._chore_due_at:
                self._chore_due_at = now + self._chore_every_sec
                self._chore()
            if self._took_news(max(min(deadline, self._chore_due_at) - now, 0.0)):
                return True
            if now >= deadline:
                return False

    def _took_news(self, timeout_sec: float) -> bool:
        if sys.platform == "win32":
            timeout_sec = min(timeout_sec, _WINDOWS_SLICE_SEC)
        try:
            # Without a time-out first. Otherwise Python, up to 3.12 at least, may wait without end
            # if an earlier `put` left the queue's lock free and the time is over at once.
            self._news.get_nowait()
        except queue.Empty:
            if not self._came_within(timeout_sec):
                return False
        # One check of everything covers all older news.
        while not self._news.empty():
            self._news.get()
        return True

    def _came_within(self, timeout_sec: float) -> bool:
        if timeout_sec <= 0:
            return False
        try:
            self._news.get(timeout=timeout_sec)
        except queue.Empty:
            return False
        return True


class StopRequest:
    """What the operator has asked for by signals.

    The first signal asks to take no new job, the second to end the job in hand. The third ends
    the process at once.

    Args:
        wakeup: Notified of each signal.
    """

    def __init__(self, wakeup: Wakeup) -> None:
        #: The last signal.
        self.signal_number: Optional[int] = None
        self._wakeup = wakeup
        #: Whether to take no new job, and end.
        self.wants_end = False
        #: Whether to end the job in hand, too.
        self.wants_job_end = False
        self._asked_at: List[float] = []
        self._is_said = False

    def since(self, *, patient: bool) -> Optional[float]:
        """Return when the operator asked for the end of the runner, or of the job in hand.

        Args:
            patient: Ask for the job in hand, not for the runner.

        Returns:
            The time of the signal on the monotonic clock, in seconds; None if there was none.
        """
        asked = self._asked_at[1:] if patient else self._asked_at
        return asked[0] if asked else None

    def say_once(self) -> None:
        """Log once that the first signal has arrived. A signal handler itself must not log."""
        if self.wants_end and not self._is_said:
            self._is_said = True
            _log.info("%s: finishing the job in hand; a second one ends it", self.signal_name)

    def listen(self) -> None:
        """Handle SIGINT, SIGTERM, and SIGHUP unless it is ignored, as it is under nohup."""
        for number in _stop_signals():
            signal.signal(number, self._on_signal)

    @property
    def signal_name(self) -> str:
        """The name of the last signal."""
        return signal.Signals(self.signal_number or signal.SIGINT).name

    @property
    def exit_code(self) -> int:
        """128 + the signal's number, as a shell reports a process that a signal ended."""
        return 128 + (self.signal_number or signal.SIGINT)

    def _on_signal(self, number: int, frame: Optional[FrameType]) -> None:
        del frame
        now = time.monotonic()
        self.signal_number = number
        if self._asked_at and now - self._asked_at[-1] < _SAME_REQUEST_SEC:
            return
        if self.wants_job_end:
            os._exit(self.exit_code)  # the journal has what is owed
        self.wants_job_end = self.wants_end
        self.wants_end = True
        self._asked_at.append(now)
        self._wakeup.notify()


def _stop_signals() -> List[signal.Signals]:
    if sys.platform == "win32":
        return [signal.SIGINT, signal.SIGTERM, signal.SIGBREAK]
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    return numbers
