"""The contract's runner routes."""

import threading

import pytest

NO_ID = "00000000-0000-4000-8000-000000000000"
NOT_MINE = {"success": False, "message": "Job not found or not claimed by this runner"}
TAKEN = {"success": False, "message": "Job already claimed or not found"}
HEARTBEAT = {"progress_current": 1, "progress_total": 4, "console_output": "one"}
COMPLETE = {"output_data": {"x": 1}, "console_output": "done"}
ERROR = {"error_message": "it broke", "console_output": "oh"}
REPORTS = [("heartbeat", HEARTBEAT), ("complete", COMPLETE), ("error", ERROR)]


def _path(job_id, action):
    return f"/api/runner/jobs/{job_id}/{action}"


def _available(runner, *types):
    reply = runner.get("/api/runner/jobs/available", params=[("types[]", t) for t in types])
    assert reply.status_code == 200
    return reply.json()["jobs"]


def test_registering_gives_a_new_id_also_for_a_known_name(api):
    """Registering the same name twice makes two runners."""
    body = {"name": "contract-test-twin", "capabilities": ["a"]}
    replies = [api.keyholder.post("/api/runner/register", body) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [201, 201]
    assert replies[0].json()["runner_id"] != replies[1].json()["runner_id"]
    assert all(reply.json()["message"] for reply in replies)


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"name": "a"},
        {"capabilities": []},
        {"name": "", "capabilities": []},
        {"name": None, "capabilities": []},
        {"name": 0, "capabilities": []},
        {"name": "a", "capabilities": "b"},
        {"name": "a", "capabilities": {"b": 1}},
        {"name": "a", "capabilities": None},
    ],
)
def test_registering_wants_a_name_and_an_array(api, body):
    """A falsy name or capabilities that are no array are invalid."""
    reply = api.keyholder.post("/api/runner/register", body)
    assert (reply.status_code, reply.json()) == (400, {"error": "Invalid registration data"})


def test_verify_knows_a_registered_runner(api):
    """Verify answers with the name that was registered."""
    runner = api.runner(api.register(name="contract-test é"))
    reply = runner.get("/api/runner/verify")
    assert reply.status_code == 200
    assert reply.json()["exists"] is True
    assert reply.json()["runner_name"] == "contract-test é"
    assert reply.json()["message"]


def test_verify_of_an_unknown_runner_is_404(api):
    """Verify answers 404 for an id that was never given."""
    reply = api.runner(NO_ID).get("/api/runner/verify")
    assert reply.status_code == 404
    assert reply.json() == {"exists": False, "message": "Runner not found"}


def test_available_lists_pending_jobs_of_the_types_oldest_first(api, job_type):
    """Only pending jobs of the wanted types are listed, in the order of their submission."""
    ids = [api.new_job(job_type, {"n": n}) for n in range(3)]
    other = api.new_job(job_type + "-b")
    runner = api.runner(api.register(job_type))
    assert runner.post(_path(ids[1], "claim")).status_code == 200
    jobs = _available(runner, job_type)
    assert [job["job_id"] for job in jobs] == [ids[0], ids[2]]
    assert sorted(jobs[0]) == ["created_at", "input_params", "job_id", "job_type"]
    assert (jobs[0]["job_type"], jobs[0]["input_params"]) == (job_type, {"n": 0})
    both = [job["job_id"] for job in _available(runner, job_type, job_type + "-b")]
    assert both == [ids[0], ids[2], other]


def test_available_takes_encoded_brackets_and_no_other_spelling(api, job_type):
    """`types%5B%5D` is the parameter; `types`, `types[0]` and a comma list match nothing."""
    job_id = api.new_job(job_type)
    runner = api.runner(api.register(job_type))
    path = "/api/runner/jobs/available"
    reply = runner.get(f"{path}?types%5B%5D={job_type}")
    assert [job["job_id"] for job in reply.json()["jobs"]] == [job_id]
    wrong = [f"types={job_type}", f"types[0]={job_type}", f"types[]={job_type},b", "types[]=", ""]
    for query in wrong:
        assert runner.get(f"{path}?{query}").json() == {"jobs": []}


def test_available_lists_at_most_50(local_api, job_type):
    """Of 52 pending jobs the 50 oldest are listed."""
    ids = [local_api.new_job(job_type, {"n": n}) for n in range(52)]
    runner = local_api.runner(local_api.register(job_type))
    assert [job["job_id"] for job in _available(runner, job_type)] == ids[:50]


def test_available_takes_100_types_and_no_more(api):
    """A hundred types are answered, one more is a server error."""
    runner = api.runner(api.register())
    types = [("types[]", f"contract-test-{n}") for n in range(101)]
    path = "/api/runner/jobs/available"
    assert runner.get(path, params=types[:100]).json() == {"jobs": []}
    assert runner.get(path, params=types).status_code == 500


def test_available_answers_an_unknown_runner(api, job_type):
    """A runner id that was never given still gets jobs."""
    job_id = api.new_job(job_type)
    assert [job["job_id"] for job in _available(api.runner(NO_ID), job_type)] == [job_id]


@pytest.mark.parametrize("body", [None, b"{", b"[1, 2]"])
def test_a_claim_gives_the_job_whatever_its_body(api, job_type, body):
    """The answer to a claim holds all that the runner needs."""
    job_id = api.new_job(job_type, {"a": [1, None, "é"]})
    runner_id = api.register(job_type)
    reply = api.runner(runner_id).post(_path(job_id, "claim"), data=body)
    assert reply.status_code == 200
    assert reply.json()["success"] is True
    assert reply.json()["message"]
    params = {"a": [1, None, "é"]}
    expected = {"job_id": job_id, "job_type": job_type, "input_params": params}
    assert reply.json()["job"] == expected
    job = api.look(job_id)
    assert (job["status"], job["claimed_by"]) == ("claimed", runner_id)
    assert job["claimed_at"] == job["updated_at"] >= job["created_at"]
    assert (job["last_heartbeat"], job["console_output"]) == (job["claimed_at"], "")


def test_a_job_that_is_taken_is_409_also_for_its_own_runner(api):
    """Claiming again fails for another runner and for the same one."""
    job_id, runner = api.claimed_job()
    for claimer in (runner, api.runner(api.register())):
        reply = claimer.post(_path(job_id, "claim"))
        assert (reply.status_code, reply.json()) == (409, TAKEN)


@pytest.mark.parametrize(("action", "body"), REPORTS[1:])
def test_claiming_a_finished_job_is_409(api, action, body):
    """A finished job cannot be claimed again."""
    job_id, runner = api.claimed_job()
    assert runner.post(_path(job_id, action), body).status_code == 200
    reply = runner.post(_path(job_id, "claim"))
    assert (reply.status_code, reply.json()) == (409, TAKEN)


def test_claiming_an_unknown_job_is_409(api):
    """An unknown job is answered as a claimed one is."""
    reply = api.runner(api.register()).post(_path(NO_ID, "claim"))
    assert (reply.status_code, reply.json()) == (409, TAKEN)


def test_a_claim_by_an_unknown_runner_is_500_and_the_job_stays_pending(api):
    """A runner must be registered before it can claim."""
    job_id = api.new_job()
    reply = api.runner(NO_ID).post(_path(job_id, "claim"))
    assert reply.status_code == 500
    assert reply.json()["error"].startswith("Failed to ")
    assert api.look(job_id)["status"] == "pending"


def test_of_many_claims_at_once_one_wins(api):
    """Eight runners ask for one job at the same time, and seven hear 409."""
    job_id = api.new_job()
    runners = [api.runner(api.register()) for _ in range(8)]
    start, codes = threading.Barrier(8), []

    def claim(runner):
        start.wait()
        codes.append(runner.post(_path(job_id, "claim")).status_code)

    threads = [threading.Thread(target=claim, args=(runner,)) for runner in runners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [200] + [409] * 7


def test_a_heartbeat_shows_progress_and_console(api):
    """After a heartbeat, the job is in progress and shows what the heartbeat reported."""
    job_id, runner = api.claimed_job()
    reply = runner.post(_path(job_id, "heartbeat"), HEARTBEAT)
    assert reply.status_code == 200
    assert reply.json()["success"] is True
    assert reply.json()["message"]
    job = api.look(job_id)
    assert job["status"] == "in_progress"
    assert job["progress"] == {"current": 1, "total": 4}
    assert job["console_output"] == "one"
    assert job["last_heartbeat"] >= job["claimed_at"]


@pytest.mark.parametrize("beat_first", [False, True])
def test_a_job_completes_from_claimed_and_from_in_progress(api, beat_first):
    """A result is accepted with or without a heartbeat before it."""
    job_id, runner = api.claimed_job()
    if beat_first:
        runner.post(_path(job_id, "heartbeat"), HEARTBEAT)
    reply = runner.post(_path(job_id, "complete"), COMPLETE)
    assert reply.status_code == 200
    assert reply.json()["success"] is True
    assert reply.json()["message"]
    job = api.look(job_id)
    assert (job["status"], job["output_data"], job["console_output"]) == (
        "completed",
        {"x": 1},
        "done",
    )
    assert "error_message" not in job


def test_an_error_ends_a_job_as_failed(api):
    """A reported error is shown, with the console."""
    job_id, runner = api.claimed_job()
    reply = runner.post(_path(job_id, "error"), ERROR)
    assert reply.status_code == 200
    assert reply.json()["success"] is True
    assert reply.json()["message"]
    job = api.look(job_id)
    assert (job["status"], job["error_message"], job["console_output"]) == (
        "failed",
        "it broke",
        "oh",
    )
    assert "output_data" not in job


@pytest.mark.parametrize(("action", "body"), REPORTS)
def test_reports_on_a_job_that_is_not_claimed_are_400(api, action, body):
    """A pending or unknown job takes no report."""
    job_id = api.new_job()
    runner = api.runner(api.register())
    for target in (job_id, NO_ID):
        reply = runner.post(_path(target, action), body)
        assert (reply.status_code, reply.json()) == (400, NOT_MINE)
    assert api.look(job_id)["status"] == "pending"


@pytest.mark.parametrize(("action", "body"), REPORTS)
def test_reports_on_anothers_job_are_400(api, action, body):
    """Only the runner that claimed the job may report on it."""
    job_id, _ = api.claimed_job()
    for runner_id in (api.register(), NO_ID):
        reply = api.runner(runner_id).post(_path(job_id, action), body)
        assert (reply.status_code, reply.json()) == (400, NOT_MINE)
    assert api.look(job_id)["status"] == "claimed"


@pytest.mark.parametrize(("action", "body"), REPORTS)
@pytest.mark.parametrize(
    ("end", "end_body", "status"),
    [
        ("complete", COMPLETE, "completed"),
        ("error", ERROR, "failed"),
    ],
)
def test_reports_on_a_finished_job_are_400_and_the_first_wins(
    api, action, body, end, end_body, status
):
    """A second report of any kind, even the same again, changes nothing."""
    job_id, runner = api.claimed_job()
    assert runner.post(_path(job_id, end), end_body).status_code == 200
    before = api.look(job_id)
    changed = {**body, "console_output": "later"}
    for second in (body, changed):
        reply = runner.post(_path(job_id, action), second)
        assert (reply.status_code, reply.json()) == (400, NOT_MINE)
    assert api.look(job_id) == before
    assert before["status"] == status


@pytest.mark.parametrize(("action", "body"), REPORTS)
def test_reports_on_a_deleted_job_are_400(api, action, body):
    """The answer is the same as for a job of another runner."""
    job_id, runner = api.claimed_job()
    assert api.admin.delete(f"/api/admin/jobs/{job_id}").status_code == 200
    reply = runner.post(_path(job_id, action), body)
    assert (reply.status_code, reply.json()) == (400, NOT_MINE)


def test_every_runner_route_says_that_the_runner_was_seen(timed_api, clock):
    """The time a runner was last seen follows each of its requests."""
    runner_id = timed_api.register("x")
    job_ids = [timed_api.new_job() for _ in range(2)]
    runner = timed_api.runner(runner_id)
    requests = [
        lambda: runner.get("/api/runner/verify"),
        lambda: runner.get("/api/runner/jobs/available"),
        lambda: runner.post(_path(job_ids[0], "claim")),
        lambda: runner.post(_path(job_ids[0], "heartbeat"), HEARTBEAT),
        lambda: runner.post(_path(job_ids[0], "complete"), COMPLETE),
        lambda: runner.post(_path(job_ids[1], "claim")),
        lambda: runner.post(_path(job_ids[1], "error"), ERROR),
    ]
    for request in requests:
        clock.now += 1000
        assert request().status_code == 200
        seen = timed_api.admin.get(f"/api/admin/runners/{runner_id}").json()["last_seen"]
        assert seen == clock.now
