"""What the worker does at regular times, whether there are requests or not."""

import logging
import threading
from typing import Callable, List, Tuple

_log = logging.getLogger(__name__)

#: Does something; and how often, in seconds.
Duty = Tuple[float, Callable[[], None]]


class Upkeep:
    """A thread that does things at regular times.

    Args:
        duties: What it does, each for the first time after one interval.
    """

    def __init__(self, duties: List[Duty]) -> None:
        self._duties = duties
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="devaria-worker-upkeep", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_sec: float) -> None:
        """Do nothing more; wait so long for what is being done at the moment."""
        self._stop.set()
        self._thread.join(timeout_sec)

    def _run(self) -> None:
        beat_sec = min(every_sec for every_sec, _ in self._duties)
        beats = 0
        while not self._stop.wait(beat_sec):
            beats += 1
            for every_sec, act in self._duties:
                if beats % max(round(every_sec / beat_sec), 1) == 0:
                    _do(act)


def _do(act: Callable[[], None]) -> None:
    try:
        act()
    except Exception as error:  # the thread must go on; the next time may be better
        _log.warning("Upkeep failed: %s", error)
        _log.debug("Where it failed", exc_info=True)
