"""The keys that the commands for single jobs send: some workers show a job only to a key."""

from typing import Iterator

import pytest
from core_fixtures import devaria
from scripted_server import Answer, Request, ScriptedServer, as_json, ok

JOB_ID = "4064b204-5d0e-4c39-9f0a-27a3d9d8e1b6"
DETAIL = {
    "job_id": JOB_ID,
    "job_type": "hello_world",
    "status": "failed",
    "input_params": {"a": 1},
    "created_at": 1,
    "updated_at": 2,
    "claimed_by": None,
    "claimed_at": None,
    "console_output": "",
    "last_heartbeat": None,
    "error_message": "it broke",
}


def _for_key(request: Request) -> Answer:
    """Show the job as the generation before the newest worker does."""
    if request.headers.get("authorization") in ("Bearer admin-key", "Bearer runner-key"):
        return as_json(DETAIL)
    return as_json({"error": "Missing Authorization header"}, 401)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A worker that shows a job only to the admin and the runner key."""
    with ScriptedServer() as running:
        running.on("GET /api/admin/jobs/*", _for_key)
        running.on("GET /api/jobs/*", as_json(DETAIL))
        running.on("DELETE /api/admin/jobs/*", ok(success=True, message="Job deleted"))
        new = {"job_id": "new", "status": "pending", "message": "Job submitted"}
        running.on("POST /api/jobs/submit", as_json(new, 201))
        yield running


@pytest.mark.parametrize("options", [[], ["--console"], ["--follow"]])
@pytest.mark.parametrize("level", ["ADMIN", "RUNNER"])
def test_job_sends_a_key_that_is_set(server: ScriptedServer, options: list, level: str) -> None:
    """The admin key, or else the runner key."""
    key = {f"DEVARIA_{level}_API_KEY": f"{level.lower()}-key"}
    done = devaria("job", JOB_ID, *options, "--worker-url", server.url, **key)
    assert done.returncode == (1 if options == ["--follow"] else 0), done.stderr
    assert "not accepted" not in done.stderr


def test_job_needs_no_key(server: ScriptedServer) -> None:
    """Without one, none is sent, and the newest worker shows the job."""
    server.on("GET /api/admin/jobs/*", as_json(DETAIL))
    assert devaria("job", JOB_ID, "--worker-url", server.url).returncode == 0
    assert "authorization" not in server.requests[-1].headers


def test_rerun_looks_at_the_job_with_the_key_that_deletes_it(server: ScriptedServer) -> None:
    """The submit key does not open that route."""
    keys = {"DEVARIA_SUBMIT_API_KEY": "submit-key", "DEVARIA_ADMIN_API_KEY": "admin-key"}
    done = devaria("rerun", JOB_ID, "--worker-url", server.url, **keys)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Job new: pending\n"
