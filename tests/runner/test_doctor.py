"""The doctor's checks, one at a time."""

import time
from email.utils import formatdate

import pytest
from core_fixtures import KEY, RUNNER_ID, script_a_worker
from relay_server import POLL, RelayServer, environ_for
from scripted_server import Answer, ScriptedServer, as_json, html, ok, redirect

from devaria.jobs.loading import find_handlers
from devaria.runner.doctor import FAILURE, OK, WARNING, CheckContext, examine

RASTER = "figpack_nwb_raster_plot"


def found_by_doctor(directory, url, *, job_types=("hello_world",), handlers=(), **environ):
    """Run the doctor; return its checks by name."""
    context = CheckContext(
        worker_url=url,
        insecure=False,
        directory=directory,
        environ={"DEVARIA_RUNNER_API_KEY": KEY, **environ},
        handlers=find_handlers(handlers),
        job_types=job_types,
    )
    return {check.name: check for check in examine(context)}


@pytest.fixture
def worker():
    """Run a worker without faults."""
    with ScriptedServer() as server:
        script_a_worker(server)
        server.on("GET /health", ok(status="ok", service="devaria"))
        yield server


def test_all_is_well(tmp_path, worker):
    """Every check is OK, and none gives advice."""
    found = found_by_doctor(tmp_path, worker.url)
    assert {check.state for check in found.values()} == {OK}
    assert {check.advice for check in found.values()} == {""}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("off_sec", "state"), [(0, OK), (-50, OK), (90, WARNING), (-3600, WARNING)]
)
def test_a_clock_that_is_off_is_said(tmp_path, worker, off_sec, state):
    """The check says by how much; it is a warning, since a runner works all the same."""
    date = formatdate(time.time() - off_sec, usegmt=True)
    worker.on("GET /health", as_json({"status": "ok"}, headers={"Date": date}))
    clock = found_by_doctor(tmp_path, worker.url)["clock"]
    assert clock.state == state
    assert bool(clock.advice) == (state == WARNING)
    if state == WARNING:
        assert abs(int(clock.found.split()[0]) - off_sec) <= 2
    worker.on("GET /health", as_json({"status": "ok"}, headers={"Date": "yesterday"}))
    assert found_by_doctor(tmp_path, worker.url)["clock"].state == OK


@pytest.mark.parametrize("answer", [html(500), redirect("/elsewhere"), html(404)])
def test_what_is_no_worker_fails(tmp_path, worker, answer):
    """A proxy's page fails, and so does a redirect, which a runner would not follow."""
    worker.on("GET /health", answer)
    worker.on("GET /elsewhere", ok(status="ok"))
    found = found_by_doctor(tmp_path, worker.url)
    assert found["worker"].state == FAILURE
    assert f"answered {answer.status} in" in found["worker"].found
    assert found["registration"].state == WARNING


@pytest.mark.parametrize(
    "answer",
    [
        redirect("http://[::bad"),
        Answer(200, b"{}", {f"X-{n}": "x" for n in range(5_000)}),
        Answer(200, b"-5\r\n", {"Transfer-Encoding": "chunked"}),
        Answer(200, b"<html>", {"Content-Type": "text/html; charset=idna"}),
    ],
)
def test_a_broken_answer_breaks_no_check(tmp_path, worker, answer):
    """It is found like any other fault, in the words of a person."""
    worker.on("GET /health", answer)
    worker.on("GET /api/runner/verify", answer)
    found = found_by_doctor(tmp_path, worker.url)
    assert FAILURE in {found["worker"].state, found.get("key accepted", found["worker"]).state}
    assert not any("Error:" in each.found for each in found.values())


def test_a_page_in_the_workers_place_fails(tmp_path, worker):
    """A server that answers everything with 200 fails too."""
    worker.on("GET /health", html())
    worker.on("GET /api/runner/verify", html())
    found = found_by_doctor(tmp_path, worker.url)
    assert found["key accepted"].state == FAILURE
    assert "expected a JSON object" in found["key accepted"].found


def test_a_registration_that_the_worker_forgot(tmp_path, worker):
    """It is a warning, since the next start registers again; the file stays as it is."""
    file = tmp_path / ".devaria_runner.json"
    file.write_text(f'{{"runner_id": "{RUNNER_ID}", "runner_name": "runner-x"}}')
    assert RUNNER_ID in found_by_doctor(tmp_path, worker.url)["registration"].found
    unknown = as_json({"exists": False, "message": "Runner not found"}, 404)
    worker.on("GET /api/runner/verify", unknown)
    found = found_by_doctor(tmp_path, worker.url)
    assert (found["registration"].state, found["key accepted"].state) == (WARNING, OK)
    file.write_text("{")
    found = found_by_doctor(tmp_path, worker.url)
    assert "corrupt" in found["directory"].found
    assert file.read_text() == "{"


def test_a_directory_that_is_not_there_yet(tmp_path, worker):
    """A start would create it; the doctor does not."""
    found = found_by_doctor(tmp_path / "new" / "one", worker.url)
    assert "which the first start creates" in found["directory"].found
    assert {check.state for check in found.values()} == {OK}
    assert list(tmp_path.iterdir()) == []


def test_a_place_for_jobs_files_that_is_not_there(tmp_path, worker):
    """The runner would take no job, and no other folder."""
    place = tmp_path / "no-such-folder"

    found = found_by_doctor(tmp_path, worker.url, TMPDIR=str(place))

    assert found["scratch"].state == FAILURE
    assert str(place) in found["scratch"].found
    assert "TMPDIR" in found["scratch"].advice


def test_a_runners_file_that_is_something_else(tmp_path, worker):
    """The check names it, since a start would fail."""
    (tmp_path / "devaria_runner.log").mkdir()
    found = found_by_doctor(tmp_path, worker.url)
    assert found["directory"].state == FAILURE
    assert "devaria_runner.log cannot be written" in found["directory"].found


def test_one_job_type_of_several_that_is_not_ready(tmp_path, worker):
    """It is a warning if another type is ready, else a failure."""
    both = found_by_doctor(tmp_path, worker.url, job_types=("hello_world", RASTER))
    assert both[f"job type {RASTER}"].state == WARNING
    alone = found_by_doctor(tmp_path, worker.url, job_types=(RASTER,))
    assert alone[f"job type {RASTER}"].state == FAILURE
    broken = found_by_doctor(tmp_path, worker.url, job_types=(), handlers=["gone=no_such:X"])
    assert broken["job type gone"].state == WARNING
    assert "No module named 'no_such'" in broken["job type gone"].found


def test_figpack_is_checked_for_every_figure(tmp_path, worker):
    """A runner that offers one kind of figure alone needs its key; one without figures does not."""
    found = found_by_doctor(tmp_path, worker.url, job_types=("figpack_nwb_video_preview",))
    assert found["figpack"].found == "FIGPACK_API_KEY is not set"
    assert "figpack" not in found_by_doctor(tmp_path, worker.url, job_types=("hello_world",))


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (as_json({"success": False, "message": "No such figure"}, 404), OK),
        (as_json({"success": False, "message": "Bad request"}, 400), OK),
        (as_json({"success": False, "message": "Invalid API key"}, 401), WARNING),
        (html(404), WARNING),
        (html(502), WARNING),
        (Answer(400, b"[" * 100_000), WARNING),
    ],
)
def test_figpack_and_its_key(tmp_path, worker, answer, state):
    """The key is checked with a request that creates no figure."""
    worker.on("POST /figpack/upload", answer)
    url = f"{worker.url}/figpack/"
    found = found_by_doctor(
        tmp_path, worker.url, job_types=(RASTER,), FIGPACK_API_BASE_URL=url, FIGPACK_API_KEY="k"
    )
    assert found["figpack"].state == state
    (request,) = [each for each in worker.requests if each.path == "/figpack/upload"]
    assert (request.json, request.headers["x-api-key"]) == ({}, "k")


def test_push_is_checked_where_it_is_set_up(tmp_path, worker):
    """Server and key are tried under another id: a message must not be taken from the runner."""
    assert "push" not in found_by_doctor(tmp_path, worker.url)
    with RelayServer() as relay:
        push = found_by_doctor(tmp_path, worker.url, **relay.environ)["push"]
        assert (push.state, push.found) == (OK, f"{relay.url} accepts the key")
        assert [each.json["subscriber_id"] for each in relay.requests] == ["lab-1-doctor"]


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"NOTIFY_RELAY_SUBSCRIBE_KEY": "wrong"}, "refuses the key"),
        ({"NOTIFY_RELAY_SUBSCRIBE_KEY": ""}, "NOTIFY_RELAY_SUBSCRIBE_KEY is not set"),
        ({"NOTIFY_RELAY_BASE_URL": "http://relay.example"}, "is plain http"),
    ],
)
def test_push_that_would_not_work(tmp_path, worker, variables, text):
    """It is a warning, since the runner polls all the same."""
    with RelayServer() as relay:
        environ = {**relay.environ, **variables}
        push = found_by_doctor(tmp_path, worker.url, **environ)["push"]
        assert (push.state, bool(push.advice)) == (WARNING, True)
        assert text in push.found


def test_a_push_server_that_is_none(tmp_path, worker, closed_port):
    """What was found names its URL."""
    with RelayServer() as relay:
        relay.on(POLL, html(502))
        for url, text in ((relay.url, "502"), (f"http://127.0.0.1:{closed_port}", "refused")):
            push = found_by_doctor(tmp_path, worker.url, **environ_for(url))["push"]
            assert (push.state, bool(push.advice)) == (WARNING, True)
            assert f"{url}/poll: " in push.found
            assert text in push.found
