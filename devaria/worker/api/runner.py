"""The routes for runners."""

from typing import Any, Dict

from flask import Blueprint, Response, request

from devaria.common import js_json
from devaria.common.contract import CONSOLE_LIMIT, ERROR_LIMIT, OUTPUT_LIMIT, check_size
from devaria.worker.api.guards import (
    caller_runner,
    fails_to,
    needs_key,
    needs_runner_id,
    rate_limited,
)
from devaria.worker.api.web import Refusal, answer, json_body, seen_runner, services

blueprint = Blueprint("runner", __name__, url_prefix="/api/runner")

MAX_TYPES = 100
_NOT_MINE = "Job not found or not claimed by this runner"


@blueprint.post("/register")
@needs_key("runner")
@fails_to("register runner")
def register() -> Response:
    """Register a runner under a new id, also if its name is known.

    Returns:
        201 with the id.
    """
    body = json_body()
    name, capabilities = body.get("name"), body.get("capabilities")
    if name in (None, False, 0, "") or not isinstance(capabilities, list):
        return answer(400, error="Invalid registration data")
    text = name if isinstance(name, str) else js_json.dumps(name)
    runner_id = services().runners.register(text, capabilities)
    return answer(201, runner_id=runner_id, message="Runner registered successfully")


@blueprint.get("/verify")
@needs_key("runner")
@needs_runner_id
def verify() -> Response:
    """Tell a runner whether its id is known.

    Returns:
        200 with its name, or 404.
    """
    runner = services().runners.get(seen_runner())
    if runner is None:
        return answer(404, exists=False, message="Runner not found")
    return answer(exists=True, runner_name=runner["name"], message="Runner verified")


@blueprint.get("/jobs/available")
@needs_runner_id
@needs_key("runner")
@rate_limited("available", 120, caller_runner)
@fails_to("get available jobs")
def available() -> Response:
    """List the pending jobs of the types asked for.

    Returns:
        200 with at most 50 jobs, the oldest first.
    """
    seen_runner()
    types = request.args.getlist("types[]")
    if len(types) > MAX_TYPES:
        raise ValueError("too many SQL variables")
    jobs = services().jobs.available(types)
    return answer(jobs=[{**_given(job), "created_at": job["created_at"]} for job in jobs])


@blueprint.post("/jobs/<job_id>/claim")
@needs_runner_id
@needs_key("runner")
@fails_to("claim job")
def claim(job_id: str) -> Response:
    """Give a pending job to the caller.

    Args:
        job_id: The job.

    Returns:
        200 with the job, or 409.
    """
    runner_id, jobs = seen_runner(), services().jobs
    claimed = jobs.claim(job_id, runner_id)
    job = jobs.get(job_id) if claimed else None
    if job is None:
        return answer(409, success=False, message="Job already claimed or not found")
    return answer(success=True, message="Job claimed successfully", job=_given(job))


@blueprint.post("/jobs/<job_id>/heartbeat")
@needs_runner_id
@needs_key("runner")
@rate_limited("heartbeat", 120, caller_runner)
@fails_to("update heartbeat")
def heartbeat(job_id: str) -> Response:
    """Take a job's progress and console.

    Args:
        job_id: The job.

    Returns:
        200, or 400 if the job is not the caller's.
    """
    runner_id, body = seen_runner(), json_body()
    current, total = _number(body, "progress_current"), _number(body, "progress_total")
    ours = services().jobs.heartbeat(job_id, runner_id, current, total, _console(body))
    return _acknowledged(ours, "Heartbeat recorded")


@blueprint.post("/jobs/<job_id>/complete")
@needs_runner_id
@needs_key("runner")
@fails_to("complete job")
def complete(job_id: str) -> Response:
    """Take a job's result.

    Args:
        job_id: The job.

    Returns:
        200, or 400 if the job is not the caller's.
    """
    runner_id, body = seen_runner(), json_body()
    output = js_json.dumps(_present(body, "output_data"))
    check_size("Output JSON", output, OUTPUT_LIMIT)
    ours = services().jobs.finish(job_id, runner_id, _console(body), output=output)
    return _acknowledged(ours, "Job completed successfully")


@blueprint.post("/jobs/<job_id>/error")
@needs_runner_id
@needs_key("runner")
@fails_to("report job error")
def error(job_id: str) -> Response:
    """Take the reason why a job failed.

    Args:
        job_id: The job.

    Returns:
        200, or 400 if the job is not the caller's.
    """
    runner_id, body = seen_runner(), json_body()
    message = _text(body, "error_message")
    if not message:
        raise ValueError("error_message is empty")
    check_size("Error message", message, ERROR_LIMIT)
    ours = services().jobs.finish(job_id, runner_id, _console(body), error=message)
    return _acknowledged(ours, "Job error recorded")


def _given(job: Dict[str, Any]) -> Dict[str, Any]:
    """Show of a job what a runner needs to run it."""
    params = js_json.loads(job["input_params"].encode("utf-8"))
    return {"job_id": job["job_id"], "job_type": job["job_type"], "input_params": params}


def _acknowledged(ours: bool, message: str) -> Response:
    if not ours:
        raise Refusal(400, success=False, message=_NOT_MINE)
    return answer(success=True, message=message)


def _console(body: Dict[str, Any]) -> str:
    console = _text(body, "console_output")
    check_size("Console output", console, CONSOLE_LIMIT)
    return console


def _text(body: Dict[str, Any], name: str) -> str:
    value = _present(body, name)
    if not isinstance(value, str):
        raise ValueError(f"{name} is not a string")
    return value


def _number(body: Dict[str, Any], name: str) -> Any:
    value = _present(body, name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise ValueError(f"{name} is neither a number nor null")
    # SQLite has no integers beyond 64 bits; these were doubles to begin with.
    return float(value) if isinstance(value, int) and abs(value) >= 2**63 else value


def _present(body: Dict[str, Any], name: str) -> Any:
    if name not in body:
        raise ValueError(f"{name} is missing")
    return body[name]
