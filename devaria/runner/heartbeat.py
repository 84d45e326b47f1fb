"""The heartbeat of one job: a thread that tells the worker the newest state, on a schedule."""

import logging
import threading
import time
from typing import Callable, Optional

from devaria.client.client import WorkerClient
from devaria.common.errors import NotFound, NotOurs, TransientError, WorkerError
from devaria.common.retry import Backoff
from devaria.common.text import shortened
from devaria.execution.outcome import MAX_CONSOLE_BYTES

INTERVAL_SEC = 30.0
#: News are sent at once where the last beat is older than this: at most 30 beats a minute, of the
#: 120 that the worker allows.
MIN_GAP_SEC = 2.0

_STOP_SEC = 0.5

_log = logging.getLogger(__name__)


class Heartbeat:
    """Beats for one job from its claim until its report is acknowledged.

    Args:
        client: A client of this thread's own.
        job_id: The job.
        console: Returns what the job printed so far; called from the heartbeat's thread.
        on_lost: Called once, from the heartbeat's thread, when the worker says that the job is
            not this runner's (any more); then the beating ends.
        clean: Cuts out of a console what must not be told.
        on_answer: Called at every beat that the worker took.
        interval_sec: Time between two beats without news, in seconds.
    """

    def __init__(
        self,
        client: WorkerClient,
        job_id: str,
        console: Callable[[], str],
        on_lost: Callable[[], None],
        clean: Callable[[str], str] = str,
        on_answer: Callable[[], None] = lambda: None,
        interval_sec: float = INTERVAL_SEC,
    ) -> None:
        self.lost = False
        self._client = client
        self._job_id = job_id
        self._console = console
        self._on_lost = on_lost
        self._clean = clean
        self._on_answer = on_answer
        self._interval_sec = interval_sec
        self._backoff = Backoff(MIN_GAP_SEC, interval_sec)
        self._changed = threading.Condition()
        self._progress_current: Optional[float] = None
        self._progress_total: Optional[float] = None
        self._own_console: Optional[str] = None
        self._has_news = False
        self._stopping = False
        self._failing = False
        self._thread = threading.Thread(target=self._beat_on, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin. The claim counts as the beat before the first one."""
        self._thread.start()

    def update(
        self,
        progress_current: Optional[float],
        progress_total: Optional[float],
        own_console: Optional[str],
    ) -> None:
        """Hand over the newest state; never waits for the network.

        Args:
            progress_current: How much is done, or None.
            progress_total: How much there is to do, or None.
            own_console: The console where the handler passes one itself; None keeps the last.
        """
        with self._changed:
            self._progress_current = progress_current
            self._progress_total = progress_total
            self._own_console = own_console if own_console is not None else self._own_console
            self._has_news = True
            self._changed.notify()

    def stop(self) -> bool:
        """End; a beat that hangs is left to itself, since what it tells does no harm any more.

        Returns:
            Whether the thread has ended, so that its client may be used by another one.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(_STOP_SEC)
        return not self._thread.is_alive()

    def _beat_on(self) -> None:
        retry_in_sec: Optional[float] = None
        while self._sleep_until_due(time.monotonic(), retry_in_sec):
            try:
                self._beat()
                self._succeeded()
                retry_in_sec = None
            except NotOurs as error:
                if self._is_lost(error):
                    self.lost = True
                    self._on_lost()
                    return
                retry_in_sec = None
            except WorkerError as error:
                retry_in_sec = self._failed(error)

    def _sleep_until_due(self, last_beat: float, retry_in_sec: Optional[float]) -> bool:
        """Sleep until a beat is due; False when the heartbeat shall end."""
        with self._changed:
            while not self._stopping:
                gap_sec = MIN_GAP_SEC if self._has_news else self._interval_sec
                due = last_beat + (gap_sec if retry_in_sec is None else retry_in_sec)
                left = due - time.monotonic()
                if left <= 0:
                    return True
                self._changed.wait(left)
        return False

    def _beat(self) -> None:
        with self._changed:
            current, total = self._progress_current, self._progress_total
            console = self._own_console
            self._has_news = False
        console = self._clean(self._console() if console is None else console)
        self._client.heartbeat(self._job_id, current, total, shortened(console, MAX_CONSOLE_BYTES))

    def _succeeded(self) -> None:
        self._on_answer()
        self._backoff.reset()
        if self._failing:
            self._failing = False
            _log.info("heartbeats of job %s arrive again", self._job_id)

    def _failed(self, error: WorkerError) -> float:
        # What was not told is still news, but the wait after a failure is the back-off's.
        if not self._failing:
            self._failing = True
            _log.warning("heartbeat of job %s failed, trying on: %s", self._job_id, error)
        wish = error.retry_after_sec if isinstance(error, TransientError) else None
        return self._backoff.next_wait_sec(wish)

    def _is_lost(self, error: NotOurs) -> bool:
        with self._changed:
            if self._stopping:  # the report was acknowledged while this beat was on its way
                return False
        _log.debug("heartbeat of job %s: %s", self._job_id, error)
        try:
            return not still_ours(self._client, self._job_id)
        except WorkerError:
            return False  # the next beat will ask again


def still_ours(client: WorkerClient, job_id: str) -> bool:
    """Look at a job whose heartbeat was refused, before anything is given up for it.

    Args:
        client: A client with the runner id in question.
        job_id: The job.

    Returns:
        Whether the worker has the job as claimed by that runner, and not ended.

    Raises:
        WorkerError: The worker cannot tell.
    """
    try:
        job = client.job_detail(job_id)
    except NotFound:
        return False
    return job.claimed_by == client.runner_id and job.status in ("claimed", "in_progress")
