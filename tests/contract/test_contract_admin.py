"""The contract's admin routes."""

import pytest

NO_ID = "00000000-0000-4000-8000-000000000000"
MINUTE_MS = 60 * 1000


def _end(runner, job_id, state):
    reports = {
        "in_progress": (
            "heartbeat",
            {"progress_current": None, "progress_total": None, "console_output": ""},
        ),
        "completed": ("complete", {"output_data": 1, "console_output": "c"}),
        "failed": ("error", {"error_message": "e", "console_output": "c"}),
    }
    if state in reports:
        action, body = reports[state]
        assert runner.post(f"/api/runner/jobs/{job_id}/{action}", body).status_code == 200


def _job_in(api, state):
    if state == "pending":
        return api.new_job()
    job_id, runner = api.claimed_job()
    _end(runner, job_id, state)
    return job_id


STATES = ["pending", "claimed", "in_progress", "completed", "failed"]


def test_jobs_are_listed_newest_first(api):
    """The list holds the newest jobs with the runner of each."""
    ids = [api.new_job(), *(_job_in(api, "claimed") for _ in range(2))]
    reply = api.admin.get("/api/admin/jobs", params={"limit": 3})
    assert reply.status_code == 200
    jobs, total = reply.json()["jobs"], reply.json()["total"]
    assert ([job["job_id"] for job in jobs], total) == (ids[::-1], 3)
    columns = ["claimed_by", "created_at", "job_id", "job_type", "status", "updated_at"]
    assert all(sorted(job) == columns for job in jobs)
    assert jobs[0]["claimed_by"] == api.look(ids[2])["claimed_by"]
    assert jobs[2]["claimed_by"] is None


@pytest.mark.parametrize("state", STATES)
def test_jobs_are_listed_by_status(api, state):
    """With a status only jobs in it are listed."""
    ids = {name: _job_in(api, name) for name in STATES}
    reply = api.admin.get("/api/admin/jobs", params={"status": state, "limit": 5})
    assert reply.json()["jobs"][0]["job_id"] == ids[state]
    assert {job["status"] for job in reply.json()["jobs"]} == {state}
    assert reply.json()["total"] == len(reply.json()["jobs"])


def test_jobs_are_listed_to_100_if_no_limit_is_given(local_api):
    """Of more than 100 jobs, 100 are listed, and `total` counts the listed ones."""
    for n in range(101):
        local_api.new_job("", {"n": n})
    reply = local_api.admin.get("/api/admin/jobs").json()
    assert (len(reply["jobs"]), reply["total"]) == (100, 100)


@pytest.mark.parametrize(
    ("limit", "number"), [("1.7", 1), ("2x", 2), ("1e3", 1), (" 2", 2), ("0" * 30 + "2", 2)]
)
def test_a_limit_is_read_as_javascript_does(api, limit, number):
    """What stands behind the first digits does not matter."""
    for _ in range(2):
        api.new_job()
    reply = api.admin.get("/api/admin/jobs", params={"limit": limit})
    assert reply.status_code == 200
    assert len(reply.json()["jobs"]) == number


@pytest.mark.parametrize("limit", [10**20, "x"])
def test_a_limit_that_the_database_cannot_take_is_500(local_api, limit):
    """JavaScript reads a double here, or no number."""
    reply = local_api.admin.get("/api/admin/jobs", params={"limit": limit})
    assert reply.status_code == 500
    assert reply.json()["error"] == "Failed to list jobs"


def test_all_of_a_job_is_shown_without_a_key(api):
    """Every field is present; what the job does not have yet is null or absent."""
    plain = [
        *("job_id", "job_type", "status", "input_params", "created_at", "updated_at"),
        *("claimed_by", "claimed_at", "console_output", "last_heartbeat"),
    ]
    assert sorted(api.look(_job_in(api, "pending"))) == sorted(plain)
    assert sorted(api.look(_job_in(api, "completed"))) == sorted([*plain, "output_data"])
    assert sorted(api.look(_job_in(api, "failed"))) == sorted([*plain, "error_message"])


@pytest.mark.parametrize("state", STATES)
def test_a_job_is_deleted_in_any_state(api, state):
    """DELETE deletes a job once, and answers 404 the second time."""
    job_id = _job_in(api, state)
    reply = api.admin.delete(f"/api/admin/jobs/{job_id}")
    assert reply.status_code == 200
    assert reply.json()["success"] is True
    assert reply.json()["message"]
    again = api.admin.delete(f"/api/admin/jobs/{job_id}")
    assert (again.status_code, again.json()) == (404, {"error": "Job not found"})


def test_several_jobs_are_deleted_at_once(api):
    """Batch delete counts the deleted jobs and names those that were not found."""
    ids = [api.new_job() for _ in range(2)]
    reply = api.admin.post("/api/admin/jobs/batch-delete", {"job_ids": ids})
    assert reply.status_code == 200
    assert reply.json()["success"] is True
    assert (reply.json()["deleted"], reply.json()["failed"]) == (2, [])
    assert reply.json()["message"]
    third = api.new_job()
    reply = api.admin.post("/api/admin/jobs/batch-delete", {"job_ids": [third, NO_ID]})
    assert reply.status_code == 200
    assert (reply.json()["deleted"], reply.json()["failed"]) == (1, [NO_ID])
    assert api.anyone.get(f"/api/admin/jobs/{third}").status_code == 404


def test_a_batch_of_unknown_jobs_is_no_success(api):
    """Nothing was deleted."""
    reply = api.admin.post("/api/admin/jobs/batch-delete", {"job_ids": [NO_ID]})
    assert reply.status_code == 200
    body = reply.json()
    assert (body["success"], body["deleted"], body["failed"]) == (False, 0, [NO_ID])


@pytest.mark.parametrize("body", [{}, {"job_ids": None}, {"job_ids": "a"}, {"job_ids": []}, [1]])
def test_batch_delete_wants_a_non_empty_array(api, body):
    """Missing, not an array, or empty: 400."""
    reply = api.admin.post("/api/admin/jobs/batch-delete", body)
    assert reply.status_code == 400
    assert reply.json()["error"]


def test_runners_are_listed(api):
    """A registered runner is in the list, with its types, and active."""
    runner_id = api.register("a", "b", name="contract-test-listed")
    reply = api.admin.get("/api/admin/runners")
    assert reply.status_code == 200
    assert reply.json()["total"] == len(reply.json()["runners"])
    (mine,) = [one for one in reply.json()["runners"] if one["runner_id"] == runner_id]
    assert sorted(mine) == ["capabilities", "is_active", "last_seen", "name", "runner_id"]
    assert (mine["name"], mine["capabilities"]) == ("contract-test-listed", ["a", "b"])
    assert mine["is_active"] is True


def test_a_runner_is_shown_with_its_jobs(api):
    """A runner's own jobs are listed with their states, so that it can find orphans."""
    runner_id = api.register("a")
    runner, ids = api.runner(runner_id), {}
    for state in ("claimed", "in_progress", "completed"):
        ids[state] = api.new_job()
        assert runner.post(f"/api/runner/jobs/{ids[state]}/claim").status_code == 200
        _end(runner, ids[state], state)
    api.claimed_job()  # another's
    reply = api.admin.get(f"/api/admin/runners/{runner_id}")
    assert reply.status_code == 200
    shown = reply.json()
    columns = ["capabilities", "is_active", "jobs", "last_seen", "name", "registered_at"]
    assert sorted(shown) == sorted([*columns, "runner_id"])
    assert shown["registered_at"] <= shown["last_seen"]
    assert {job["status"]: job["job_id"] for job in shown["jobs"]} == ids
    columns = ["created_at", "job_id", "job_type", "status", "updated_at"]
    assert all(sorted(job) == columns for job in shown["jobs"])


def test_a_runner_shows_its_last_100_jobs(local_api):
    """Of 101 jobs that a runner claimed, the oldest is left out."""
    runner_id = local_api.register("a")
    runner = local_api.runner(runner_id)
    ids = [local_api.new_job("", {"n": n}) for n in range(101)]
    for job_id in ids:
        assert runner.post(f"/api/runner/jobs/{job_id}/claim").status_code == 200
    jobs = local_api.admin.get(f"/api/admin/runners/{runner_id}").json()["jobs"]
    assert sorted(job["job_id"] for job in jobs) == sorted(ids[1:])


def test_an_unknown_runner_is_404(api):
    """An id that was never given is not found."""
    assert api.admin.get(f"/api/admin/runners/{NO_ID}").status_code == 404


def test_a_runner_is_active_for_five_minutes(timed_api, clock):
    """A runner is inactive after five minutes without a request, until its next one."""
    runner_id = timed_api.register()

    def is_active():
        stats = timed_api.admin.get("/api/admin/stats").json()["runners"]
        shown = timed_api.admin.get(f"/api/admin/runners/{runner_id}").json()
        assert stats == {"total": 1, "active": int(shown["is_active"])}
        return shown["is_active"]

    assert is_active()
    clock.now += 5 * MINUTE_MS - 1
    assert is_active()
    clock.now += 1000
    assert not is_active()
    assert timed_api.runner(runner_id).get("/api/runner/jobs/available").status_code == 200
    assert is_active()


def test_stats_count_jobs_by_state_and_runners(timed_api):
    """Every state is counted, `expired` is always there and always 0."""
    zero = {**dict.fromkeys([*STATES, "expired"], 0), "total": 0}
    assert timed_api.admin.get("/api/admin/stats").json()["jobs"] == zero
    for state in STATES:
        _job_in(timed_api, state)
    timed_api.new_job()
    stats = timed_api.admin.get("/api/admin/stats").json()
    expected = {**dict.fromkeys(STATES, 1), "pending": 2, "expired": 0, "total": 6}
    assert stats == {"jobs": expected, "runners": {"total": 4, "active": 4}}
