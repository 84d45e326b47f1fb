"""The routes for administrators; the runner key opens them too."""

import re
from typing import Any, Dict

from flask import Blueprint, Response, request

from devaria.worker.api.guards import fails_to, needs_key
from devaria.worker.api.jobs import TIMES, output_of, progress_of
from devaria.worker.api.waiting import tells_changes
from devaria.worker.api.web import Refusal, answer, json_body, services
from devaria.worker.store import deep_json

blueprint = Blueprint("admin", __name__, url_prefix="/api/admin")

DEFAULT_LIMIT = "100"
RUNNER_JOBS = 100
_TOO_MANY = 2**63  # the database's integers have 64 bits
_SUMMARY = ("job_id", "job_type", "status", "created_at", "updated_at")


@blueprint.get("/jobs")
@needs_key("admin", "runner")
@fails_to("list jobs")
def list_jobs() -> Response:
    """List jobs, the newest first.

    Returns:
        200 with the jobs and their number.
    """
    limit = _limit(request.args.get("limit") or DEFAULT_LIMIT)
    status = request.args.get("status")
    jobs = services().jobs.newest(limit, **({"status": status} if status else {}))
    shown = [_shown(job, *_SUMMARY, "claimed_by") for job in jobs]
    return answer(jobs=shown, total=len(shown))


@blueprint.get("/jobs/<job_id>")
@tells_changes(TIMES)
def get_job(job_id: str) -> Response:
    """Show all fields of a job, without a key, as the hosted worker does: ids cannot be guessed.

    With ``Prefer: wait``, wait for a change.

    Returns:
        200, or 404.
    """
    job = services().jobs.get(job_id)
    if job is None:
        return answer(404, error="Job not found")
    columns = ("claimed_by", "claimed_at", "console_output", "last_heartbeat")
    shown = {
        **_shown(job, *_SUMMARY, *columns),
        "console_output": job["console_output"] or "",
        "input_params": deep_json.loads(job["input_params"].encode("utf-8")),
        **progress_of(job),
    }
    if job["output_data"] is not None:
        shown["output_data"] = output_of(job)
    if job["error_message"] is not None:
        shown["error_message"] = job["error_message"]
    return answer(**shown)


@blueprint.delete("/jobs/<job_id>")
@needs_key("admin", "runner")
def delete_job(job_id: str) -> Response:
    """Delete a job in any state.

    Returns:
        200, or 404.
    """
    if not services().jobs.delete(job_id):
        return answer(404, error="Job not found")
    return answer(success=True, message="Job deleted successfully")


@blueprint.post("/jobs/batch-delete")
@needs_key("admin", "runner")
@fails_to("delete jobs")
def delete_jobs() -> Response:
    """Delete several jobs.

    Returns:
        200 with the number of deleted jobs, and the ids that were not found.
    """
    job_ids = json_body().get("job_ids")
    if not isinstance(job_ids, list) or not job_ids:
        raise Refusal(400, error="job_ids must be a non-empty array")
    jobs = services().jobs
    failed = [one for one in job_ids if not (isinstance(one, str) and jobs.delete(one))]
    deleted = len(job_ids) - len(failed)
    message = f"Deleted {deleted} of {len(job_ids)} jobs"
    return answer(success=deleted > 0, deleted=deleted, failed=failed, message=message)


@blueprint.get("/runners")
@needs_key("admin", "runner")
def list_runners() -> Response:
    """List all runners that have ever registered.

    Returns:
        200 with the runners and their number.
    """
    columns = ("runner_id", "name", "capabilities", "last_seen", "is_active")
    shown = [_shown(runner, *columns) for runner in services().runners.all()]
    return answer(runners=shown, total=len(shown))


@blueprint.get("/runners/<runner_id>")
@needs_key("admin", "runner")
def get_runner(runner_id: str) -> Response:
    """Show a runner and the newest 100 jobs that it claimed.

    Returns:
        200, or 404.
    """
    runner = services().runners.get(runner_id)
    if runner is None:
        return answer(404, error="Runner not found")
    jobs = services().jobs.newest(RUNNER_JOBS, claimed_by=runner_id)
    return answer(**runner, jobs=[_shown(job, *_SUMMARY) for job in jobs])


@blueprint.get("/stats")
@needs_key("admin", "runner")
def stats() -> Response:
    """Answer 200 with the number of jobs in each state, and of runners."""
    runners = services().runners.all()
    active = sum(runner["is_active"] for runner in runners)
    counts = {"total": len(runners), "active": active}
    return answer(jobs=services().jobs.counts(), runners=counts)


def _limit(text: str) -> int:
    """Read a limit as JavaScript's ``parseInt`` does, up to what the database takes."""
    digits = re.match(r"\s*([+-]?\d+)", text, re.ASCII)
    limit = _TOO_MANY if digits is None else int(digits[1])
    if abs(limit) >= _TOO_MANY:
        raise ValueError("datatype mismatch: SQLITE_MISMATCH")
    return limit


def _shown(row: Dict[str, Any], *columns: str) -> Dict[str, Any]:
    return {column: row[column] for column in columns}
