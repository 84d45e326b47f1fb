"""Waiting for a job, as its submitter does."""

from dataclasses import replace

import pytest
from scripted_server import Answer, as_json, drop, html, ok, rate_limited

from devaria.client.client import WorkerClient
from devaria.client.follow import follow, wait_for
from devaria.common.errors import NoAnswer, NotFound, TransientError, Unauthorized
from devaria.common.timing import Timing

JOB = "GET /api/jobs/j-1"

#: Looks and tries after one another in no time.
QUICK = Timing(first_looks_sec=(0.01,), look_sec=0.01, backoff_base_sec=0.01, least_gap_sec=0.2)
#: The headers of a worker that lets requests wait.
HELD = {"Preference-Applied": "wait=10"}


@pytest.fixture
def client(server):
    """A client of the scripted server."""
    made = WorkerClient(server.url, "submit-key", QUICK)
    yield made
    made.close()


def state(status, **fields):
    """Answer with the job in a state."""
    return ok(job_id="j-1", status=status, **fields)


def test_a_job_is_looked_at_until_it_ends(server, client):
    """Each state is passed on, and the last one is returned."""
    progress = {"current": 1, "total": 2}
    server.on(
        JOB,
        state("pending"),
        state("in_progress", progress=progress),
        state("completed", result={"output_data": {"y": 1}, "console_output": ""}),
    )
    looks = []

    job = wait_for(client, "j-1", looks.append)

    assert [look.status for look in looks] == ["pending", "in_progress", "completed"]
    assert looks[1].progress_current == 1
    assert job.output_data == {"y": 1}


@pytest.mark.parametrize("status", ["completed", "failed", "expired"])
def test_each_final_state_ends_the_wait(server, client, status):
    """Nothing more happens to such a job by itself."""
    server.on(JOB, state(status))

    assert wait_for(client, "j-1", lambda _: None).status == status
    assert len(server.requests) == 1


def test_a_worker_that_fails_for_a_while_is_waited_for(server, client):
    """A failed look says nothing about the job."""
    failures = [as_json({"error": "x"}, 500), html(), drop(), rate_limited(0)]
    server.on(JOB, *failures, state("completed"))

    assert wait_for(client, "j-1", lambda _: None).status == "completed"
    assert len(server.requests) == 5


def test_patience_with_a_worker_ends(server):
    """The error has the last reason."""
    client = WorkerClient(server.url, "submit-key", replace(QUICK, patience_sec=0.2))
    server.on(JOB, html())

    with pytest.raises(TransientError, match="text/html"):
        wait_for(client, "j-1", lambda _: None)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (as_json({"error": "Job not found"}, 404), NotFound),
        (as_json({"error": "Invalid API key"}, 401), Unauthorized),
    ],
)
def test_a_deleted_job_and_a_refused_key_end_the_wait(server, client, answer, error):
    """Asking again would give the same answer."""
    server.on(JOB, state("pending"), answer)

    with pytest.raises(error):
        wait_for(client, "j-1", lambda _: None)


def test_following_a_job_of_a_worker_that_cannot_be_reached_fails_at_once(server, client):
    """A wrong URL is seen now, and not after five minutes; later failures are waited out."""
    server.on("GET /api/admin/jobs/j-1", drop())

    with pytest.raises(NoAnswer):
        follow(client, "j-1", lambda _: None)
    assert len(server.requests) == 1

    server.on("GET /api/admin/jobs/j-1", state("in_progress"), drop(), state("completed"))
    assert follow(client, "j-1", lambda _: None).status == "completed"


# --- a worker that lets looks wait -----------------------------------------------------------


def held(status, tag, **fields):
    """Answer with the job in a state, as a worker that lets looks wait."""
    return as_json({"job_id": "j-1", "status": status, **fields}, headers={**HELD, "ETag": tag})


def asked(server, route=JOB):
    """What each look asked for: the wait, and the tag of what was seen."""
    names = ("prefer", "if-none-match")
    return [tuple(each.headers.get(name) for name in names) for each in server.seen(route)]


@pytest.mark.parametrize(("route", "wait"), [(JOB, wait_for), ("GET /api/admin/jobs/j-1", follow)])
def test_each_look_waits_for_another_state_than_the_last(server, route, wait):
    """Nothing is slept between them."""
    client = WorkerClient(server.url, "submit-key", replace(QUICK, first_looks_sec=(), look_sec=60))
    server.on(route, held("pending", '"a"'), held("claimed", '"b"'), held("failed", '"c"'))

    assert wait(client, "j-1", lambda _: None).status == "failed"
    client.close()
    assert asked(server, route) == [
        ("wait=10", None),
        ("wait=10", '"a"'),
        ("wait=10", '"b"'),
    ]


def test_a_worker_that_ignores_the_header_is_asked_as_ever(server, client):
    """After the first look, nothing is asked for any more."""
    server.on(JOB, state("pending"), state("claimed"), state("completed"))

    wait_for(client, "j-1", lambda _: None)
    assert asked(server) == [("wait=10", None), (None, None), (None, None)]


def test_a_wait_without_a_change_is_followed_by_another(server, client):
    """The job is as it was. If the answer came at once, the next look waits for a moment."""
    unchanged = Answer(304, b"", {**HELD, "ETag": '"a"'})
    server.on(JOB, held("pending", '"a"'), unchanged, held("completed", '"b"'))
    looks = []

    wait_for(client, "j-1", looks.append)
    assert [look.status for look in looks] == ["pending", "pending", "completed"]
    second, third = server.seen(JOB)[1:]
    assert third.at - second.at > 0.05


@pytest.mark.parametrize("broken", [drop(), html(504), as_json({"error": "x"}, 500)])
def test_a_wait_that_is_cut_is_made_up_for_by_a_look(server, client, broken):
    """A proxy may cut requests that are idle: the look after that does not wait for a change."""
    server.on(JOB, held("pending", '"a"'), broken, held("in_progress", '"b"'), state("completed"))

    assert wait_for(client, "j-1", lambda _: None).status == "completed"
    assert asked(server) == [
        ("wait=10", None),
        ("wait=10", '"a"'),
        ("wait=10", None),
        ("wait=10", '"b"'),
    ]


def test_looks_stay_within_the_rate_limit(server, client):
    """A job that changes all the time is looked at 20 times, and then every 1.5 s."""
    states = [held("in_progress", f'"{n}"') for n in range(22)]
    server.on(JOB, *states, held("completed", '"end"'))

    wait_for(client, "j-1", lambda _: None)
    at = [each.at for each in server.seen(JOB)]
    assert at[22] - at[20] > 1
