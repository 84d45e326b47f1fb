"""The heartbeat of a job: a thread that sends the worker the newest state, on a schedule."""

import logging
import threading
import time
from typing import Callable, Optional

from devaria.client.client import WorkerClient
from devaria.common.errors import NotOurs, TransientError, WorkerError
from devaria.common.retry import Backoff
from devaria.common.text import shortened
from devaria.execution.outcome import MAX_CONSOLE_BYTES
from devaria.runner.journal import JournalEntry
from devaria.runner.status import StatusFile

_log = logging.getLogger(__name__)


class HeartbeatThread:
    """Sends heartbeats for one job from its claim until its report is acknowledged.

    Args:
        client: A client for this thread alone.
        entry: The job, and the runner id that it is claimed under.
        console: Returns what the job printed so far; called from the heartbeat's thread.
        on_lost: Called once, from the heartbeat's thread, when the worker says that the job is
            not this runner's, or not any more. The heartbeats then end.
        clean: Removes secrets from a console.
        status: Keeps the time of the last good answer.
    """

    def __init__(
        self,
        client: WorkerClient,
        entry: JournalEntry,
        console: Callable[[], str],
        on_lost: Callable[[], None],
        clean: Callable[[str], str],
        status: StatusFile,
    ) -> None:
        self.lost = False
        self._client = client
        self._timing = client.timing
        self._entry = entry
        self._console = console
        self._on_lost = on_lost
        self._clean = clean
        self._status = status
        self._backoff: Optional[Backoff] = None
        self._changed = threading.Condition()
        self._progress_current: Optional[float] = None
        self._progress_total: Optional[float] = None
        self._own_console: Optional[str] = None
        self._has_news = False
        self._stopping = False
        self._had_unexpected = False
        self._thread = threading.Thread(target=self._beat_on, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Start the thread. The claim counts as the beat before the first one."""
        self._thread.start()

    def update(
        self,
        progress_current: Optional[float],
        progress_total: Optional[float],
        own_console: Optional[str],
    ) -> None:
        """Take the newest state. This never waits for the network.

        Args:
            progress_current: How much is done, or None.
            progress_total: How much there is to do, or None.
            own_console: The console, if the handler passes one itself; None keeps the last.
        """
        with self._changed:
            self._progress_current = progress_current
            self._progress_total = progress_total
            self._own_console = own_console if own_console is not None else self._own_console
            self._has_news = True
            self._changed.notify()

    def stop(self) -> bool:
        """Stop the heartbeats. One that hangs is waited for only briefly.

        Returns:
            Whether the thread has ended. If not, its client is still in use.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(self._timing.heartbeat_stop_sec)
        return not self._thread.is_alive()

    def _beat_on(self) -> None:
        retry_in_sec: Optional[float] = None
        while not self.lost and self._sleep_until_due(time.monotonic(), retry_in_sec):
            try:
                self._beat_once()
                retry_in_sec = None
            except WorkerError as error:
                retry_in_sec = self._wait_after(error)
            # A thread that is silently gone would leave the job to others while it runs here.
            except Exception:
                retry_in_sec = None
                self._note_unexpected()

    def _beat_once(self) -> None:
        """Send a heartbeat; find out whose job it is if the worker does not take it."""
        try:
            self._beat()
        except NotOurs as error:
            if self._is_lost(error):
                self.lost = True
                self._on_lost()
        else:
            self._note_success()

    def _sleep_until_due(self, last_beat: float, retry_in_sec: Optional[float]) -> bool:
        """Sleep until a beat is due. Return False when the heartbeats are to end."""
        timing = self._timing
        with self._changed:
            while not self._stopping:
                gap_sec = timing.heartbeat_gap_sec if self._has_news else timing.heartbeat_sec
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
        console = shortened(console, MAX_CONSOLE_BYTES)
        entry = self._entry
        self._client.heartbeat(entry.runner_id, entry.job_id, current, total, console)

    def _note_success(self) -> None:
        self._status.last_contact_at = time.time()
        if self._backoff is not None:
            self._backoff = None
            _log.info("heartbeats of job %s arrive again", self._entry.job_id)

    def _wait_after(self, error: WorkerError) -> float:
        # The next heartbeat sends the newest state anyway. The back-off says when.
        if self._backoff is None:
            self._backoff = Backoff(self._timing.heartbeat_gap_sec, self._timing.heartbeat_sec)
            _log.warning("heartbeat of job %s failed, trying again: %s", self._entry.job_id, error)
        return self._backoff.next_wait_sec(
            error.retry_after_sec if isinstance(error, TransientError) else None
        )

    def _note_unexpected(self) -> None:
        if not self._had_unexpected:
            self._had_unexpected = True
            _log.error(
                "heartbeat of job %s met an unexpected error; the next one is sent all the same",
                self._entry.job_id,
                exc_info=True,
            )

    def _is_lost(self, error: NotOurs) -> bool:
        with self._changed:
            if self._stopping:  # the report was acknowledged while this beat was on its way
                return False
        _log.debug("heartbeat of job %s: %s", self._entry.job_id, error)
        return not self._client.is_claimed_by(self._entry.runner_id, self._entry.job_id)
