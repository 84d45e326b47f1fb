"""A real runner process against a scripted worker, where all goes well or is the operator's."""

import json
import re
import signal
import sys
import time

import core_fixtures
import pytest
from core_fixtures import KEY, RUNNER_ID, Process, job, script_a_worker
from scripted_server import Answer, as_json, drop, ok
from waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")

AVAILABLE = "GET /api/runner/jobs/available"
REGISTER = "POST /api/runner/register"
VERIFY = "GET /api/runner/verify"
COMPLETE = "POST /api/runner/jobs/*/complete"
CLAIM = "POST /api/runner/jobs/*/claim"

LINE = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] (?:DEBUG|INFO|WARNING|ERROR|CRITICAL): .+\n")


class RunnerProcess(Process):
    """`devaria runner` with hello_world jobs, polling ten times a second."""

    def __init__(self, url, directory, *arguments, **variables):
        variables = {
            "DEVARIA_RUNNER_API_KEY": KEY,
            "DEVARIA_WORKER_URL": url,
            "DEVARIA_DIR": str(directory),
            "DEVARIA_TYPES": "hello_world",
            "DEVARIA_POLL_INTERVAL": "0.1",
            **variables,
        }
        super().__init__("-m", "devaria", "runner", *arguments, variables=variables)

    def ended(self):
        """Wait for its end; return the exit code. There must be no traceback."""
        code = self.wait()
        assert "\nTraceback" not in f"\n{self.output}"  # those of jobs are indented
        return code

    def interrupted(self):
        """End it as Ctrl-C does; return the exit code."""
        self.signal(signal.SIGINT)
        return self.ended()


def state_file(directory):
    """The runner's file."""
    return directory / ".devaria_runner.json"


def known(directory, runner_id=RUNNER_ID):
    """Write a runner's file, as an earlier run leaves it."""
    content = {"runner_id": runner_id, "runner_name": "runner-x"}
    state_file(directory).write_text(json.dumps(content), encoding="utf-8")


def routes(server):
    """The requests, without job ids in the runner's routes."""
    return [re.sub(r"/jobs/j[^/]*/", "/jobs/*/", each) for each in server.trace()]


# --- who it is -------------------------------------------------------------------------------


def test_a_first_start_registers_and_keeps_the_id(server, tmp_path):
    """It sends its name and job types, then polls under the new id."""
    script_a_worker(server)

    with RunnerProcess(server.url, tmp_path) as runner:
        poll = server.wait_for(AVAILABLE)
        assert runner.interrupted() == 0

    registered = server.wait_for(REGISTER)
    assert registered.headers["authorization"] == f"Bearer {KEY}"
    assert registered.json["capabilities"] == ["hello_world"]
    name = registered.json["name"]
    assert re.fullmatch(r"runner-.+-[0-9a-f]{8}", name)
    assert json.loads(state_file(tmp_path).read_text(encoding="utf-8")) == {
        "runner_id": RUNNER_ID,
        "runner_name": name,
    }
    assert poll.headers["x-runner-id"] == RUNNER_ID
    assert poll.query == [("types[]", "hello_world")]
    assert f"Registered as {name} (id {RUNNER_ID})" in runner.output


def test_a_known_id_is_verified_and_used(server, tmp_path):
    """It does not register again."""
    script_a_worker(server)
    known(tmp_path)

    with RunnerProcess(server.url, tmp_path, "--burst") as runner:
        assert runner.ended() == 0

    assert server.wait_for(VERIFY).headers["x-runner-id"] == RUNNER_ID
    assert server.seen(REGISTER) == []
    assert f"Verified as runner-x (id {RUNNER_ID})" in runner.output


def test_an_id_that_the_worker_does_not_know_is_replaced(server, tmp_path):
    """The runner registers again, and logs that."""
    script_a_worker(server)
    server.on(VERIFY, as_json({"exists": False, "message": "Runner not found"}, 404))
    known(tmp_path, "forgotten-id")

    with RunnerProcess(server.url, tmp_path, "--burst") as runner:
        assert runner.ended() == 0

    assert "the worker does not know runner id forgotten-id" in runner.output
    assert json.loads(state_file(tmp_path).read_text(encoding="utf-8"))["runner_id"] == RUNNER_ID
    assert server.wait_for(AVAILABLE).headers["x-runner-id"] == RUNNER_ID


def test_a_corrupt_file_is_set_aside_and_said(server, tmp_path):
    """The runner then registers again."""
    script_a_worker(server)
    state_file(tmp_path).write_bytes(b"\x00garbage")

    with RunnerProcess(server.url, tmp_path, "--burst") as runner:
        assert runner.ended() == 0

    (aside,) = tmp_path.glob(".devaria_runner.json.corrupt-*")
    assert aside.read_bytes() == b"\x00garbage"
    assert f"set aside as {aside.name}" in runner.output
    assert len(server.seen(REGISTER)) == 1


@pytest.mark.parametrize("is_known", [False, True])
def test_a_refused_key_ends_it_at_once(server, tmp_path, is_known):
    """It has a message and an exit code of its own, since trying again would not help."""
    refusal = as_json({"error": "Invalid API key"}, 401)
    server.on("*", refusal)
    if is_known:
        known(tmp_path)

    with RunnerProcess(server.url, tmp_path) as runner:
        assert runner.ended() == 4

    assert len(server.requests) == 1
    assert "Error: " in runner.output
    assert "401 Invalid API key" in runner.output


def test_an_interrupt_ends_the_wait_for_a_worker_that_is_not_there(closed_port, tmp_path):
    """It would wait for 5 minutes."""
    with RunnerProcess(f"http://127.0.0.1:{closed_port}", tmp_path) as runner:
        runner.wait_for_line("trying again: ")
        started = time.monotonic()

        assert runner.interrupted() == 0
        assert time.monotonic() - started < 5


# --- jobs ------------------------------------------------------------------------------------


def test_a_job_is_polled_claimed_beaten_for_and_completed(server, tmp_path):
    """The requests come in this order. A heartbeat sends progress and console meanwhile."""
    script_a_worker(server, [job("j-1", name="Alice", processing_time=2.2)])

    with RunnerProcess(server.url, tmp_path, "--burst") as runner:
        assert runner.ended() == 0

    beat = server.wait_for("POST /api/runner/jobs/j-1/heartbeat").json
    assert 0 < beat["progress_current"] <= 2.2
    assert beat["progress_total"] == 2.2
    assert "Starting hello_world job for Alice" in beat["console_output"]
    report = server.wait_for("POST /api/runner/jobs/j-1/complete").json
    assert report["output_data"] == {"message": "Hello, Alice!", "processing_time": 2.2}
    assert "Completed!" in report["console_output"]
    asked = routes(server)
    steps = [asked.index(each) for each in (AVAILABLE, CLAIM, COMPLETE)]
    assert steps == sorted(steps)
    assert asked[-1] == AVAILABLE
    for part in ("Job j-1 (hello_world) started", "Job j-1 succeeded", "reported as completed"):
        assert part in runner.output
    assert list((tmp_path / ".devaria_jobs").iterdir()) == []


def test_a_job_of_wrong_parameters_is_reported_as_an_error(server, tmp_path):
    """The error has the handler's reason. There is no traceback, since this is foreseen."""
    script_a_worker(server, [job("j-1", name=5, processing_time=0)])

    with RunnerProcess(server.url, tmp_path, "--burst") as runner:
        assert runner.ended() == 0

    report = server.wait_for("POST /api/runner/jobs/j-1/error").json
    assert report["error_message"] == "Invalid parameters: name must be a string, not 5"
    assert report["console_output"] == ""
    assert server.seen(COMPLETE) == []


def test_a_lost_race_moves_on_to_the_next_job_of_the_list(server, tmp_path):
    """It does not ask for another list or about the lost job, and does not run that."""
    script_a_worker(server, [job("j-1"), job("j-2")])
    taken = as_json({"success": False, "message": "Job already claimed or not found"}, 409)
    server.on("POST /api/runner/jobs/j-1/claim", taken)

    with RunnerProcess(server.url, tmp_path, "--burst") as runner:
        assert runner.ended() == 0

    assert [each.path.split("/")[-2] for each in server.seen(COMPLETE)] == ["j-2"]
    # Between the claims it asks whose job it is: an earlier claim may have been sent twice.
    assert len(server.seen(CLAIM)) == 2
    assert routes(server).count("GET /api/runner/jobs/available") == 2


def test_a_claim_that_acts_late_is_found_out(server, tmp_path):
    """The claim was answered with errors and the job looked pending, but the next claim wins it."""
    script_a_worker(server, [job("j-1")], [job("j-1")])
    failed = as_json({"error": "Failed to claim job"}, 500)
    taken = as_json({"success": False, "message": "Job already claimed or not found"}, 409)
    server.on("POST /api/runner/jobs/j-1/claim", failed, failed, taken)
    detail = {**job("j-1"), "claimed_by": None, "status": "pending"}
    ours = {**detail, "claimed_by": RUNNER_ID, "status": "claimed"}
    server.on("GET /api/admin/jobs/j-1", as_json(detail), as_json(detail), as_json(ours))

    with RunnerProcess(server.url, tmp_path) as runner:
        server.wait_for(COMPLETE)
        assert runner.interrupted() == 0

    assert len(server.seen(CLAIM)) == 3


def test_a_claim_that_a_proxy_sent_twice_is_no_lost_one(server, tmp_path):
    """The second one is answered with 409, though this runner has the job."""
    script_a_worker(server, [job("j-1")])
    taken = as_json({"success": False, "message": "Job already claimed or not found"}, 409)
    server.on("POST /api/runner/jobs/j-1/claim", taken)
    ours = {**job("j-1"), "claimed_by": RUNNER_ID, "status": "claimed"}
    server.on("GET /api/admin/jobs/j-1", as_json(ours))

    with RunnerProcess(server.url, tmp_path, "--burst") as runner:
        assert runner.ended() == 0

    assert len(server.seen(COMPLETE)) == 1


# --- jobs that cannot be run, or not be claimed -----------------------------------------------


def test_what_cannot_be_run_is_claimed_and_reported(server, tmp_path):
    """Fifty such jobs at the head of the queue would hide all others for ever."""
    deep = json.loads('{"a":' * 300 + "1" + "}" * 300)
    params = [[1], "text", 7, None, deep]
    poison = [
        {**job(f"p-{number:02}"), "input_params": params[number % 5], "created_at": 1e300}
        for number in range(50)
    ]
    script_a_worker(server, poison, [job("j-1")])

    with RunnerProcess(server.url, tmp_path, "--burst") as runner:
        assert runner.ended() == 0

    errors = server.seen("POST /api/runner/jobs/*/error")
    assert [each.path.split("/")[-2] for each in errors] == [each["job_id"] for each in poison]
    assert [each.json["error_message"] for each in errors[:5]] == [
        "Invalid parameters: they must be an object, not a list",
        "Invalid parameters: they must be an object, not a string",
        "Invalid parameters: they must be an object, not a number",
        "Invalid parameters: they must be an object, not null",
        "Invalid parameters: they are nested more than 200 levels deep",
    ]
    assert [each.path.split("/")[-2] for each in server.seen(COMPLETE)] == ["j-1"]
    assert "Job p-00 failed: Invalid parameters" in runner.output


@pytest.mark.parametrize("job_id", ["é/ü?#%", "..", "a\nb", "x" * 5_000, "\u202e", " "])
def test_odd_ids_neither_end_it_nor_hide_other_jobs(server, tmp_path, job_id):
    """As far as a URL can name them, they are claimed."""
    script_a_worker(server, [job(job_id), job("j-1")])

    with RunnerProcess(server.url, tmp_path, "--burst") as runner:
        assert runner.ended() == 0

    assert server.seen("POST /api/runner/jobs/j-1/complete")


#: What claims of one job are answered with, for ever.
REFUSALS = [
    Answer(500, b"<html>oops</html>", {"Content-Type": "text/html"}),
    as_json({"error": "Failed to claim job"}, 500),
    as_json({"error": "Job not found"}, 404),
    Answer(403, b"<html>blocked</html>", {"Content-Type": "text/html"}),
    as_json({"error": "no"}, 400),
    as_json({"error": "too much"}, 413),
    as_json({"success": True, "message": "ok"}),
    as_json({"success": False, "message": "no"}),
    drop("read"),
    Answer(200, b"{}", {"Content-Type": "application/json; charset=idna"}),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=[f"{a.status}-{a.body[:20]}" for a in REFUSALS])
def test_a_claim_that_fails_is_left_for_some_time(server, tmp_path, refusal):
    """It is tried three times; the next jobs are run, and the log says so once."""
    jobs = [job("bad"), job("j-1"), job("j-2")]
    script_a_worker(server, jobs, [job("bad")], [job("bad"), job("j-3")])
    listed = {each["job_id"]: each for each in [*jobs, job("j-3")]}
    for job_id in ("j-1", "j-2", "j-3"):
        server.on(f"POST /api/runner/jobs/{job_id}/claim", ok(success=True, job=listed[job_id]))
    server.on("POST /api/runner/jobs/bad/claim", refusal)
    pending = {**job("bad"), "status": "pending", "claimed_by": None}
    server.on("GET /api/admin/jobs/bad", as_json(pending))

    with RunnerProcess(server.url, tmp_path) as runner:
        server.wait_for("POST /api/runner/jobs/j-3/complete")
        assert runner.interrupted() == 0

    assert [each.path.split("/")[-2] for each in server.seen(COMPLETE)] == ["j-1", "j-2", "j-3"]
    assert len(server.seen("POST /api/runner/jobs/bad/claim")) == 3
    assert runner.output.count("Job bad cannot be claimed, trying it again in 10 minutes: ") == 1
    # The claim may still act: the next start asks.
    entry = (tmp_path / ".devaria_jobs" / "bad" / "entry.json").read_text()
    assert json.loads(entry)["state"] == "claiming"


def test_a_job_that_is_listed_and_always_anothers_is_left_for_some_time(server, tmp_path):
    """Two such jobs at the head of a list would look like two lost races, each time."""
    lost = [job("l-1"), job("l-2"), job("l-3")]
    script_a_worker(server, *([*lost, job(f"j-{n}")] for n in range(12)))
    taken = as_json({"success": False, "message": "Job already claimed or not found"}, 409)
    server.on("POST /api/runner/jobs/l-*/claim", taken)

    with RunnerProcess(server.url, tmp_path) as runner:
        server.wait_for(COMPLETE)
        wait_until(
            lambda: runner.output.count("cannot be claimed") == 3, context=lambda: runner.output
        )
        assert runner.interrupted() == 0

    for each in lost:
        assert len(server.seen(f"POST /api/runner/jobs/{each['job_id']}/claim")) == 3
    assert not list((tmp_path / ".devaria_jobs").iterdir())


def test_a_list_of_fifty_is_gone_through_without_asking_again(server, tmp_path):
    """The jobs run in the list's order. This keeps a runner within the worker's rate limit."""
    jobs = [job(f"j-{number:02}") for number in range(50)]
    script_a_worker(server, jobs)

    with RunnerProcess(server.url, tmp_path, "--burst") as runner:
        assert runner.ended() == 0

    claims = [each.path.split("/")[-2] for each in server.seen(CLAIM)]
    assert claims == [each["job_id"] for each in jobs]
    assert len(server.seen(COMPLETE)) == 50
    assert len(server.seen(AVAILABLE)) == 2
    assert "Ended after 50 jobs" in runner.output


def test_after_a_job_it_polls_again_at_once(server, tmp_path):
    """It sleeps only after a poll that found no job."""
    script_a_worker(server, [job("j-1")], [job("j-2")])

    with RunnerProcess(server.url, tmp_path, "--poll-interval", "3600") as runner:
        server.wait_for("POST /api/runner/jobs/j-2/complete")
        server.wait_for(AVAILABLE, 3)
        assert runner.interrupted() == 0


def test_max_jobs_ends_it_after_so_many(server, tmp_path):
    """The next job is not claimed."""
    script_a_worker(server, [job("j-1"), job("j-2"), job("j-3")])

    with RunnerProcess(server.url, tmp_path, "--max-jobs", "2") as runner:
        assert runner.ended() == 0

    assert [each.path.split("/")[-2] for each in server.seen(CLAIM)] == ["j-1", "j-2"]


def test_types_and_handlers_decide_what_is_asked_for(server, tmp_path):
    """A handler under development is offered, asked for and run like a built-in one."""
    script_a_worker(server, [job("j-1", "test", x=1)])
    arguments = ("--types", "test,hello_world", "--handlers", "test=misbehaving_handlers:Returns")

    with RunnerProcess(server.url, tmp_path, *arguments, DEVARIA_BURST="1") as runner:
        assert runner.ended() == 0

    assert server.wait_for(REGISTER).json["capabilities"] == ["test", "hello_world"]
    types = [("types[]", "test"), ("types[]", "hello_world")]
    assert server.wait_for(AVAILABLE).query == types
    assert server.wait_for(COMPLETE).json == {
        "output_data": {"params": {"x": 1}},
        "console_output": "working\n",
    }


def test_a_type_that_cannot_run_here_is_not_offered(server, tmp_path):
    """The log says why at start: without a key for its figures the raster job would only fail."""
    script_a_worker(server)

    with RunnerProcess(server.url, tmp_path, "--burst", DEVARIA_TYPES="") as runner:
        assert runner.ended() == 0

    assert server.wait_for(REGISTER).json["capabilities"] == ["hello_world"]
    assert "Job type figpack_nwb_raster_plot is not offered: " in runner.output


def test_parameters_without_bottom_do_not_reach_the_handler(server, tmp_path):
    """A stranger's job must not end the runner, nor keep it from the jobs of others."""
    script_a_worker(server, [job("j-1"), job("j-2")])
    deep = '{"a":' * 5_000 + "1" + "}" * 5_000
    poison = f'{{"job_id": "j-1", "job_type": "hello_world", "input_params": {deep}}}'
    good = json.dumps(job("j-2"))
    body = f'{{"jobs": [{poison}, {good}]}}'.encode()
    server.on(AVAILABLE, core_fixtures.Answer(body=body), core_fixtures.ok(jobs=[]))

    with RunnerProcess(server.url, tmp_path, "--burst") as runner:
        assert runner.ended() == 0

    assert [each.path.split("/")[-2] for each in server.seen(COMPLETE)] == ["j-2"]
    (error,) = server.seen("POST /api/runner/jobs/j-1/error")
    assert "nested more than 200 levels" in error.json["error_message"]


# --- directory, log, connections -------------------------------------------------------------


def test_a_second_runner_in_one_directory_is_told_who_has_it(server, tmp_path):
    """It exits with a code of its own; the first goes on."""
    script_a_worker(server)

    with RunnerProcess(server.url, tmp_path) as first:
        server.wait_for(AVAILABLE)
        with RunnerProcess(server.url, tmp_path) as second:
            assert second.ended() == 6
        assert f"another runner (process {first.pid}) works in {tmp_path}" in second.output
        server.wait_for(AVAILABLE, len(server.seen(AVAILABLE)) + 2)
        assert first.interrupted() == 0


def test_every_line_of_the_log_is_of_one_form_in_both_places(server, tmp_path):
    """An idle runner logs nothing, and uses one connection."""
    script_a_worker(server)

    with RunnerProcess(server.url, tmp_path) as runner:
        runner.wait_for_line("Polling every")
        server.wait_for(AVAILABLE, 3)
        at_first = list(runner.lines)
        server.wait_for(AVAILABLE, 13)
        assert list(runner.lines) == at_first
        assert runner.interrupted() == 0

    assert all(LINE.fullmatch(line) for line in runner.lines)
    assert (tmp_path / "devaria_runner.log").read_text(encoding="utf-8") == runner.output
    assert {request.connection for request in server.seen(AVAILABLE)} == {1}


def test_the_key_is_in_no_file_and_no_output(server, tmp_path):
    """This holds for the verbose log, and for a job that prints the key."""
    script_a_worker(server, [job("j-1", name=KEY, processing_time=0)])

    with RunnerProcess(server.url, tmp_path, "--burst", "-v") as runner:
        assert runner.ended() == 0

    assert KEY not in runner.output
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 3
    assert not any(KEY.encode() in path.read_bytes() for path in files)
    assert KEY not in server.wait_for(COMPLETE).json["console_output"]
