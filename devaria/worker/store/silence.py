"""Jobs of silent runners return to the queue.

The wall clock may be set, so silence is measured by one that runs steadily. It counts the time in
which the machine sleeps. A gap between two looks at it means that the worker could not listen.
"""

import logging
import threading
import time
from typing import Dict

from devaria.worker.store.database import Clock, Database

_log = logging.getLogger(__name__)

#: A gap of this length, or of half the allowed silence if that is shorter, means that the worker
#: was stopped. It looks at the clock every second.
_GAP_MS = 60_000
_LEAST_GAP_MS = 5_000

_RUNNING = (
    "SELECT job_id, job_type, claimed_by, updated_at FROM jobs"
    " WHERE status IN ('claimed', 'in_progress')"
)
# A heartbeat that arrives at the very moment changes `updated_at`, and the job stays as it is. The
# console is kept until the next runner replaces it: it shows how far the silent runner came.
_REQUEUE = """
UPDATE jobs SET status = 'pending', claimed_by = NULL, claimed_at = NULL, last_heartbeat = NULL,
    progress_current = NULL, progress_total = NULL, updated_at = ?
WHERE job_id = ? AND status IN ('claimed', 'in_progress') AND claimed_by = ? AND updated_at = ?
"""


def steady_ms() -> int:
    """Return a time in milliseconds that nobody can set; it goes on while the machine sleeps."""
    # macOS has no CLOCK_BOOTTIME, and its CLOCK_MONOTONIC goes on, unlike `time.monotonic`.
    clock = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
    if clock is None:  # Windows
        return time.monotonic_ns() // 1_000_000
    return time.clock_gettime_ns(clock) // 1_000_000


class SilentJobs:
    """Jobs whose runner has sent no heartbeat for too long.

    Time in which the worker could not listen does not count: after a restart, or a sleep of the
    machine, each runner has the whole time again.

    Args:
        database: Holds the jobs.
        clock: Returns the time in epoch milliseconds.
        after_ms: How long a runner may be silent; 0 for no limit, as on the hosted worker.
        steady: Returns a steady time in milliseconds.
    """

    def __init__(self, database: Database, clock: Clock, after_ms: int, steady: Clock) -> None:
        self._database = database
        self._clock = clock
        self._after_ms = after_ms
        self._steady = steady
        self._gap_ms = min(_GAP_MS, max(after_ms // 2, _LEAST_GAP_MS))
        self._lock = threading.Lock()
        self._looked_at = steady()
        self._heard_at: Dict[str, int] = {}  # by job; those not in it are heard at the first look
        self._due_at = self._looked_at  # before this, no job can be silent for too long

    def heard(self, job_id: str) -> None:
        """Note that the runner of a job has claimed it, or sent a heartbeat."""
        with self._lock:
            self._heard_at[job_id] = self._steady()

    def look_at_clock(self) -> None:
        """Note whether the worker could listen since the last look; called every second."""
        with self._lock:
            now = self._steady()
            if now - self._looked_at > self._gap_ms:
                self._heard_at.clear()
                self._due_at = now
            self._looked_at = now

    def requeue(self) -> None:
        """Return every such job to pending, unless a heartbeat arrives at that very moment."""
        if self._after_ms <= 0:
            return
        self.look_at_clock()
        if self._steady() < self._due_at:
            return
        running = {row["job_id"]: row for row in self._database.execute(_RUNNING).rows}
        with self._lock:
            now = self._steady()
            self._heard_at = {job_id: self._heard_at.get(job_id, now) for job_id in running}
            self._due_at = min(self._heard_at.values(), default=now) + self._after_ms
            silent = [key for key, at in self._heard_at.items() if now - at >= self._after_ms]
        for job_id in silent:
            runner_id, seen = running[job_id]["claimed_by"], running[job_id]["updated_at"]
            values = (self._clock(), job_id, runner_id, seen)
            if self._database.execute(_REQUEUE, *values).changed:
                _log.warning("Job %s is pending again: runner %s is silent", job_id, runner_id)
                self._database.news.is_pending(job_id, running[job_id]["job_type"])
