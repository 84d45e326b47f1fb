"""Submitting and waiting: parameters from a command line, and the looks at a job."""

import json

import core_fixtures
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_server import as_json, drop, html, ok, rate_limited

from devaria import submission
from devaria.backoff import Backoff
from devaria.client import WorkerClient
from devaria.errors import EXIT_USAGE, JobInputError, NotFound, TransientError, Unauthorized
from devaria.submission import parsed_params, wait_for

server = core_fixtures.server

JOB = "GET /api/jobs/j-1"


# --- parameters ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "parsed"),
    [
        ("Alice", "Alice"),
        ("3", 3),
        ("2.5", 2.5),
        ("true", True),
        ("null", None),
        ('"3"', "3"),
        ("[1, 2]", [1, 2]),
        ('{"a": 1}', {"a": 1}),
        ("", ""),
        ("a=b", "a=b"),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("1e999", "1e999"),
        ("{broken", "{broken"),
        ("[" * 5_000, "[" * 5_000),
    ],
)
def test_a_value_is_json_where_it_parses_as_such(value, parsed):
    """Else it is a string; what JSON cannot hold is no JSON."""
    assert parsed_params([f"name={value}"], None) == {"name": parsed}


@core_fixtures.thorough
@given(st.dictionaries(st.text(), st.integers() | st.text() | st.booleans() | st.none()))
def test_an_object_is_read_as_it_is(params):
    """From the command line, as JSON."""
    assert parsed_params([], json.dumps(params)) == params


def test_pairs_are_put_over_the_object():
    """The last of one name counts."""
    params = parsed_params(["b=2", "c=3", "c=4"], '{"a": 1, "b": 1}')

    assert params == {"a": 1, "b": 2, "c": 4}


def test_a_file_is_read(tmp_path):
    """`@` and its name; it is UTF-8."""
    path = tmp_path / "params.json"
    path.write_text('{"name": "Zoë"}', encoding="utf-8")

    assert parsed_params([], f"@{path}") == {"name": "Zoë"}


def test_without_anything_there_are_no_parameters():
    """An empty object, as the worker wants one."""
    assert parsed_params([], None) == {}


@pytest.mark.parametrize(
    ("pairs", "text", "part"),
    [
        (["name"], None, "'name' is not of the form name=value"),
        (["=3"], None, "'=3' is not of the form name=value"),
        ([], "", "--params is not JSON"),
        ([], "{", "--params is not JSON"),
        ([], '{"a": NaN}', "JSON has no NaN"),
        ([], '{"a": -Infinity}', "JSON has no -Infinity"),
        ([], '{"a": [1e999]}', "1e999"),
        ([], "[1]", "must hold a JSON object"),
        ([], "3", "must hold a JSON object"),
        ([], "[" * 5_000, "--params is not JSON"),
        ([], "@no/such/file", "cannot read the parameters in no/such/file: No such file"),
        ([], "@", "cannot read the parameters"),
        ([], "@a\0b", "cannot read the parameters"),
    ],
)
def test_what_cannot_be_read_is_said(pairs, text, part):
    """In one sentence, with the exit code of wrong usage."""
    with pytest.raises(JobInputError) as raised:
        parsed_params(pairs, text)

    assert part in str(raised.value)
    assert raised.value.exit_code == EXIT_USAGE


def test_a_file_that_is_no_text_is_said(tmp_path):
    """With its name."""
    path = tmp_path / "params.json"
    path.write_bytes(b"\xff\xfe")

    with pytest.raises(JobInputError, match=r"cannot read the parameters in .*params\.json"):
        parsed_params([], f"@{path}")


# --- waiting ---------------------------------------------------------------------------------


@pytest.fixture
def client(server):
    """A client of the scripted server."""
    made = WorkerClient(server.url, "submit-key")
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Looks and tries after one another in no time."""
    monkeypatch.setattr(submission, "_LOOK_EVERY_SEC", (0.01,))
    monkeypatch.setattr(submission, "_LATER_LOOK_EVERY_SEC", 0.01)
    monkeypatch.setattr(submission, "Backoff", lambda max_sec: Backoff(0.01, max_sec))


def state(status, **fields):
    """Answer with the job in a state."""
    return ok(job_id="j-1", status=status, **fields)


def test_a_job_is_looked_at_until_it_ends(server, client):
    """Each look is shown, the last one returned."""
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


def test_patience_with_a_worker_ends(server, client, monkeypatch):
    """With the last reason."""
    monkeypatch.setattr(submission, "_PATIENCE_SEC", 0.2)
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
    """Looking again would see the same."""
    server.on(JOB, state("pending"), answer)

    with pytest.raises(error):
        wait_for(client, "j-1", lambda _: None)
