"""The contract's section "Rate limits", with a clock that the tests set."""

import json

import pytest

WINDOW_MS = 60_000
NO_ID = "00000000-0000-4000-8000-000000000000"
HEARTBEAT = {"progress_current": 1, "progress_total": 4, "console_output": ""}
JOB = {"job_type": "t", "input_params": {}}


def _assert_limited(reply, reset_time):
    expected = {"error": "Rate limit exceeded", "resetTime": reset_time}
    assert (reply.status_code, reply.json()) == (429, expected)
    assert "Retry-After" not in reply.headers
    assert reply.headers["Access-Control-Allow-Origin"] == "*"


def _limits(api):
    """Return, for each limit, its number of requests and two requests that count towards it."""
    runner = api.runner(api.register())
    other_jobs = (f"/api/runner/jobs/{NO_ID}/heartbeat", "/api/runner/jobs/another/heartbeat")
    return {
        "submit and check": (
            10,
            lambda: api.submitter.post("/api/jobs/submit", JOB),
            lambda: api.submitter.post("/api/jobs/check", JOB),
        ),
        "get job": (
            60,
            lambda: api.submitter.get(f"/api/jobs/{NO_ID}"),
            lambda: api.submitter.get("/api/jobs/another"),
        ),
        "available": (
            120,
            lambda: runner.get("/api/runner/jobs/available"),
            lambda: runner.get("/api/runner/jobs/available?types[]=t"),
        ),
        "heartbeat": (
            120,
            lambda: runner.post(other_jobs[0], HEARTBEAT),
            lambda: runner.post(other_jobs[1], HEARTBEAT),
        ),
    }


@pytest.mark.parametrize("name", ["submit and check", "get job", "available", "heartbeat"])
def test_a_window_starts_with_its_first_request_and_lasts_60_s(timed_api, clock, name):
    """Both requests count towards one limit, which ends 60 s after the first of them."""
    limit, one, other = _limits(timed_api)[name]
    start = clock.now
    for n in range(limit):
        assert (other if n % 2 else one)().status_code != 429
        clock.now = start + 40_000  # a sliding window would last until a minute after this
    _assert_limited(one(), start + WINDOW_MS)
    clock.now = start + WINDOW_MS - 1
    _assert_limited(other(), start + WINDOW_MS)
    clock.now = start + WINDOW_MS
    for _ in range(limit):
        assert one().status_code != 429
    _assert_limited(one(), start + 2 * WINDOW_MS)


def test_runners_have_limits_of_their_own(timed_api):
    """A runner over its limit does not affect another one."""
    first, second = (timed_api.runner(timed_api.register()) for _ in range(2))
    for _ in range(120):
        assert first.get("/api/runner/jobs/available").status_code == 200
    assert first.get("/api/runner/jobs/available").status_code == 429
    assert second.get("/api/runner/jobs/available").status_code == 200


def test_polls_and_heartbeats_are_counted_apart(timed_api):
    """A runner over its polling limit still sends heartbeats and reports."""
    job_id, runner = timed_api.claimed_job()
    for _ in range(120):
        runner.get("/api/runner/jobs/available")
    assert runner.get("/api/runner/jobs/available").status_code == 429
    assert runner.post(f"/api/runner/jobs/{job_id}/heartbeat", HEARTBEAT).status_code == 200
    body = {"output_data": 1, "console_output": ""}
    assert runner.post(f"/api/runner/jobs/{job_id}/complete", body).status_code == 200


def test_requests_without_a_key_do_not_use_up_the_limit(timed_api):
    """Strangers cannot use up the limit of a runner."""
    runner_id = timed_api.register()
    for _ in range(130):
        headers = {"X-Runner-ID": runner_id}
        path = "/api/runner/jobs/available"
        assert timed_api.anyone.get(path, headers=headers).status_code == 401
    assert timed_api.runner(runner_id).get(path).status_code == 200


def test_nothing_else_is_limited(timed_api):
    """All other routes answer 130 requests in one window."""
    runner = timed_api.runner(timed_api.register())
    requests = [
        lambda: timed_api.anyone.get("/health"),
        lambda: timed_api.keyholder.post("/api/runner/register", json.loads("{}")),
        lambda: runner.get("/api/runner/verify"),
        lambda: runner.post(f"/api/runner/jobs/{NO_ID}/claim"),
        lambda: runner.post(f"/api/runner/jobs/{NO_ID}/complete"),
        lambda: runner.post(f"/api/runner/jobs/{NO_ID}/error"),
        lambda: timed_api.anyone.get(f"/api/admin/jobs/{NO_ID}"),
        lambda: timed_api.admin.get("/api/admin/stats"),
    ]
    for request in requests:
        assert 429 not in {request().status_code for _ in range(130)}
