"""`Prefer: wait` (RFC 7240): what holds at every worker, and what the local one does with it."""

import threading

LONG = {"Prefer": "wait=60"}


def _available(runner, job_type, **headers):
    return runner.get("/api/runner/jobs/available", params={"types[]": job_type}, headers=headers)


def test_a_poll_that_may_wait_is_answered_with_a_pending_job(api, job_type):
    """A worker that ignores the header lists the job as ever; one that heeds it does so too."""
    job_id = api.new_job(job_type)
    reply = _available(api.runner(api.register(job_type)), job_type, **LONG)
    assert reply.status_code == 200
    assert [job["job_id"] for job in reply.json()["jobs"]] == [job_id]
    assert set(reply.json()["jobs"][0]) == {"job_id", "job_type", "input_params", "created_at"}


def test_a_poll_that_may_wait_is_answered_without_jobs_in_its_time(api, job_type):
    """Only the header of the answer says whether the worker waited."""
    reply = _available(api.runner(api.register(job_type)), job_type, Prefer="wait=1")
    assert (reply.status_code, reply.json()["jobs"]) == (200, [])
    assert reply.headers.get("Preference-Applied", "wait=1") == "wait=1"


def test_a_poll_without_types_does_not_wait(api):
    """No job could end the wait."""
    reply = api.runner(api.register("x")).get("/api/runner/jobs/available", headers=LONG)
    assert (reply.status_code, reply.json()) == (200, {"jobs": []})


def test_a_look_that_may_wait_shows_the_job(api, job_type):
    """The first look has seen nothing, so no worker makes it wait."""
    job_id = api.new_job(job_type)
    for caller, path in ((api.submitter, "/api/jobs/"), (api.anyone, "/api/admin/jobs/")):
        reply = caller.get(path + job_id, headers=LONG)
        assert (reply.status_code, reply.json()["status"]) == (200, "pending")


def test_the_local_worker_holds_a_poll_until_there_is_a_job(local_api, job_type):
    """The answer names the wait that it applied, and the claim is as ever."""
    runner = local_api.runner(local_api.register(job_type))
    replies = []

    def poll():
        replies.append(_available(runner, job_type, Prefer="wait=9"))

    thread = threading.Thread(target=poll)
    thread.start()
    job_id = local_api.new_job(job_type)
    thread.join(20)
    assert [job["job_id"] for job in replies[0].json()["jobs"]] == [job_id]
    assert replies[0].headers["Preference-Applied"] == "wait=9"
    assert runner.post(f"/api/runner/jobs/{job_id}/claim").status_code == 200


def test_the_local_worker_holds_a_look_until_the_job_changes(local_api, job_type):
    """The tag of the last answer says what the reader has seen."""
    job_id, runner = local_api.claimed_job(job_type)
    path = f"/api/jobs/{job_id}"
    first = local_api.submitter.get(path, headers=LONG)
    headers = {"Prefer": "wait=9", "If-None-Match": first.headers["ETag"]}
    replies = []
    thread = threading.Thread(
        target=lambda: replies.append(local_api.submitter.get(path, headers=headers))
    )
    thread.start()
    body = {"progress_current": 1, "progress_total": 2, "console_output": ""}
    assert runner.post(f"/api/runner/jobs/{job_id}/heartbeat", body).status_code == 200
    thread.join(20)
    assert replies[0].json()["progress"] == {"current": 1, "total": 2}
    assert replies[0].headers["Preference-Applied"] == "wait=9"
