"""The job store: every transition of a job is one atomic statement."""

import hashlib
import uuid
from typing import Any, Dict, List, Optional, Sequence, Tuple

from devaria.common import js_json
from devaria.worker.store.database import Clock, Database, SilentJobs

Job = Dict[str, Any]
"""A row of the jobs table by column name; ``input_params`` and ``output_data`` are JSON text."""

STATES = ("pending", "claimed", "in_progress", "completed", "failed", "expired")
AVAILABLE_LIMIT = 50
_SUMMARY = (
    "job_id, job_type, status, created_at, updated_at, claimed_by, progress_current,"
    " progress_total, substr(input_params, 1, 200) AS input_params,"
    " (SELECT name FROM runners WHERE runner_id = claimed_by) AS runner_name"
)


class JobStore:
    """The queue and the cache of results.

    Nothing but its runner ends a claimed job. One whose runner has been silent for too long is
    pending again as soon as anybody looks at the queue; until then, a late report still counts.

    Args:
        database: Where the jobs are.
        clock: Gives the time in epoch milliseconds.
        requeue_after_ms: How long a runner may be silent; 0 for ever, as on the hosted worker.
    """

    def __init__(self, database: Database, clock: Clock, requeue_after_ms: int = 0) -> None:
        self._database = database
        self._clock = clock
        self._silent_jobs = SilentJobs(database, clock, requeue_after_ms)

    def submit(self, job_type: str, input_params: Dict[str, Any]) -> Tuple[Job, bool]:
        """Find the job of that type and parameters, or create it as pending.

        Args:
            job_type: The job type.
            input_params: The parameters.

        Returns:
            The job, and whether it is new.
        """
        identity, now = job_hash(job_type, input_params), self._clock()
        while True:
            created = self._database.execute(
                "INSERT INTO jobs"
                " (job_id, job_hash, job_type, input_params, created_at, updated_at)"
                " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (job_hash) DO NOTHING",
                str(uuid.uuid4()),
                *(identity, js_json.well_formed(job_type), js_json.dumps(input_params), now, now),
            )
            found = self.newest(1, job_hash=identity)
            if found:  # else it was deleted between the two statements: once more
                return found[0], created.rowcount == 1

    def find(self, job_type: str, input_params: Dict[str, Any]) -> Optional[Job]:
        """Find the job of that type and parameters.

        Args:
            job_type: The job type.
            input_params: The parameters.

        Returns:
            The job, or None.
        """
        return next(iter(self.newest(1, job_hash=job_hash(job_type, input_params))), None)

    def get(self, job_id: str) -> Optional[Job]:
        """Find a job by its id.

        Args:
            job_id: The id.

        Returns:
            The job, or None.
        """
        return next(iter(self.newest(1, job_id=job_id)), None)

    def available(self, job_types: Sequence[str]) -> List[Job]:
        """List pending jobs.

        Args:
            job_types: The types wanted.

        Returns:
            At most 50 jobs, the oldest first.
        """
        marks = ",".join("?" * len(job_types))
        return self._many(
            f"* FROM jobs WHERE status = 'pending' AND job_type IN ({marks})"
            f" ORDER BY seq LIMIT {AVAILABLE_LIMIT}",
            *job_types,
        )

    def claim(self, job_id: str, runner_id: str) -> bool:
        """Give a pending job to a runner; of several that ask at once, one gets it.

        Args:
            job_id: The job.
            runner_id: The runner.

        Returns:
            False if the job is not pending (the runner's own included) or not there.

        Raises:
            sqlite3.IntegrityError: The job is pending but no such runner is registered.
        """
        self._silent_jobs.requeue()
        now = self._clock()
        cursor = self._database.execute(
            "UPDATE jobs SET status = 'claimed', claimed_by = ?, claimed_at = ?, updated_at = ?"
            " WHERE job_id = ? AND status = 'pending'",
            *(runner_id, now, now, job_id),
        )
        return cursor.rowcount == 1

    def heartbeat(
        self, job_id: str, runner_id: str, current: Any, total: Any, console: str
    ) -> bool:
        """Take a job's progress and console, which replaces the one before.

        Args:
            job_id: The job.
            runner_id: The runner that reports.
            current: How much is done; None if unknown.
            total: How much there is to do; None if unknown.
            console: The whole console so far.

        Returns:
            False if the job is not claimed by this runner, or over.
        """
        return self._report(
            job_id,
            runner_id,
            status="in_progress",
            progress_current=current,
            progress_total=total,
            console_output=js_json.well_formed(console),
            last_heartbeat=self._clock(),
        )

    def finish(
        self,
        job_id: str,
        runner_id: str,
        console: str,
        *,
        output: Optional[str] = None,
        error: Optional[str] = None,
    ) -> bool:
        """End a job with its result or its error; either is cached until the job is deleted.

        Args:
            job_id: The job.
            runner_id: The runner that reports.
            console: The whole console.
            output: The result, as JSON text; None for a failed job.
            error: What went wrong; None for a completed job.

        Returns:
            False if the job is not claimed by this runner, or over.
        """
        return self._report(
            job_id,
            runner_id,
            status="completed" if error is None else "failed",
            console_output=js_json.well_formed(console),
            output_data=output,
            error_message=None if error is None else js_json.well_formed(error),
        )

    def delete(self, job_id: str) -> bool:
        """Delete a job in any state.

        Args:
            job_id: The job.

        Returns:
            False if it was not there.
        """
        return self._database.execute("DELETE FROM jobs WHERE job_id = ?", job_id).rowcount == 1

    def newest(self, limit: int, **columns: str) -> List[Job]:
        """List jobs, the newest first.

        Args:
            limit: The most jobs to list.
            **columns: Only jobs that have these values, such as ``status="failed"``.

        Returns:
            The jobs.
        """
        return self._newest("*", limit, columns)

    def summaries(self, limit: int, **columns: str) -> List[Job]:
        """List jobs as ``newest`` does, without their big columns.

        Args:
            limit: The most jobs to list.
            **columns: Only jobs that have these values.

        Returns:
            The jobs, with the first 200 characters of ``input_params``, and ``runner_name``.
        """
        return self._newest(_SUMMARY, limit, columns)

    def counts(self) -> Dict[str, int]:
        """Count the jobs.

        Returns:
            The number for each state, and in all (``total``).
        """
        self._silent_jobs.requeue()
        rows = self._database.execute("SELECT status, count(*) FROM jobs GROUP BY status")
        counts = {**dict.fromkeys(STATES, 0), **dict(rows.fetchall())}
        return {**counts, "total": sum(counts.values())}

    def _report(self, job_id: str, runner_id: str, **columns: Any) -> bool:
        columns["updated_at"] = self._clock()
        assignments = ", ".join(f"{name} = ?" for name in columns)
        cursor = self._database.execute(
            f"UPDATE jobs SET {assignments} WHERE job_id = ? AND claimed_by = ?"  # noqa: S608
            " AND status IN ('claimed', 'in_progress')",
            *(*columns.values(), job_id, runner_id),
        )
        return cursor.rowcount == 1

    def _newest(self, selected: str, limit: int, columns: Dict[str, str]) -> List[Job]:
        condition = " AND ".join(f"{name} = ?" for name in columns) or "1"
        return self._many(
            f"{selected} FROM jobs WHERE {condition} ORDER BY seq DESC LIMIT ?",
            *columns.values(),
            limit,
        )

    def _many(self, query: str, *parameters: Any) -> List[Job]:
        # The query is always this file's own text; what callers send is in the parameters.
        self._silent_jobs.requeue()
        rows = self._database.execute(f"SELECT {query}", *parameters).fetchall()
        return [dict(row) for row in rows]


def job_hash(job_type: str, input_params: Dict[str, Any]) -> str:
    """Give the identity of a job: equal for equal type and parameters, whatever their key order.

    Args:
        job_type: The job type.
        input_params: The parameters, as ``js_json.loads`` returned them (so that 1 and 1.0,
            ``é`` and its escape are alike already).

    Returns:
        SHA-256 in hexadecimal, over the compact JSON of both with object keys sorted at every
        depth. List order matters, null is not absent, and texts are not normalised.
    """
    text = js_json.dumps({"type": job_type, "params": input_params}, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
