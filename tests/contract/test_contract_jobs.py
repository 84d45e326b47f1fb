"""The contract's routes for submitters, and its section "Jobs"."""

import time

import pytest

NO_ID = "00000000-0000-4000-8000-000000000000"
HOUR_MS = 3600 * 1000
NO_JOBS = [
    {"job_type": "", "input_params": {}},
    {"job_type": "a", "input_params": None},
    {"job_type": "a", "input_params": "b"},
    {"job_type": "a", "input_params": 1},
]
#: These fail at the worker's first look at them.
BROKEN = [
    {},
    {"input_params": {}},
    {"job_type": None, "input_params": {}},
    {"job_type": 1, "input_params": {}},
    {"job_type": ["a"], "input_params": {}},
    {"job_type": "a"},
]


def _path(job_id, action):
    return f"/api/runner/jobs/{job_id}/{action}"


def _beat(runner, job_id):
    body = {"progress_current": 1, "progress_total": 2, "console_output": "x"}
    assert runner.post(_path(job_id, "heartbeat"), body).status_code == 200


def _complete(runner, job_id, output):
    body = {"output_data": output, "console_output": "done"}
    assert runner.post(_path(job_id, "complete"), body).status_code == 200


def _fail(runner, job_id):
    body = {"error_message": "it broke", "console_output": "oh"}
    assert runner.post(_path(job_id, "error"), body).status_code == 200


def _check(api, job_type, params):
    reply = api.submitter.post("/api/jobs/check", {"job_type": job_type, "input_params": params})
    assert reply.status_code == 200
    return reply.json()


def test_a_new_job_is_201_and_pending(api, job_type):
    """The first submission of a job creates it as pending."""
    reply = api.submit(job_type, {"a": 1})
    assert reply.status_code == 201
    assert reply.json()["status"] == "pending"
    assert reply.json()["message"]
    job = api.look(reply.json()["job_id"])
    assert (job["status"], job["job_type"], job["input_params"]) == ("pending", job_type, {"a": 1})
    assert (job["claimed_by"], job["claimed_at"], job["last_heartbeat"]) == (None, None, None)
    assert job["console_output"] == ""
    assert "progress" not in job


@pytest.mark.parametrize("action", ["submit", "check"])
@pytest.mark.parametrize("body", BROKEN)
def test_a_type_that_is_no_text_or_no_parameters_are_500(api, action, body):
    """The worker fails where it expects a text, or parameters to measure."""
    reply = api.submitter.post(f"/api/jobs/{action}", body)
    assert reply.status_code == 500
    assert reply.json()["error"] == f"Failed to {action} job"


def test_parameters_may_be_a_list(api, job_type):
    """It is queued, listed and claimed like an object."""
    job_id = api.new_job(job_type, [1, {"a": 2}])
    runner = api.runner(api.register(job_type))
    shown = runner.get(f"/api/runner/jobs/available?types[]={job_type}").json()["jobs"]
    assert [job["input_params"] for job in shown] == [[1, {"a": 2}]]
    claimed = runner.post(_path(job_id, "claim")).json()
    assert claimed["job"]["input_params"] == [1, {"a": 2}]
    assert _check(api, job_type, [1, {"a": 2}])["exists"] is True
    assert _check(api, job_type, [{"a": 2}, 1])["exists"] is False


def test_a_byte_order_mark_is_500(api, job_type):
    """The worker reads it as a part of the JSON."""
    body = b'\xef\xbb\xbf{"job_type":"%s","input_params":{}}' % job_type.encode()
    assert api.submitter.post("/api/jobs/check", data=body).status_code == 500


@pytest.mark.parametrize("action", ["submit", "check"])
@pytest.mark.parametrize("body", NO_JOBS)
def test_an_empty_type_or_bad_parameters_are_400(api, action, body):
    """Type must be a non-empty string and parameters an object, for both routes."""
    reply = api.submitter.post(f"/api/jobs/{action}", body)
    assert reply.status_code == 400
    assert reply.json()["error"]


def test_check_of_an_unknown_job_creates_nothing(api, job_type):
    """Checking twice finds nothing both times, and nothing waits for a runner."""
    for _ in range(2):
        answer = _check(api, job_type, {"a": 1})
        assert answer["exists"] is False
        assert sorted(answer) == ["exists", "message"]
    path = f"/api/runner/jobs/available?types[]={job_type}"
    assert api.runner(api.register()).get(path).json() == {"jobs": []}


@pytest.mark.parametrize("state", ["pending", "claimed", "in_progress"])
def test_a_known_job_on_its_way_is_answered_with_its_state(api, job_type, state):
    """Submit and check answer with the same job while it waits or runs."""
    job_id = api.new_job(job_type, {"a": 1})
    if state != "pending":
        runner = api.runner(api.register())
        assert runner.post(_path(job_id, "claim")).status_code == 200
    if state == "in_progress":
        _beat(runner, job_id)
    again = api.submit(job_type, {"a": 1})
    assert again.status_code == 200
    assert (again.json()["job_id"], again.json()["status"]) == (job_id, state)
    assert sorted(again.json()) == ["job_id", "message", "status"]
    check = _check(api, job_type, {"a": 1})
    assert (check["exists"], check["job_id"], check["status"]) == (True, job_id, state)
    assert sorted(check) == ["exists", "job_id", "message", "status"]


def test_a_completed_job_is_answered_with_its_result(api, job_type):
    """Submit and check answer with the cached result."""
    job_id, runner = api.claimed_job(job_type, {"a": 1})
    _complete(runner, job_id, {"x": [1, None]})
    again = api.submit(job_type, {"a": 1})
    assert again.status_code == 200
    for answer in (again.json(), _check(api, job_type, {"a": 1})):
        assert (answer["job_id"], answer["status"]) == (job_id, "completed")
        assert answer["message"]
        assert answer["result"]["output_data"] == {"x": [1, None]}
        assert "error" not in answer


def test_a_failed_job_stays_failed_until_it_is_deleted(api, job_type):
    """The failure is cached: only a DELETE lets the job run again."""
    job_id, runner = api.claimed_job(job_type, {"a": 1})
    _fail(runner, job_id)
    for _ in range(2):
        again = api.submit(job_type, {"a": 1})
        assert again.status_code == 200
        assert again.json()["job_id"] == job_id
        assert (again.json()["status"], again.json()["error"]) == ("failed", "it broke")
        assert "result" not in again.json()
    check = _check(api, job_type, {"a": 1})
    assert (check["exists"], check["status"], check["error"]) == (True, "failed", "it broke")
    assert api.admin.delete(f"/api/admin/jobs/{job_id}").status_code == 200
    anew = api.submit(job_type, {"a": 1})
    assert anew.status_code == 201
    assert anew.json()["job_id"] != job_id


def test_a_job_is_shown_to_submitters_through_its_life(api, job_type):
    """GET shows progress while the job runs, and the result when it has completed."""
    job_id = api.new_job(job_type)
    path = f"/api/jobs/{job_id}"
    plain = ["created_at", "job_id", "job_type", "status", "updated_at"]
    pending = api.submitter.get(path)
    assert pending.status_code == 200
    assert sorted(pending.json()) == plain
    runner = api.runner(api.register())
    assert runner.post(_path(job_id, "claim")).status_code == 200
    assert api.submitter.get(path).json()["status"] == "claimed"
    _beat(runner, job_id)
    running = api.submitter.get(path).json()
    assert sorted(running) == sorted([*plain, "progress"])
    assert (running["status"], running["progress"]) == ("in_progress", {"current": 1, "total": 2})
    _complete(runner, job_id, {"x": 1})
    done = api.submitter.get(path).json()
    assert (done["status"], done["job_type"]) == ("completed", job_type)
    assert done["result"] == {"output_data": {"x": 1}, "console_output": "done"}
    assert done["updated_at"] >= done["created_at"]
    assert "error" not in done


def test_a_failed_job_is_shown_to_submitters_with_its_error(api):
    """GET shows the error message of a failed job."""
    job_id, runner = api.claimed_job()
    _fail(runner, job_id)
    shown = api.submitter.get(f"/api/jobs/{job_id}").json()
    assert (shown["status"], shown["error"]) == ("failed", "it broke")
    assert "result" not in shown


def test_an_unknown_job_is_404(api):
    """Both routes that show a job answer 404."""
    for caller, path in ((api.submitter, "/api/jobs/"), (api.anyone, "/api/admin/jobs/")):
        reply = caller.get(path + NO_ID)
        assert (reply.status_code, reply.json()) == (404, {"error": "Job not found"})


SAME = [
    (b'{"a":1,"b":{"c":[{"x":1,"y":2}],"d":2}}', b'{"b":{"d":2,"c":[{"y":2,"x":1}]},"a":1}'),
    (b'{"a":1}', b'{ "a" : 1.0 }'),
    (b'{"a":100}', b'{"a":1e2}'),
    (b'{"a":0}', b'{"a":-0.0}'),
    ('{"a":"é"}'.encode(), b'{"a":"\\u00e9"}'),
    (b'{"a":9007199254740992}', b'{"a":9007199254740993}'),
    (b'{"a":null}', b'{"a":1e999}'),
]
OTHER = [
    (b'{"a":1}', b'{"a":"1"}'),
    (b'{"a":1}', b'{"a":true}'),
    (b'{"a":[1,2]}', b'{"a":[2,1]}'),
    (b'{"a":1,"b":null}', b'{"a":1}'),
    ('{"a":"\u00e9"}'.encode(), '{"a":"e\u0301"}'.encode()),
    (b'{"a":""}', b'{"a":null}'),
    (b'{"a":{}}', b'{"a":[]}'),
]


def _submit_raw(api, job_type, params):
    body = b'{"job_type":"%s","input_params":%s}' % (job_type.encode(), params)
    reply = api.submitter.post("/api/jobs/submit", data=body)
    api.job_ids.append(reply.json()["job_id"])
    return reply


@pytest.mark.parametrize(("first", "second"), SAME)
def test_what_means_the_same_is_the_same_job(api, job_type, first, second):
    """Key order at any depth, and ways to write a value, make no difference."""
    one, two = _submit_raw(api, job_type, first), _submit_raw(api, job_type, second)
    assert (one.status_code, two.status_code) == (201, 200)
    assert one.json()["job_id"] == two.json()["job_id"]


@pytest.mark.parametrize(("first", "second"), OTHER)
def test_what_means_something_else_is_another_job(api, job_type, first, second):
    """Types, list order, null and Unicode normal forms make a difference."""
    one, two = _submit_raw(api, job_type, first), _submit_raw(api, job_type, second)
    assert (one.status_code, two.status_code) == (201, 201)
    assert one.json()["job_id"] != two.json()["job_id"]


def test_the_same_parameters_under_another_type_are_another_job(api, job_type):
    """The job type is part of a job's identity."""
    assert api.new_job(job_type, {"a": 1}) != api.new_job(job_type + "-b", {"a": 1})


def _figure_job(api, host, job_type, description, name="/f", wrap=lambda url: {"figpack_url": url}):
    """Complete a job whose figure `host` describes; `description` is (status, content)."""
    host.files[f"{name}/figpack.json"] = description
    job_id, runner = api.claimed_job(job_type, {"a": 1})
    _complete(runner, job_id, wrap(f"{host.url}{name}/index.html"))
    return job_id


def _soon():
    return int(time.time() * 1000) + HOUR_MS


def _past():
    return int(time.time() * 1000) - 1000


@pytest.mark.parametrize(
    "description",
    [
        lambda: {"expiration": _soon()},
        lambda: {"pinned": True},
        lambda: {"pinned": True, "expiration": _past()},
        lambda: {"expiration": _soon(), "deleted": False, "pinned": False},
    ],
)
def test_a_result_whose_figure_lives_is_given(api, figure_host, job_type, description):
    """A result stays cached while its figure is pinned or has not expired."""
    job_id = _figure_job(api, figure_host, job_type, (200, description()))
    again = api.submit(job_type, {"a": 1}).json()
    assert (again["job_id"], again["status"]) == (job_id, "completed")
    assert _check(api, job_type, {"a": 1})["status"] == "completed"
    assert figure_host.asked == ["/f/figpack.json"] * 2


DEAD = {
    "expired": lambda: (200, {"expiration": _past()}),
    "in seconds": lambda: (200, {"expiration": _soon() // 1000}),
    "deleted": lambda: (200, {"expiration": _soon(), "deleted": True}),
    "pinned but deleted": lambda: (200, {"pinned": True, "deleted": True}),
    "without expiration": lambda: (200, {"pinned": False}),
    "not found": lambda: (404, {"expiration": _soon()}),
    "server error": lambda: (500, {"expiration": _soon()}),
    "no JSON": lambda: (200, b"<html>"),
    "null": lambda: (200, None),
    "too deep": lambda: (200, b"[" * 100_000 + b"]" * 100_000),
}


@pytest.mark.parametrize("reason", DEAD)
@pytest.mark.parametrize("action", ["submit", "check"])
def test_a_result_whose_figure_is_gone_expires(api, figure_host, job_type, action, reason):
    """The answer is `expired`, the job is deleted, and the next submission creates it again."""
    job_id = _figure_job(api, figure_host, job_type, DEAD[reason]())
    body = {"job_type": job_type, "input_params": {"a": 1}}
    reply = api.submitter.post(f"/api/jobs/{action}", body)
    assert reply.status_code == 200
    assert (reply.json()["job_id"], reply.json()["status"]) == (job_id, "expired")
    assert "result" not in reply.json()
    assert api.anyone.get(f"/api/admin/jobs/{job_id}").status_code == 404
    assert api.submit(job_type, {"a": 1}).status_code == 201


def test_a_figure_host_that_cannot_be_reached_expires_the_result(api, job_type):
    """Nothing listens on port 1, so the figure has expired."""
    job_id, runner = api.claimed_job(job_type, {"a": 1})
    _complete(runner, job_id, {"figpack_url": "http://127.0.0.1:1/f/index.html"})
    assert api.submit(job_type, {"a": 1}).json()["status"] == "expired"


@pytest.mark.parametrize("ending", ["", "/", "/index.htm", "/index.html?x=1", "/index.html/"])
def test_a_figure_url_must_end_exactly_in_index_html(api, figure_host, job_type, ending):
    """A URL with any other ending expires the result, even if a figure is there."""
    alive = (200, {"pinned": True})
    figure_host.files["/figpack.json"] = figure_host.files["/f/figpack.json"] = alive
    job_id, runner = api.claimed_job(job_type, {"a": 1})
    _complete(runner, job_id, {"figpack_url": f"{figure_host.url}/f{ending}"})
    assert api.submit(job_type, {"a": 1}).json()["status"] == "expired"


@pytest.mark.parametrize("alive", [True, False])
def test_every_figure_url_at_any_depth_is_checked(api, figure_host, job_type, alive):
    """One missing figure, at any depth, expires the result; if all exist, it stays cached."""
    figure_host.files["/good/figpack.json"] = (200, {"pinned": True})
    good = f"{figure_host.url}/good/index.html"

    def wrap(url):
        return {"figpack_url": good, "more": [{"x": {"figpack_url": url}}, 1]}

    _figure_job(api, figure_host, job_type, (200, {"pinned": alive}), wrap=wrap)
    expected = "completed" if alive else "expired"
    assert api.submit(job_type, {"a": 1}).json()["status"] == expected


def test_results_without_a_figure_never_expire(api, job_type):
    """Other keys, and a `figpack_url` that is not a string, are ignored."""
    job_id, runner = api.claimed_job(job_type, {"a": 1})
    _complete(runner, job_id, {"figpack_url": 7, "url": "http://127.0.0.1:1/f/index.html"})
    assert api.submit(job_type, {"a": 1}).json()["status"] == "completed"


def test_looking_at_a_job_does_not_check_its_figure(api, figure_host, job_type):
    """Only submit and check fetch figpack.json; GET answers with the result as it is."""
    job_id = _figure_job(api, figure_host, job_type, (404, {}))
    assert api.submitter.get(f"/api/jobs/{job_id}").json()["status"] == "completed"
    assert api.look(job_id)["status"] == "completed"
    assert figure_host.asked == []


def test_nothing_but_its_runner_ends_a_claimed_job(timed_api, clock):
    """A year after the last heartbeat the job is still in progress, and its runner may end it."""
    runner_id, job_id = timed_api.register(), timed_api.new_job("t", {"a": 1})
    runner = timed_api.runner(runner_id)
    assert runner.post(_path(job_id, "claim")).status_code == 200
    _beat(runner, job_id)
    clock.now += 365 * 24 * HOUR_MS
    assert timed_api.submit("t", {"a": 1}).json()["status"] == "in_progress"
    jobs = timed_api.keyholder.get(f"/api/admin/runners/{runner_id}").json()["jobs"]
    assert [(job["job_id"], job["status"]) for job in jobs] == [(job_id, "in_progress")]
    _complete(runner, job_id, {})
    assert timed_api.look(job_id)["status"] == "completed"


def test_a_lost_answer_can_be_resolved_without_a_key(api):
    """The admin view of a job shows its runner and its status to anybody who has its id."""
    runner_id, job_id = api.register(), api.new_job()
    runner = api.runner(runner_id)
    runner.post(_path(job_id, "claim"))
    assert (api.look(job_id)["status"], api.look(job_id)["claimed_by"]) == ("claimed", runner_id)
    _complete(runner, job_id, {})
    assert (api.look(job_id)["status"], api.look(job_id)["claimed_by"]) == ("completed", runner_id)


def test_the_runner_key_may_delete(api):
    """The runner key may delete a job that is stuck."""
    job_id, _ = api.claimed_job()
    assert api.keyholder.delete(f"/api/admin/jobs/{job_id}").status_code == 200
    assert api.anyone.get(f"/api/admin/jobs/{job_id}").status_code == 404
