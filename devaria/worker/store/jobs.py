"""The job store: every transition of a job is one atomic statement."""

import hashlib
import uuid
from functools import partial
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

from devaria.common import js_json
from devaria.worker.store import deep_json
from devaria.worker.store.database import Clock, Database
from devaria.worker.store.pickup import LISTED, Pending
from devaria.worker.store.silence import SilentJobs, steady_ms
from devaria.worker.store.waiting import IsGone

#: A row of the jobs table by column name; ``input_params`` and ``output_data`` are JSON text.
Job = Dict[str, Any]

#: A job's parameters: an object, or a list, which the hosted worker takes too.
Params = Union[Dict[str, Any], List[Any]]

#: A text of a report; the hosted worker takes a number, and keeps it as a text.
Text = Union[str, float]

STATES = ("pending", "claimed", "in_progress", "completed", "failed", "expired")
_SUMMARY = (
    "job_id, job_type, status, created_at, updated_at, claimed_by, progress_current,"
    " progress_total, substr(input_params, 1, 200) AS input_params,"
    " (SELECT name FROM runners WHERE runner_id = claimed_by) AS runner_name"
)


class JobStore:
    """The queue and the result cache.

    Only its runner ends a claimed job. If the runner is silent for too long, the next read of the
    queue makes the job pending again; until then, a late report still counts.

    Args:
        database: Holds the jobs.
        clock: Returns the time in epoch milliseconds.
        requeue_after_ms: How long a runner may be silent; 0 for no limit, as on the hosted worker.
        steady: Returns a steady time in milliseconds, by which silence is measured.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        requeue_after_ms: int = 0,
        steady: Clock = steady_ms,
    ) -> None:
        self._database = database
        self._clock = clock
        self._silent_jobs = SilentJobs(database, clock, requeue_after_ms, steady)

    def look_at_clock(self) -> None:
        """Note whether the worker could listen since the last look; called every second."""
        self._silent_jobs.look_at_clock()

    def submit(self, job_type: str, input_params: Params) -> Tuple[Job, bool]:
        """Find the job with this type and these parameters, or create it as pending.

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
                *(identity, js_json.well_formed(job_type), deep_json.dumps(input_params), now, now),
            )
            found = self.newest(1, job_hash=identity)
            if found:  # else another thread deleted it between the two statements: try again
                if created.changed:
                    self._database.news.is_pending(found[0]["job_id"], found[0]["job_type"])
                return found[0], created.changed == 1

    def find(self, job_type: str, input_params: Params) -> Optional[Job]:
        """Find the job with this type and these parameters; None if there is none."""
        return next(iter(self.newest(1, job_hash=job_hash(job_type, input_params))), None)

    def get(self, job_id: str) -> Optional[Job]:
        """Find a job by its id; None if there is none."""
        return next(iter(self.newest(1, job_id=job_id)), None)

    def available(self, job_types: Sequence[str]) -> List[Job]:
        """List at most 50 pending jobs of these types, the oldest first."""
        return self._many(_pending("*", job_types), *job_types, LISTED)

    def offered(
        self, runner_id: str, job_types: Sequence[str], wait_sec: float, is_gone: IsGone
    ) -> Optional[Tuple[List[Job], float]]:
        """List pending jobs that no other runner is told of at this moment; wait for one.

        Args:
            runner_id: The runner that asks.
            job_types: The types that it runs.
            wait_sec: How long to wait.
            is_gone: Returns whether the runner is gone.

        Returns:
            At most 50 jobs, and for how many seconds the runner may claim from them; no jobs when
            the time is over. None if there is none now, and the runner cannot wait: its time is 0,
            or too many others wait.
        """
        self._silent_jobs.requeue()
        read = partial(self._pending_ids, job_types)
        pickup = self._database.news.pickup
        told = pickup.jobs_for(runner_id, job_types, wait_sec, is_gone, read)
        if told is None:
            return None
        marks = ",".join("?" * len(told.job_ids))
        query = f"* FROM jobs WHERE job_id IN ({marks}) ORDER BY seq"
        return self._many(query, *told.job_ids), told.for_sec

    def claim(self, job_id: str, runner_id: str) -> bool:
        """Give a pending job to a runner. If several ask at once, exactly one gets it.

        Returns:
            False if the job is not pending or does not exist. That includes a job that the runner
            has claimed already.

        Raises:
            sqlite3.IntegrityError: The job is pending, but the runner is not registered.
        """
        self._silent_jobs.requeue()
        now = self._clock()
        claimed = self._database.execute(
            "UPDATE jobs SET status = 'claimed', claimed_by = ?, claimed_at = ?,"
            " last_heartbeat = ?, updated_at = ? WHERE job_id = ? AND status = 'pending'",
            *(runner_id, now, now, now, job_id),
        )
        if claimed.changed:
            self._silent_jobs.heard(job_id)
            self._database.news.is_taken(job_id)
        return claimed.changed == 1

    def heartbeat(
        self, job_id: str, runner_id: str, current: Any, total: Any, console: Text
    ) -> bool:
        """Store a job's progress and console.

        Args:
            job_id: Any id; it need not be known.
            runner_id: The runner that reports.
            current: How much is done, a number; None if unknown.
            total: How much there is to do, a number; None if unknown.
            console: The whole console so far; it replaces the stored one.

        Returns:
            False if this runner has not claimed the job, or the job has ended.
        """
        return self._report(
            job_id,
            runner_id,
            status="in_progress",
            progress_current=current,
            progress_total=total,
            console_output=_stored(console),
            last_heartbeat=self._clock(),
        )

    def finish(
        self,
        job_id: str,
        runner_id: str,
        console: Text,
        *,
        output: Optional[str] = None,
        error: Optional[Text] = None,
    ) -> bool:
        """End a job with its result or its error, which is cached until the job is deleted.

        Args:
            job_id: Any id; it need not be known.
            runner_id: The runner that reports.
            console: The whole console; it replaces the stored one.
            output: The result, as JSON text; None for a failed job.
            error: The reason of the failure; None for a completed job.

        Returns:
            False if this runner has not claimed the job, or the job has ended.
        """
        return self._report(
            job_id,
            runner_id,
            status="completed" if error is None else "failed",
            console_output=_stored(console),
            output_data=output,
            error_message=None if error is None else _stored(error),
        )

    def delete(self, job_id: str) -> bool:
        """Delete a job in any state; return False if it does not exist."""
        deleted = self._database.execute("DELETE FROM jobs WHERE job_id = ?", job_id)
        if deleted.changed:
            self._database.news.is_taken(job_id)
        return deleted.changed == 1

    def rerun(self, job: Job) -> Optional[str]:
        """Put a new job in a job's place; return its id, or None if the job is gone."""
        again, now = str(uuid.uuid4()), self._clock()
        replaced = self._database.execute(
            "REPLACE INTO jobs (job_id, job_hash, job_type, input_params, created_at, updated_at)"
            " SELECT ?, job_hash, job_type, input_params, ?, ? FROM jobs WHERE job_id = ?",
            *(again, now, now, job["job_id"]),
        )
        if replaced.changed:
            self._database.news.is_taken(job["job_id"])
            self._database.news.is_pending(again, job["job_type"])
        return again if replaced.changed else None

    def newest(self, limit: int, **columns: str) -> List[Job]:
        """List at most ``limit`` jobs, the newest first.

        Args:
            limit: The most jobs to list.
            **columns: Values that the jobs must have, such as ``status="failed"``.
        """
        return self._newest("*", limit, columns)

    def summaries(self, limit: int, **columns: str) -> List[Job]:
        """List jobs as ``newest`` does, but without their large columns.

        Returns:
            The jobs, with the first 200 characters of ``input_params``, and ``runner_name``.
        """
        return self._newest(_SUMMARY, limit, columns)

    def counts(self) -> Dict[str, int]:
        """Return the number of jobs in each state, and of all jobs as ``total``."""
        self._silent_jobs.requeue()
        found = self._database.execute("SELECT status, count(*) FROM jobs GROUP BY status")
        counts = {**dict.fromkeys(STATES, 0), **dict(map(tuple, found.rows))}
        return {**counts, "total": sum(counts.values())}

    def _report(self, job_id: str, runner_id: str, **columns: Any) -> bool:
        columns["updated_at"] = self._clock()
        assignments = ", ".join(f"{name} = ?" for name in columns)
        reported = self._database.execute(
            f"UPDATE jobs SET {assignments} WHERE job_id = ? AND claimed_by = ?"  # noqa: S608 - names of columns are ours
            " AND status IN ('claimed', 'in_progress')",
            *(*columns.values(), job_id, runner_id),
        )
        if reported.changed:
            self._silent_jobs.heard(job_id)
            self._database.news.has_changed(job_id)
        return reported.changed == 1

    def _pending_ids(self, job_types: Sequence[str], limit: int) -> List[Pending]:
        # It is called with the lock of the requests that wait held. Jobs of silent runners are left
        # alone here, since a requeue would take that lock.
        query = f"SELECT {_pending('job_id, job_type', job_types)}"
        return [Pending(*row) for row in self._database.execute(query, *job_types, limit).rows]

    def _newest(self, selected: str, limit: int, columns: Dict[str, str]) -> List[Job]:
        condition = " AND ".join(f"{name} = ?" for name in columns) or "1"
        return self._many(
            f"{selected} FROM jobs WHERE {condition} ORDER BY seq DESC LIMIT ?",
            *columns.values(),
            limit,
        )

    def _many(self, query: str, *parameters: Any) -> List[Job]:
        # The query is always a text of this module. Values from callers are in the parameters.
        self._silent_jobs.requeue()
        rows = self._database.execute(f"SELECT {query}", *parameters).rows
        return [dict(row) for row in rows]


def _stored(text: Text) -> Text:
    # The database writes a float into a column of texts as the hosted worker's does.
    return js_json.well_formed(text) if isinstance(text, str) else float(text)


def _pending(selected: str, job_types: Sequence[str]) -> str:
    """Return a query for the oldest pending jobs; its parameters are the types and a limit."""
    marks = ",".join("?" * len(job_types))
    return (
        f"{selected} FROM jobs WHERE status = 'pending' AND job_type IN ({marks})"
        " ORDER BY seq LIMIT ?"
    )


def job_hash(job_type: str, input_params: Params) -> str:
    """Return the identity of a job: the same for the same type and parameters.

    It is the SHA-256, in hexadecimal, of the compact JSON of both, with keys sorted at every depth.
    So the order of keys does not matter. The order of lists does, null differs from absent, and
    texts are not normalised.

    Args:
        job_type: The job type, compared as it is.
        input_params: The parameters from ``js_json.loads``, where 1 and 1.0 are already the same.
    """
    text = deep_json.dumps({"type": job_type, "params": input_params}, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
