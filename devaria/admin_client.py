"""The administrator's routes of the worker: all jobs, all runners, deleting."""

from typing import List, Optional
from urllib.parse import quote

from devaria.answers import JobState, RunnerState, objects_of, runner_of, state_of
from devaria.wire import Wire


class AdminClient:
    """Looks after one worker over one keep-alive session; for one thread.

    Args:
        base_url: The worker's URL, without a path.
        key: The admin or the runner key.
    """

    def __init__(self, base_url: str, key: str) -> None:
        self._wire = Wire(base_url, key)

    def close(self) -> None:
        """Close the session's connections."""
        self._wire.close()

    def jobs(self, status: Optional[str] = None, limit: int = 100) -> List[JobState]:
        """List jobs, the newest first.

        Args:
            status: Only jobs of this status; None for all.
            limit: At most so many.
        """
        params = [("limit", str(limit)), *([("status", status)] if status else [])]
        answer = self._wire.request("GET", "/api/admin/jobs", headers={}, params=params)
        return [state_of(job) for job in objects_of(answer, "jobs")]

    def delete_job(self, job_id: str) -> None:
        """Delete a job, whatever its state; the next submission of the same job runs it anew.

        Args:
            job_id: The job.

        Raises:
            NotFound: There is no such job.
        """
        path = f"/api/admin/jobs/{quote(job_id, safe='')}"
        self._wire.request("DELETE", path, headers={})

    def runners(self) -> List[RunnerState]:
        """List the runners that have registered."""
        answer = self._wire.request("GET", "/api/admin/runners", headers={})
        return [runner_of(runner) for runner in objects_of(answer, "runners")]
