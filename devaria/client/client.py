"""The routes of the worker: one method for each, with typed results and typed errors.

Facts about the worker (status codes, texts, limits) were observed on the public worker;
tests/contract holds each of them.
"""

from typing import Any, List, Optional, Sequence
from urllib.parse import quote

from devaria.client.http import JsonObject, WorkerSession
from devaria.client.models import (
    JobList,
    JobState,
    Look,
    RunnerState,
    id_of,
    list_of,
    objects_of,
    runner_of,
    state_of,
    states_of,
    text_of,
)
from devaria.common.errors import NotFound, StrangeAnswer
from devaria.common.timing import Timing


class WorkerClient:
    """A client of one worker, over one keep-alive session. It is for one thread; see `another`.

    The routes of a runner take the id of the runner that acts. Every method may raise any
    `WorkerError`. A docstring names only those that have a meaning of their own there.

    Args:
        base_url: The worker's URL, without a path.
        key: The runner, submit or admin key; white space around it is dropped.
        timing: The time-outs of its requests.
    """

    def __init__(
        self, base_url: str, key: Optional[str] = None, timing: Optional[Timing] = None
    ) -> None:
        self.timing = timing or Timing()
        self._session = WorkerSession(base_url, key, self.timing)

    @property
    def base_url(self) -> str:
        """The worker's URL."""
        return self._session.base_url

    def another(self, timing: Optional[Timing] = None) -> "WorkerClient":
        """Return a client for another thread, with the same settings or with other times."""
        return WorkerClient(self.base_url, self._session.key, timing or self.timing)

    def close(self) -> None:
        """Close the session's connections."""
        self._session.close()

    # --- the routes of a runner ------------------------------------------------------------

    def register(self, name: str, job_types: Sequence[str]) -> str:
        """Register a runner. The worker gives a new id each time, also for a known name.

        Args:
            name: The runner's name, not empty.
            job_types: The job types that it can run.

        Returns:
            The new runner id.
        """
        body = {"name": name, "capabilities": list(job_types)}
        return id_of(self._post("/api/runner/register", body), "runner_id")

    def verify(self, runner_id: str) -> Optional[str]:
        """Ask whether the worker knows a runner id.

        Returns:
            The runner's name at the worker; None if the worker does not know the id.
        """
        # 404 means "no such runner" or "no such path". Only the first has `exists`.
        answer = self._get("/api/runner/verify", runner_id=runner_id, accept=(404,))
        if answer.get("exists") is True:
            return text_of(answer, "runner_name")
        if answer.get("exists") is False:
            return None
        raise StrangeAnswer(f"{self.base_url} does not answer as a Devaria worker: {answer}")

    def available(
        self, runner_id: str, job_types: Sequence[str], wait_sec: Optional[int] = None
    ) -> JobList:
        """List pending jobs, the oldest first, at most 50.

        Args:
            runner_id: The runner that asks.
            job_types: The types to list, at most 100; with none the list is empty.
            wait_sec: Ask the worker to wait this long for a job, in seconds; None does not ask.

        Returns:
            The jobs, whatever their parameters are. Entries that cannot be claimed, since they
            have no id or no type, are left out.
        """
        path = "/api/runner/jobs/available"
        params = [("types[]", job_type) for job_type in job_types]
        answer = self._session.exchange(
            "GET", path, runner_id=runner_id, params=params, wait_sec=wait_sec
        )
        return list_of(answer.body, may_wait=answer.may_wait)

    def claim(self, runner_id: str, job_id: str) -> None:
        """Claim a pending job.

        Raises:
            ClaimLost: It is taken, finished, unknown, or already claimed by this runner.
        """
        answer = self._post(_runner_path(job_id, "claim"), {}, runner_id=runner_id)
        # Another job's answer may come from a server that answered an earlier claim twice.
        if not isinstance(answer.get("job"), dict) or answer["job"].get("job_id") != job_id:
            raise StrangeAnswer(f"the claim of job {job_id} was answered without the job")

    def heartbeat(
        self,
        runner_id: str,
        job_id: str,
        progress_current: Optional[float],
        progress_total: Optional[float],
        console_output: str,
    ) -> None:
        """Report that the job is running.

        Args:
            runner_id: The runner that claimed the job.
            job_id: The job's id.
            progress_current: How much is done, in the unit of `progress_total`; None if unknown.
            progress_total: How much there is to do; None if unknown.
            console_output: The whole console so far; it replaces the earlier one.

        Raises:
            NotOurs: The job is not claimed by this runner, or not any more.
        """
        body = {
            "progress_current": progress_current,
            "progress_total": progress_total,
            "console_output": console_output,
        }
        quick = self.timing.of_heartbeats
        limits = {"read_timeout_sec": quick.read_timeout_sec, "limit_sec": quick.answer_sec}
        self._post(_runner_path(job_id, "heartbeat"), body, runner_id=runner_id, **limits)

    def complete(self, runner_id: str, job_id: str, output_data: Any, console_output: str) -> None:
        """Report a job's result. The first report of a job wins.

        Args:
            runner_id: The runner that claimed the job.
            job_id: The job's id.
            output_data: Any JSON value, at most 512,000 UTF-16 code units as compact JSON.
            console_output: The whole console, at most 1,048,576 UTF-16 code units.

        Raises:
            NotOurs: The job is not claimed by this runner, or it was reported before.
            TooLarge: A field is over its limit.
        """
        body = {"output_data": output_data, "console_output": console_output}
        self._post(_runner_path(job_id, "complete"), body, runner_id=runner_id)

    def error(self, runner_id: str, job_id: str, error_message: str, console_output: str) -> None:
        """Report that a job failed. Later submissions of the same job get this error.

        Args:
            runner_id: The runner that claimed the job.
            job_id: The job's id.
            error_message: Not empty, at most 10,240 UTF-16 code units.
            console_output: The whole console, at most 1,048,576 UTF-16 code units.

        Raises:
            NotOurs: The job is not claimed by this runner, or it was reported before.
            TooLarge: A field is over its limit.
        """
        body = {"error_message": error_message, "console_output": console_output}
        self._post(_runner_path(job_id, "error"), body, runner_id=runner_id)

    # --- the routes of a submitter ---------------------------------------------------------

    def submit(self, job_type: str, input_params: JsonObject) -> JobState:
        """Submit a job, or find an equal one that was submitted before.

        Args:
            job_type: The job type.
            input_params: Its parameters, at most 102,400 UTF-16 code units as compact JSON.

        Returns:
            The job's state. For the result of a completed job, call `job`.
        """
        body = {"job_type": job_type, "input_params": input_params}
        return state_of(self._post("/api/jobs/submit", body))

    def check(self, job_type: str, input_params: JsonObject) -> Optional[JobState]:
        """Return the state of a job that was submitted before, else None. Nothing is submitted."""
        answer = self._post("/api/jobs/check", {"job_type": job_type, "input_params": input_params})
        return state_of(answer) if answer.get("exists") else None

    def job(self, job_id: str) -> JobState:
        """Return the state of a job, as its submitter sees it.

        Raises:
            NotFound: There is no such job, or not any more.
        """
        return self.look(job_id, None, None).job

    def look(
        self, job_id: str, wait_sec: Optional[int], seen: Optional[Look], *, closely: bool = False
    ) -> Look:
        """Look at a job as `job` does, and learn how to look again.

        Args:
            job_id: The job's id.
            wait_sec: Ask the worker to wait this long for another state than the one seen, in
                seconds; None does not ask.
            seen: The last look, which is returned if there is nothing new.
            closely: Look as `job_detail` does.
        """
        path = _admin_job_path(job_id) if closely else f"/api/jobs/{quote(job_id, safe='')}"
        tag = "" if seen is None else seen.tag
        answer = self._session.exchange("GET", path, wait_sec=wait_sec, seen_tag=tag)
        if seen is not None and answer.is_unchanged:
            return seen._replace(may_wait=answer.may_wait)
        job = state_of(_as_submitters_see(answer.body) if closely else answer.body)
        return Look(job, answer.tag, answer.may_wait)

    # --- the routes of an administrator ----------------------------------------------------

    def job_detail(self, job_id: str) -> JobState:
        """Return the state of a job with its claim. Some workers need no key for this.

        Raises:
            NotFound: There is no such job, or not any more.
        """
        return self.look(job_id, None, None, closely=True).job

    def find_job(self, job_id: str) -> Optional[JobState]:
        """Return what `job_detail` does; None if there is no such job, or not any more."""
        try:
            return self.job_detail(job_id)
        except NotFound:
            return None

    def is_claimed_by(self, runner_id: str, job_id: str) -> bool:
        """Return whether a job is claimed by a runner and has not ended.

        A runner asks this after a request was refused, before it gives a job up.
        """
        job = self.find_job(job_id)
        return job is not None and job.claimed_by == runner_id and job.is_in_hand

    def jobs_of_runner(self, runner_id: str) -> List[JobState]:
        """List the last 100 jobs that a runner claimed. The runner key is enough.

        Raises:
            NotFound: The worker does not know the runner.
        """
        return states_of(self._get(f"/api/admin/runners/{quote(runner_id, safe='')}"))

    def jobs(self, status: Optional[str] = None, limit: int = 100) -> List[JobState]:
        """List jobs, the newest first.

        Args:
            status: List only jobs of this status; None for all.
            limit: The most jobs to list.
        """
        params = [("limit", str(limit)), *([("status", status)] if status else [])]
        return states_of(self._get("/api/admin/jobs", params=params))

    def delete_job(self, job_id: str) -> None:
        """Delete a job in any state. The next submission of the same job runs it again.

        Raises:
            NotFound: There is no such job.
        """
        self._session.request("DELETE", _admin_job_path(job_id))

    def runners(self) -> List[RunnerState]:
        """List the runners that have registered."""
        return [runner_of(each) for each in objects_of(self._get("/api/admin/runners"), "runners")]

    def _get(self, path: str, **options: Any) -> JsonObject:
        return self._session.request("GET", path, **options)

    def _post(self, path: str, body: JsonObject, **options: Any) -> JsonObject:
        return self._session.request("POST", path, body=body, **options)


def _as_submitters_see(answer: JsonObject) -> JsonObject:
    return {**answer, "result": answer, "error": answer.get("error_message")}


def _runner_path(job_id: str, verb: str) -> str:
    return f"/api/runner/jobs/{quote(job_id, safe='')}/{verb}"


def _admin_job_path(job_id: str) -> str:
    return f"/api/admin/jobs/{quote(job_id, safe='')}"
