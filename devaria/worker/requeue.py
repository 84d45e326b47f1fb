"""Jobs whose runner fell silent go back to pending, for another runner."""

import logging

from devaria.worker.database import Database
from devaria.worker.rate_limit import Clock

_log = logging.getLogger(__name__)

# A running job is updated by its claim and its heartbeats, and by nothing else.
_IS_SILENT = "status IN ('claimed', 'in_progress') AND updated_at <= ?"
_FIND = f"SELECT job_id, claimed_by FROM jobs WHERE {_IS_SILENT}"  # noqa: S608
# The console stays: until the next runner writes its own, it tells how far the silent one came.
_REQUEUE = f"""
UPDATE jobs SET status = 'pending', claimed_by = NULL, claimed_at = NULL, last_heartbeat = NULL,
    progress_current = NULL, progress_total = NULL, updated_at = ?
WHERE job_id = ? AND {_IS_SILENT}
"""  # noqa: S608


class SilentJobs:
    """Finds the jobs that nothing has been heard of for too long.

    Args:
        database: Where the jobs are.
        clock: Gives the time in epoch milliseconds.
        after_ms: How long a runner may be silent; 0 for ever, as on the hosted worker.
    """

    def __init__(self, database: Database, clock: Clock, after_ms: int) -> None:
        self._database = database
        self._clock = clock
        self._after_ms = after_ms
        # Nobody could be heard while the worker was down: that is no silence of the runners.
        self._listening_since = clock()

    def requeue(self) -> None:
        """Return every silent job to pending, unless its runner is heard at that very moment."""
        since = self._clock() - self._after_ms
        if self._after_ms <= 0 or self._listening_since > since:
            return
        # Mostly there is none, and then nothing is written: who looks at the queue only reads.
        for job_id, runner_id in self._database.execute(_FIND, since).fetchall():
            if self._database.execute(_REQUEUE, self._clock(), job_id, since).rowcount:
                _log.warning("Job %s is pending again: runner %s is silent", job_id, runner_id)
