"""The routes for submitters."""

import re
from typing import Any, Dict, Optional, Tuple

from flask import Blueprint, Response

from devaria.common.contract import INPUT_LIMIT
from devaria.worker.api.guards import caller_address, fails_to, needs_key, rate_limited
from devaria.worker.api.waiting import tells_changes
from devaria.worker.api.web import Refusal, answer, check_size, json_body, services
from devaria.worker.store import deep_json
from devaria.worker.store.jobs import Params

blueprint = Blueprint("jobs", __name__, url_prefix="/api/jobs")

#: A heartbeat without news changes only these. In a JSON string, their quotes would be escaped.
TIMES = re.compile(rb'"(?:updated_at|last_heartbeat)":(?:\d+|null)')

Job = Dict[str, Any]
_MESSAGES = {
    "pending": "Job is waiting for a runner",
    "claimed": "Job was claimed by a runner",
    "in_progress": "Job is in progress",
    "completed": "Job was completed",
    "failed": "Job failed",
}


@blueprint.post("/submit")
@needs_key("submit")
@rate_limited("submit", 10, caller_address)
@fails_to("submit job")
def submit() -> Response:
    """Create a job, or answer with the state of the one that was submitted before.

    Returns:
        201 for a new job, 200 for a known one.
    """
    job, is_new = services().jobs.submit(*checked_submission(json_body()))
    if is_new:
        message = "Job submitted successfully"
        return answer(201, job_id=job["job_id"], status=job["status"], message=message)
    return answer(**state_of(job))


@blueprint.post("/check")
@needs_key("submit")
@rate_limited("submit", 10, caller_address)
@fails_to("check job")
def check() -> Response:
    """Answer 200 with the state of a job, if it was submitted before; never create one."""
    job = services().jobs.find(*checked_submission(json_body()))
    if job is None:
        return answer(exists=False, message="Job not found")
    return answer(exists=True, **state_of(job))


@blueprint.get("/<job_id>")
@needs_key("submit")
@rate_limited("get job", 60, caller_address)
@tells_changes(TIMES)
def get(job_id: str) -> Response:
    """Show a job to a submitter; with ``Prefer: wait``, wait for a change.

    Returns:
        200, or 404.
    """
    job = services().jobs.get(job_id)
    if job is None:
        return answer(404, error="Job not found")
    shown = {name: job[name] for name in ("job_id", "status", "job_type")}
    times = {name: job[name] for name in ("created_at", "updated_at")}
    return answer(**shown, **times, **progress_of(job), **_outcome(job))


def progress_of(job: Job) -> Dict[str, Any]:
    """Return ``{"progress": {"current", "total"}}``, or an empty dict while it is unknown."""
    current, total = job["progress_current"], job["progress_total"]
    if current is None or total is None:
        return {}
    # The database gives back a float for an integer that JavaScript writes as one.
    shown = (deep_json.loads(deep_json.dumps(each).encode("utf-8")) for each in (current, total))
    return {"progress": dict(zip(("current", "total"), shown))}


def output_of(job: Job) -> Any:
    """Return the result of a completed job."""
    return deep_json.loads(job["output_data"].encode("utf-8"))


def checked_submission(body: Dict[str, Any]) -> Tuple[str, Params]:
    """Return the job type and the parameters of a submission.

    A list passes as parameters, as at the hosted worker.

    Raises:
        Refusal: The type is empty, or the parameters are neither an object nor a list.
        ValueError: The type is not a string, or there are no parameters. The hosted worker fails
            there, too.
        TooBigError: The parameters exceed their limit.
    """
    job_type = body.get("job_type")
    if not isinstance(job_type, str):
        raise ValueError("job_type is not a string")
    if "input_params" not in body:
        raise ValueError("input_params is missing")
    params = body["input_params"]
    if not job_type:
        raise Refusal(400, error="job_type must be a non-empty string")
    if not isinstance(params, (dict, list)):
        raise Refusal(400, error="input_params must be an object")
    check_size("Input JSON", deep_json.dumps(params), INPUT_LIMIT)
    return job_type, params


def state_of(job: Job) -> Dict[str, Any]:
    """Return the state of a known job, as its submitter sees it.

    A cached result whose figures no longer exist is deleted here and answered as ``expired``.
    """
    if job["status"] == "completed" and not services().figure_check.all_alive(output_of(job)):
        services().jobs.delete(job["job_id"])
        message = "The figure of this job has expired; submit it again"
        return {"job_id": job["job_id"], "status": "expired", "message": message}
    message = _MESSAGES[job["status"]]
    shown = {"job_id": job["job_id"], "status": job["status"], "message": message}
    return {**shown, **_outcome(job)}


def _outcome(job: Job) -> Dict[str, Any]:
    console: Optional[str] = job["console_output"]
    if job["status"] == "completed":
        return {"result": {"output_data": output_of(job), "console_output": console}}
    if job["status"] == "failed":
        return {"error": job["error_message"]}
    return {}
