"""The routes for runners."""

from typing import Any, Callable, Dict, List, Sequence

from flask import Blueprint, Response, request

from devaria.common import js_json
from devaria.common.contract import CONSOLE_LIMIT, ERROR_LIMIT, OUTPUT_LIMIT
from devaria.worker.api.guards import (
    caller_runner,
    fails_to,
    needs_key,
    needs_runner_id,
    rate_limited,
)
from devaria.worker.api.waiting import applied, is_gone, wanted_wait_sec
from devaria.worker.api.web import answer, check_size, json_body, seen_runner, services
from devaria.worker.store import deep_json
from devaria.worker.store.jobs import Text

blueprint = Blueprint("runner", __name__, url_prefix="/api/runner")

MAX_TYPES = 100

Body = Dict[str, Any]
Route = Callable[..., Response]
#: Takes job id, runner id and body; returns False if the job is not this runner's.
Report = Callable[[str, str, Body], bool]


@blueprint.post("/register")
@needs_key("runner")
@fails_to("register runner")
def register() -> Response:
    """Register a runner under a new id, even if its name is known.

    Returns:
        201 with the id.
    """
    body = json_body()
    name, capabilities = body.get("name"), body.get("capabilities")
    if name in (None, False, 0, "") or not isinstance(capabilities, list):
        return answer(400, error="Invalid registration data")
    text = name if isinstance(name, str) else deep_json.dumps(name)
    runner_id = services().runners.register(text, capabilities)
    return answer(201, runner_id=runner_id, message="Runner registered successfully")


@blueprint.get("/verify")
@needs_key("runner")
@needs_runner_id
def verify() -> Response:
    """Check whether the caller's runner id is known.

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
    """List the pending jobs of the types in the query, or wait for one.

    Returns:
        200 with at most 50 jobs, the oldest first. With ``Prefer: wait``, jobs that other runners
        are told of are left out for a moment, and the answer waits until there is a job.
    """
    runner_id, wait_sec = seen_runner(), wanted_wait_sec()
    types = request.args.getlist("types[]")
    if len(types) > MAX_TYPES:
        raise ValueError("too many SQL variables")
    if wait_sec is not None and types:
        offered = services().jobs.offered(runner_id, types, wait_sec, is_gone())
        if offered is not None:
            jobs, offered_sec = offered
            return applied(answer(jobs=_listed(jobs), offered_sec=offered_sec), wait_sec)
    return answer(jobs=_listed(services().jobs.available(types)))


@blueprint.post("/jobs/<job_id>/claim")
@needs_runner_id
@needs_key("runner")
@fails_to("claim job")
def claim(job_id: str) -> Response:
    """Give a pending job to the caller.

    Returns:
        200 with the job, or 409.
    """
    runner_id, jobs = seen_runner(), services().jobs
    claimed = jobs.claim(job_id, runner_id)
    job = jobs.get(job_id) if claimed else None
    if job is None:
        return answer(409, success=False, message="Job already claimed or not found")
    return answer(success=True, message="Job claimed successfully", job=_to_run(job))


def _report(
    name: str, verb: str, done: str, limited: Callable[[Route], Route] = lambda route: route
) -> Callable[[Report], Report]:
    """Make the route ``/jobs/<job_id>/NAME`` of a function that stores a runner's report.

    The route answers 200, or 400 if the job is not the caller's or has ended.

    Args:
        name: The last part of the path.
        verb: What the route failed to do, in the answer to a malformed request.
        done: The message of the answer if the report was stored.
        limited: The decorator of a rate limit, if there is one.
    """

    def decorate(store: Report) -> Report:
        @blueprint.post(f"/jobs/<job_id>/{name}", endpoint=name)
        @needs_runner_id
        @needs_key("runner")
        @limited
        @fails_to(verb)
        def route(job_id: str) -> Response:
            if not store(job_id, seen_runner(), json_body()):
                text = "Job not found or not claimed by this runner"
                return answer(400, success=False, message=text)
            return answer(success=True, message=done)

        return store

    return decorate


@_report(
    "heartbeat",
    "update heartbeat",
    "Heartbeat recorded",
    rate_limited("heartbeat", 120, caller_runner),
)
def heartbeat(job_id: str, runner_id: str, body: Body) -> bool:
    """Store a job's progress and console."""
    current, total = _number(body, "progress_current"), _number(body, "progress_total")
    return services().jobs.heartbeat(job_id, runner_id, current, total, _console(body))


@_report("complete", "complete job", "Job completed successfully")
def complete(job_id: str, runner_id: str, body: Body) -> bool:
    """Store a job's result and end the job."""
    output = deep_json.dumps(_present(body, "output_data"))
    check_size("Output JSON", output, OUTPUT_LIMIT)
    return services().jobs.finish(job_id, runner_id, _console(body), output=output)


@_report("error", "report job error", "Job error recorded")
def error(job_id: str, runner_id: str, body: Body) -> bool:
    """Store the reason why a job failed and end the job."""
    message = _text(body, "error_message", "Error message", ERROR_LIMIT)
    return services().jobs.finish(job_id, runner_id, _console(body), error=message)


def _listed(jobs: Sequence[Dict[str, Any]]) -> List[Dict[str, Any]]:
    return [{**_to_run(job), "created_at": job["created_at"]} for job in jobs]


def _to_run(job: Dict[str, Any]) -> Dict[str, Any]:
    """Return the fields of a job that a runner needs to run it."""
    params = deep_json.loads(job["input_params"].encode("utf-8"))
    return {"job_id": job["job_id"], "job_type": job["job_type"], "input_params": params}


def _console(body: Body) -> Text:
    return _text(body, "console_output", "Console output", CONSOLE_LIMIT)


def _text(body: Body, name: str, what: str, limit: int) -> Text:
    value = _present(body, name)
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"{name} is not a string")
    if isinstance(value, str):
        check_size(what, value, limit)
    return value


def _number(body: Body, name: str) -> Any:
    value = _present(body, name)
    if isinstance(value, bool) or not isinstance(value, (int, float, str, type(None))):
        raise ValueError(f"{name} is neither a number nor null")
    if isinstance(value, str):  # the hosted worker takes it
        return js_json.well_formed(value)
    # SQLite's integers have 64 bits. JavaScript reads larger ones as doubles anyway.
    return float(value) if isinstance(value, int) and abs(value) >= 2**63 else value


def _present(body: Body, name: str) -> Any:
    if name not in body:
        raise ValueError(f"{name} is missing")
    return body[name]
