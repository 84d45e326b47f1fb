"""The worker's wire contract: a method a route, typed results, and typed errors.

Facts about the worker (status codes, texts, limits) were observed on the public worker
implementation; tests/contract holds each of them.
"""

from typing import Any, List, Mapping, Optional, Sequence
from urllib.parse import quote

from devaria.client.http import JsonObject, Wire
from devaria.client.models import (
    Job,
    JobState,
    RunnerState,
    is_job,
    job_of,
    objects_of,
    runner_of,
    state_of,
    text_of,
)
from devaria.common.errors import StrangeAnswer

#: A heartbeat that hangs must not cost the next one.
HEARTBEAT_TIMEOUT_SEC = 10.0


class WorkerClient:
    """Talks to one worker over one keep-alive session. For one thread; see `another`.

    Every method raises `WorkerError` in the kinds that `devaria.common.errors` draws. A docstring
    names those that its caller has to expect.

    Args:
        base_url: The worker's URL, without a path.
        key: The runner, submit or admin key; white space around it is dropped.
        runner_id: This runner's id, for the runner's routes.
    """

    def __init__(
        self, base_url: str, key: Optional[str] = None, *, runner_id: Optional[str] = None
    ) -> None:
        self.runner_id = runner_id
        self._wire = Wire(base_url, key)

    @property
    def base_url(self) -> str:
        """The worker's URL."""
        return self._wire.base_url

    def another(self) -> "WorkerClient":
        """Make a client of the same settings with a session of its own, for another thread."""
        return WorkerClient(self._wire.base_url, self._wire.key, runner_id=self.runner_id)

    def close(self) -> None:
        """Close the session's connections."""
        self._wire.close()

    # --- the runner's routes ---------------------------------------------------------------

    def register(self, name: str, job_types: Sequence[str]) -> str:
        """Register a runner; the worker gives a new id each time, also for a known name.

        Args:
            name: The runner's name, not empty.
            job_types: The job types that it can run.

        Returns:
            The new runner id.
        """
        answer = self._post("/api/runner/register", {"name": name, "capabilities": list(job_types)})
        return text_of(answer, "runner_id")

    def verify(self) -> Optional[str]:
        """Ask whether the worker knows this client's runner id.

        Returns:
            The runner's name at the worker, or None where it does not know the id.
        """
        # 404 is both "no such runner" and "no such path": only the first has `exists`.
        answer = self._get("/api/runner/verify", accept=(404,))
        if answer.get("exists") is True:
            return text_of(answer, "runner_name")
        if answer.get("exists") is False:
            return None
        raise StrangeAnswer(f"{self.base_url} does not answer as a Devaria worker: {answer}")

    def available(self, job_types: Sequence[str]) -> List[Job]:
        """List pending jobs, the oldest first, at most 50.

        Args:
            job_types: The types to ask for, at most 100; with none the list is empty.

        Returns:
            The jobs. Left out are entries that are no jobs, and those whose parameters are nested
            more than 200 deep.
        """
        params = [("types[]", job_type) for job_type in job_types]
        jobs = self._get("/api/runner/jobs/available", params=params).get("jobs")
        if not isinstance(jobs, list):
            raise StrangeAnswer(f"GET {self.base_url}/api/runner/jobs/available: no list of jobs")
        return [job_of(entry) for entry in jobs if is_job(entry)]

    def claim(self, job_id: str) -> Job:
        """Claim a pending job.

        Args:
            job_id: The job.

        Returns:
            The job, as the worker has it.

        Raises:
            ClaimLost: Taken, finished, unknown, or already claimed by this very runner.
        """
        job = self._post(_runner_path(job_id, "claim"), {}).get("job")
        if not is_job(job):
            raise StrangeAnswer(f"the claim of job {job_id} was answered without a job")
        return job_of(job)

    def heartbeat(
        self,
        job_id: str,
        progress_current: Optional[float],
        progress_total: Optional[float],
        console_output: str,
    ) -> None:
        """Say that the job is running.

        Args:
            job_id: The job.
            progress_current: How much is done; None where unknown.
            progress_total: How much there is to do; None where unknown.
            console_output: The whole console so far; it replaces the earlier one.

        Raises:
            NotOurs: The job is not claimed by this runner (any more).
        """
        body = {
            "progress_current": progress_current,
            "progress_total": progress_total,
            "console_output": console_output,
        }
        self._post(_runner_path(job_id, "heartbeat"), body, read_timeout_sec=HEARTBEAT_TIMEOUT_SEC)

    def complete(self, job_id: str, output_data: Any, console_output: str) -> None:
        """Report a job's result; the first report of a job wins.

        Args:
            job_id: The job.
            output_data: Any JSON value, at most 512,000 UTF-16 code units as compact JSON.
            console_output: The whole console, at most 1,048,576 UTF-16 code units.

        Raises:
            NotOurs: Also where it was reported before.
            TooLarge: A field is over its limit.
        """
        body = {"output_data": output_data, "console_output": console_output}
        self._post(_runner_path(job_id, "complete"), body)

    def error(self, job_id: str, error_message: str, console_output: str) -> None:
        """Report that a job failed; the worker keeps this answer for every later submission.

        Args:
            job_id: The job.
            error_message: Not empty, at most 10,240 UTF-16 code units.
            console_output: The whole console, at most 1,048,576 UTF-16 code units.

        Raises:
            NotOurs: Also where it was reported before.
            TooLarge: A field is over its limit.
        """
        body = {"error_message": error_message, "console_output": console_output}
        self._post(_runner_path(job_id, "error"), body)

    # --- the submitter's routes ------------------------------------------------------------

    def submit(self, job_type: str, input_params: JsonObject) -> JobState:
        """Submit a job, or learn of the same one that was submitted before.

        Args:
            job_type: The job type.
            input_params: Its parameters, at most 102,400 UTF-16 code units as compact JSON.

        Returns:
            The job's state; `job` tells the result of one that completed before.
        """
        body = {"job_type": job_type, "input_params": input_params}
        return state_of(self._post("/api/jobs/submit", body))

    def check(self, job_type: str, input_params: JsonObject) -> Optional[JobState]:
        """Look whether such a job is known, without submitting it.

        Args:
            job_type: The job type.
            input_params: Its parameters.

        Returns:
            The job, or None.
        """
        body = {"job_type": job_type, "input_params": input_params}
        answer = self._post("/api/jobs/check", body)
        return state_of(answer) if answer.get("exists") else None

    def job(self, job_id: str) -> JobState:
        """Look at a job, as its submitter.

        Args:
            job_id: The job.

        Raises:
            NotFound: There is no such job (any more).
        """
        answer = self._get(f"/api/jobs/{quote(job_id, safe='')}")
        return state_of(answer)

    def job_detail(self, job_id: str) -> JobState:
        """Look at a job with its claim; the worker asks for no key here.

        Args:
            job_id: The job.

        Raises:
            NotFound: There is no such job (any more).
        """
        answer = self._get(f"/api/admin/jobs/{quote(job_id, safe='')}")
        return state_of({**answer, "result": answer, "error": answer.get("error_message")})

    def jobs_of_runner(self, runner_id: str) -> List[JobState]:
        """List the last 100 jobs that a runner claimed; the runner key will do.

        Args:
            runner_id: The runner.

        Raises:
            NotFound: The worker does not know it.
        """
        answer = self._get(f"/api/admin/runners/{quote(runner_id, safe='')}")
        return [state_of(job) for job in objects_of(answer, "jobs")]

    def _get(self, path: str, **options: Any) -> JsonObject:
        return self._wire.request("GET", path, headers=self._runner_header(), **options)

    def _post(self, path: str, body: JsonObject, **options: Any) -> JsonObject:
        return self._wire.request("POST", path, body=body, headers=self._runner_header(), **options)

    def _runner_header(self) -> Mapping[str, str]:
        return {"X-Runner-ID": self.runner_id} if self.runner_id else {}


def _runner_path(job_id: str, verb: str) -> str:
    return f"/api/runner/jobs/{quote(job_id, safe='')}/{verb}"


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
