"""The rows of the contract's fault table, each with real processes and a real worker."""

import json
import signal
import time

import pytest
from fault_proxy import (
    ANY,
    act_late,
    answered,
    cut_after,
    cut_before,
    hang,
    html_page,
    not_successful,
    rate_limited,
    server_error,
    unauthorized,
)
from lab import QUICK_HEARTBEATS, QUICK_TRIES, is_running
from waiting import wait_until

#: A report that is refused again and again is given up after a few tries, not after many.
FEW_REPEATS = {
    "repeats_for_less_console": 1,
    "repeats_for_loss": 2,
    **QUICK_TRIES,
}
QUICK_REQUESTS = {
    "read_timeout_sec": 0.5,
    "poll_wait_sec": 1,
    "wait_grace_sec": 0.5,
    **QUICK_TRIES,
}

# --- the worker at the runner's start --------------------------------------------------------


def test_worker_down_at_start(lab):
    """A runner that finds no worker says so once, waits for it, and then works."""
    job_id = lab.submit("good")
    lab.proxy.refuse()
    runner = lab.runner()
    runner.wait_for("trying again")
    lab.proxy.accept()
    assert lab.ended(job_id).status == "completed"
    runner.end()
    assert runner.output().count("does not answer as it should") == 1
    assert runner.output().count("the worker answers again") == 1


def test_worker_that_stays_down_at_start(lab):
    """A runner that finds no worker for too long gives up with its own exit code."""
    lab.proxy.refuse()
    patience = {"start_patience_sec": 0.5}
    runner = lab.runner(timing={**QUICK_TRIES, **patience})
    assert runner.wait() == 5
    assert "gave up on the worker" in runner.output()
    runner.check_sanity()


def test_401_at_start(lab):
    """A key that the worker refuses ends the start with its own exit code and no traceback."""
    runner = lab.runner(environ={"DEVARIA_RUNNER_API_KEY": "another-key"})
    assert runner.wait() == 4
    assert "Invalid API key" in runner.output()
    runner.check_sanity()


@pytest.mark.parametrize(
    "fault",
    [
        server_error,
        answered(404, {"error": "Not found"}),
        answered(404, "<html>no such site</html>", "text/html"),
        html_page,
    ],
    ids=["500", "404", "404 html", "200 html"],
)
@pytest.mark.parametrize("route", ["register", "verify"])
def test_404_or_500_at_start(lab, route, fault):
    """A worker that does not answer as one at start is asked again until it does."""
    if route == "verify":
        lab.runner("--burst").wait()
    rule = lab.proxy.on(route, fault, times=1)
    job_id = lab.submit("good")
    runner = lab.runner("--burst", timing=QUICK_TRIES)
    assert runner.wait() == 0
    assert rule.hits == 1
    assert lab.job(job_id).status == "completed"
    assert len([e for e in lab.proxy.passed("register") if e.worker_status == 201]) == 1
    runner.check_sanity()


@pytest.mark.parametrize("option", ["x=no_such_module:X", "x=misbehaviour:NoSuchClass", "x="])
def test_handlers_that_cannot_be_loaded(lab, option):
    """A handler that cannot be loaded is not offered, with a reason; the others are."""
    runner = lab.runner("--burst", "--handlers", option)
    assert runner.wait() == 0
    assert "Job type x is not offered: " in runner.output()
    assert "Job types: hello_world" in runner.output()
    runner.check_sanity()


def test_unknown_id_at_start(lab):
    """A runner id that the worker does not know is replaced, with no file to be deleted by hand."""
    lab.directory.mkdir()
    file = lab.directory / ".devaria_runner.json"
    file.write_text(json.dumps({"runner_id": "long-gone", "runner_name": "old"}))
    job_id = lab.submit("good")
    runner = lab.runner("--burst")
    assert runner.wait() == 0
    assert lab.job(job_id).status == "completed"
    assert json.loads(file.read_text())["runner_id"] == lab.job(job_id).claimed_by
    assert "does not know runner id long-gone" in runner.output()


# --- the worker while it is polled -----------------------------------------------------------


def test_worker_restarted_while_polls_wait(lab):
    """It answers the poll at its end; the runner waits for it, and then takes the next job."""
    # Any poll's interval would take longer than the test.
    runner = lab.runner("--poll-interval", "3600", timing=QUICK_TRIES)
    wait_until(lambda: lab.waiting == 1, "a poll that waits")
    lab.worker.stop()
    runner.wait_for("trying again")
    lab.worker._port = lab.worker._bound_port
    lab.worker.start()
    wait_until(lambda: lab.waiting == 1, "a poll that waits")
    assert lab.ended(lab.submit("good")).status == "completed"
    runner.end()
    assert runner.output().count("answers again") == 1


def test_runner_killed_while_its_poll_waits(lab):
    """The job that it is told of goes to another runner, and the next start of it waits again."""
    options = ("--poll-interval", "3600")
    runner = lab.runner(*options)
    wait_until(lambda: lab.waiting == 1, "a poll that waits")
    runner.kill()  # the proxy keeps the connection to the worker: nothing tells that it is dead
    other = lab.runner(*options, directory=lab.tmp_path / "other")
    wait_until(lambda: lab.waiting == 2, "another poll that waits")
    assert lab.ended(lab.submit("good")).status == "completed"
    again = lab.runner(*options)
    again.wait_for("Polling")
    assert lab.ended(lab.submit("good")).status == "completed"
    other.end()
    again.end()


def test_max_idle_ends_a_runner_whose_poll_waits(lab):
    """A wait is never longer than the time that the runner has."""
    runner = lab.runner("--max-idle", "2", "--poll-interval", "3600")
    assert runner.wait() == 0
    runner.check_sanity()


def test_worker_down_while_polling(lab):
    """An outage is one warning and one recovery; the waits start short again after each."""
    runner = lab.runner(timing=QUICK_TRIES)
    runner.wait_for("Polling")
    for outage in (1, 2):
        lab.proxy.refuse()
        wait_until(
            lambda n=outage: runner.output().count("trying again") == n, "the outage's warning"
        )
        time.sleep(0.5)  # several polls' time: more warnings would come now
        lab.proxy.accept()
        healed = time.monotonic()
        wait_until(lambda n=outage: runner.output().count("answers again") == n, "the recovery")
        assert time.monotonic() - healed < 5
    assert lab.ended(lab.submit("good")).status == "completed"
    runner.end()
    assert runner.output().count("trying again") == 2


def test_worker_down_until_a_bound_is_reached(lab):
    """A runner that may run only so long does not wait beyond that for its worker."""
    runner = lab.runner("--max-time", "3", timing=QUICK_TRIES)
    runner.wait_for("Polling every")
    lab.proxy.refuse()
    assert runner.wait() == 5
    assert "gave up on the worker" in runner.output()
    runner.check_sanity()


def test_reset_time_while_polling(lab):
    """A 429 while polling is obeyed: no request comes before its resetTime, and one soon after."""
    rule = lab.proxy.on("available", rate_limited(1.5), times=1)
    job_id = lab.submit("good")
    lab.runner()
    assert lab.ended(job_id).status == "completed"
    assert rule.hits == 1
    limited, following = lab.proxy.passed("available")[:2]
    assert 1.4 < following.at - limited.at < 5


@pytest.mark.parametrize(
    "fault",
    [
        answered(404, {"message": "no upstream"}),
        answered(400, {"error": "Bad gateway configuration"}),
        answered(302, ""),
        answered(200, {"jobs": [{"job_id": 5}, None]}),
    ],
    ids=["404", "400", "302", "no jobs"],
)
def test_strange_answer_while_polling(lab, fault):
    """A poll that is answered as no worker would does not end a runner."""
    rule = lab.proxy.on("available", fault, times=2)
    job_id = lab.submit("good")
    runner = lab.runner(timing=QUICK_TRIES)
    assert lab.ended(job_id).status == "completed"
    assert rule.hits == 2
    runner.end()


def test_401_while_running(lab):
    """A key that is refused while running is said once and tried again; what is owed is kept."""
    job = lab.submit_waiting()
    runner = lab.runner(timing={"unauthorized_wait_sec": 0.3})
    job.wait_for_start()
    rule = lab.proxy.on(ANY, unauthorized)
    job.let_go()
    wait_until(lambda: len(lab.proxy.passed("complete")) >= 3, "three tries")
    assert [entry["state"] for entry in lab.journal()] == ["done"]
    rule.lift()
    assert lab.ended(job.job_id).status == "completed"
    runner.end()
    assert runner.output().count("the worker does not answer as it should") == 1


# --- a claim --------------------------------------------------------------------------------


def completes_all_the_same(lab, timing=QUICK_TRIES):
    """Run a runner until it finds nothing more; check that the lab's one job was completed."""
    job_id = lab.submit("good")
    runner = lab.runner(timing=timing)
    job = lab.ended(job_id)
    assert (job.status, job.error) == ("completed", None)
    wait_until(lambda: not lab.journal(), "an empty journal")
    runner.end()
    assert not lab.proxy.passed("error")
    assert len([e for e in lab.proxy.passed("complete") if e.worker_status == 200]) == 1
    return runner


@pytest.mark.parametrize(
    "fault",
    [cut_before, cut_after, server_error, html_page, not_successful, rate_limited(0.2)],
    ids=["cut before", "cut after", "500", "200 html", "success false", "429"],
)
def test_claim_answer_lost(lab, fault):
    """A claim without a usable answer ends in the job done once, whether it had acted or not."""
    rule = lab.proxy.on("claim", fault, times=1)
    completes_all_the_same(lab)
    assert rule.hits == 1


def test_claim_answer_lost_with_the_network(lab):
    """A claim that acted before the network went is found out after it came back."""
    lab.proxy.on("claim", cut_after, times=1)
    rule = lab.proxy.on(ANY, cut_before, skip=3)
    job_id = lab.submit("good")
    runner = lab.runner(timing=QUICK_TRIES)
    # More than the tries after which a job is set aside: an outage is no fault of the job's.
    wait_until(lambda: rule.hits >= 8, "requests that are lost")
    assert lab.job(job_id).claimed_by is not None
    assert [entry["state"] for entry in lab.journal()] == ["claiming"]
    rule.lift()
    assert lab.ended(job_id).status == "completed"
    runner.end()


def test_claim_that_acts_late(lab):
    """A claim that the worker gets only after its runner has given up waiting is no orphan."""
    rule = lab.proxy.on("claim", act_late, times=1)
    job_id = lab.submit("good")
    lab.proxy.on("detail", lambda forward, _: _after(forward, rule.lift), times=1)
    lab.proxy.on("claim", lambda forward, _: _before(rule, forward, lab, job_id), times=1)
    runner = lab.runner(timing=QUICK_REQUESTS)
    assert lab.ended(job_id).status == "completed"
    runner.end()


def _after(forward, act):
    answer = forward()
    act()
    return answer


def _before(rule, forward, lab, job_id):
    rule.lift()
    wait_until(lambda: lab.job(job_id).status != "pending", "the late claim")
    return forward()


def test_two_runners_race(lab):
    """A runner that loses one job to another goes on with the rest of its list."""
    jobs = [lab.submit("good") for _ in range(5)]

    def with_rival(forward, _lifted):
        answer = forward()
        rival = lab.runner_client()
        rival_id = rival.register("rival", ["good"])
        rival.claim(rival_id, jobs[0])
        rival.complete(rival_id, jobs[0], {"rival": True}, "")
        rival.close()
        return answer

    lab.proxy.on("available", with_rival, times=1)
    runner = lab.runner()
    assert [lab.ended(job_id).status for job_id in jobs] == ["completed"] * 5
    assert lab.job(jobs[0]).output_data == {"rival": True}
    first_list = lab.proxy.passed("available")[0].at
    second_list = wait_until(lambda: lab.proxy.passed("available")[1:], "a second poll")[0].at
    claims = [e for e in lab.proxy.passed("claim") if first_list < e.at < second_list]
    claimed = [e.job_id for e in claims]
    # After a lost race the order is a random one, so that two runners do not race for each job.
    assert claimed[0] == jobs[0]
    assert sorted(claimed) == sorted(jobs)
    runner.end()


def test_two_runners_at_once(lab):
    """Two runners drain one queue: each job is reported once, and both are alive after it."""
    jobs = [lab.submit("good") for _ in range(8)]
    runners = [lab.runner(directory=lab.tmp_path / name) for name in ("one", "two")]
    assert [lab.ended(job_id).status for job_id in jobs] == ["completed"] * 8
    for runner in runners:
        runner.end()
    assert len(lab.proxy.passed("complete")) == 8


# --- a report -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "times"),
    [
        (server_error, 1),
        (server_error, 3),
        (rate_limited(0.3), 1),
        (cut_before, 1),
        (html_page, 1),
        (not_successful, 1),
    ],
    ids=["500 once", "500", "429", "cut before", "200 html", "success false"],
)
def test_complete_fails(lab, fault, times):
    """A result whose report fails once or several times arrives; no error is reported for it."""
    rule = lab.proxy.on("complete", fault, times=times)
    completes_all_the_same(lab)
    assert rule.hits == times


def test_400_of_a_job_that_is_still_ours(lab):
    """A report that is refused as not ours, while the job is, is sent again."""
    refusal = {"success": False, "message": "Job not found or not claimed by this runner"}
    rule = lab.proxy.on("complete", answered(400, refusal), times=2)
    completes_all_the_same(lab)
    assert rule.hits == 2


@pytest.mark.parametrize(
    "fault",
    [cut_after, lambda *a: _after(a[0], lambda: None) and server_error(*a)],
    ids=["cut after", "500 after"],
)
def test_complete_answer_lost(lab, fault):
    """A result that arrived though its answer did not is a success, with no error after it."""
    lab.proxy.on("complete", fault, times=1)
    runner = completes_all_the_same(lab)
    assert "reported as completed" in runner.output()


def test_complete_answer_lost_with_odd_values(lab):
    """A result is known again as JavaScript keeps it: numbers in its form, any text."""
    lab.proxy.on("complete", cut_after, times=1)
    value = [-0.0, 1.0, 1e22, 1e-7, 0.1, 2**53, "\u2028 \x00 \U0001f9e0 é", {"b": 1, "a": {}}]
    job_id = lab.submit("echoes", value=value)
    runner = lab.runner()
    assert lab.ended(job_id).status == "completed"
    runner.wait_for("reported as completed")
    runner.end()


def test_error_answer_lost(lab):
    """An error that arrived though its answer did not is known to have arrived."""
    lab.proxy.on("error", cut_after, times=1)
    job_id = lab.submit("raises", what="error")
    runner = lab.runner()
    assert "the disk is on fire" in lab.ended(job_id).error
    runner.wait_for("reported as failed")
    runner.end()


def test_refused_over_the_end_of_a_job(lab):
    """A worker that cannot be reached while a job ends gets its result when it is back."""
    job = lab.submit_waiting()
    runner = lab.runner()
    job.wait_for_start()
    lab.proxy.refuse()
    job.let_go()
    runner.wait_for("trying again")
    assert [entry["state"] for entry in lab.journal()] == ["done"]
    lab.proxy.accept()
    assert lab.ended(job.job_id).output_data == {"waited": True}
    runner.end()


def test_heartbeats_go_on_while_a_report_is_owed(lab):
    """While a report is owed its job's heartbeats go on, and no other job is claimed."""
    rule = lab.proxy.on("complete", server_error)
    jobs = [lab.submit("good") for _ in range(2)]
    runner = lab.runner(timing=QUICK_HEARTBEATS)
    wait_until(lambda: rule.hits, "a report")
    beats = len(lab.proxy.passed("heartbeat"))
    wait_until(lambda: len(lab.proxy.passed("heartbeat")) >= beats + 4, "heartbeats")
    assert [e.job_id for e in lab.proxy.passed("claim")] == jobs[:1]
    rule.lift()
    assert [lab.ended(job_id).status for job_id in jobs] == ["completed"] * 2
    runner.end()


def test_500_on_both_reports(lab):
    """A worker that fails on complete and error alike gets the result when it has recovered."""
    rules = [lab.proxy.on(route, server_error) for route in ("complete", "error", "heartbeat")]
    job_id = lab.submit("good")
    runner = lab.runner(timing=QUICK_TRIES)
    wait_until(lambda: rules[0].hits >= 3, "three reports")
    for rule in rules:
        rule.lift()
    assert lab.ended(job_id).status == "completed"
    runner.end()


def test_500_for_one_body_for_ever(lab):
    """A body on which the worker always fails is sent with less, and at last as an error."""
    lab.proxy.on("complete", server_error)
    job_id = lab.submit("floods", what="console")
    runner = lab.runner(timing=FEW_REPEATS)
    job = lab.ended(job_id)
    assert job.status == "failed"
    assert "the worker refused the result" in job.error
    sizes = [len(e.body["console_output"]) for e in lab.proxy.passed("complete")]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 0
    runner.end()


def test_report_that_is_always_refused(lab):
    """A job of which every report is refused for good stays in the journal, and is tried on."""
    rules = [
        lab.proxy.on(route, answered(400, {"error": "the gateway dislikes it"}))
        for route in ("complete", "error")
    ]
    job_id = lab.submit("good")
    runner = lab.runner(timing=FEW_REPEATS)
    wait_until(lambda: rules[1].hits >= 3, "several error reports")
    assert [entry["state"] for entry in lab.journal()] == ["done"]
    rules[1].lift()
    assert lab.ended(job_id).status == "failed"
    runner.end()


# --- hanging --------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ["available", "claim", "complete", "own-jobs"])
def test_worker_accepts_and_never_answers(lab, route):
    """A request that is never answered is given up and sent again."""
    rule = lab.proxy.on(route, hang, times=1)
    completes_all_the_same(lab, timing=QUICK_REQUESTS)
    assert rule.hits == 1


def test_one_heartbeat_hangs(lab):
    """A heartbeat that hangs is given up after its own time-out, and the next ones come."""
    job = lab.submit_waiting()
    rule = lab.proxy.on("heartbeat", hang, times=1)
    timing = {**QUICK_HEARTBEATS, "heartbeat_timeout_sec": 0.5}
    runner = lab.runner(timing=timing)
    wait_until(lambda: len(lab.proxy.passed("heartbeat")) >= 4, "later heartbeats")
    assert rule.hits == 1
    job.let_go()
    assert lab.ended(job.job_id).status == "completed"
    runner.end()
    assert "heartbeats of job" in runner.output()


def test_heartbeat_gets_429(lab):
    """A heartbeat that gets 429 is followed by the next one at resetTime, not before."""
    job = lab.submit_waiting()
    rule = lab.proxy.on("heartbeat", rate_limited(1.5), times=1)
    lab.runner(timing=QUICK_HEARTBEATS)
    wait_until(lambda: len(lab.proxy.passed("heartbeat")) >= 2, "the next heartbeat")
    first, second = lab.proxy.passed("heartbeat")[:2]
    assert rule.hits == 1
    assert 1.4 < second.at - first.at < 5
    job.let_go()
    assert lab.ended(job.job_id).status == "completed"


# --- handlers -------------------------------------------------------------------------------

ENDS = {
    "SystemExit": ("raises", {"what": "exit"}, "SystemExit: 3"),
    "KeyboardInterrupt": ("raises", {"what": "interrupt"}, "KeyboardInterrupt"),
    "RecursionError": ("raises", {"what": "recursion"}, "RecursionError"),
    "ValueError": ("raises", {"what": "value"}, "Invalid parameters: n must be even"),
    "os._exit": ("dies", {"how": "exit"}, "exit code 7"),
    "segfault": ("dies", {"how": "segfault"}, "killed by SIGSEGV"),
    "SIGKILL": ("dies", {"how": "SIGKILL"}, "killed by SIGKILL"),
    "SIGTERM": ("dies", {"how": "SIGTERM"}, "killed by SIGTERM"),
    "None": ("returns", {"what": "none"}, "returned NoneType"),
    "list": ("returns", {"what": "list"}, "returned list"),
    "datetime": ("returns", {"what": "datetime"}, "result['spikes'] is of type datetime"),
    "NaN": ("returns", {"what": "nan"}, "result['spikes'][1] is NaN, which JSON cannot hold"),
    "set": ("returns", {"what": "set"}, "result['spikes'] is of type set"),
    "bytes": ("returns", {"what": "bytes"}, "result['spikes'] is of type bytes"),
    "cycle": ("returns", {"what": "cycle"}, "result['spikes'][0] holds itself"),
    "output over 500 KB": ("floods", {"what": "output"}, "the worker takes at most 512,000"),
    "str() raises": ("raises", {"what": "unprintable"}, "_UnprintableError"),
    "error over 10 KB": ("raises", {"what": "long"}, "RuntimeError: xxx"),
}


@pytest.fixture(scope="module")
def ends(tmp_path_factory):
    """Every job of `ENDS`, run by one runner, with a good job after each."""
    from lab import Lab

    with Lab(tmp_path_factory.mktemp("ends")) as lab:
        ids = {}
        for name, (job_type, params, _) in ENDS.items():
            ids[name] = lab.submit(job_type, **params)
            ids[f"after {name}"] = lab.submit("good")
        runner = lab.runner("--burst")
        assert runner.wait(60) == 0, runner.output()
        runner.check_sanity()
        assert not lab.journal()
        yield {name: lab.job(job_id) for name, job_id in ids.items()}


@pytest.mark.parametrize("name", ENDS)
def test_handler_that_misbehaves(ends, name):
    """A handler that ends in an unusual way costs its own job, with its reason, and no other."""
    job = ends[name]
    assert job.status == "failed"
    assert ENDS[name][2] in job.error
    assert ends[f"after {name}"].status == "completed"


@pytest.mark.parametrize("name", ["SystemExit", "segfault", "os._exit", "error over 10 KB"])
def test_any_failure_keeps_the_console(ends, name):
    """The console of a failed job is what it printed, not its error's text."""
    printed = "last words" if ENDS[name][0] == "dies" else "so far so good"
    assert printed in ends[name].console_output


def test_error_over_10_kb_keeps_both_ends(ends):
    """An error message over the limit is cut in its middle."""
    error = ends["error over 10 KB"].error
    assert "bytes left out" in error
    assert error.endswith("the end")
    assert len(error) <= 10_240


@pytest.mark.parametrize(
    ("what", "value"), [("numpy", [0, 1, 2]), ("numpy scalar", 0.5)], ids=["array", "scalar"]
)
def test_handler_returns_numpy(lab, what, value):
    """Arrays and scalars of numpy become lists and numbers."""
    job_id = lab.submit("returns", what=what)
    lab.runner()
    assert lab.ended(job_id).output_data == {"spikes": value}


def test_console_over_1_mb(lab):
    """A console over the limit arrives with its head and its tail, and the job succeeds."""
    job_id = lab.submit("floods", what="console")
    lab.runner()
    job = lab.ended(job_id)
    assert job.status == "completed"
    assert job.console_output.startswith("the beginning")
    assert job.console_output.endswith("the end\n")
    assert "bytes left out" in job.console_output


def test_handler_leaves_a_process_behind(lab):
    """A process that a job left behind is ended with it, and holds nothing up."""
    pid_file = lab.tmp_path / "pid"
    job_id = lab.submit("grandchild", pid_file=str(pid_file))
    runner = lab.runner()
    assert lab.ended(job_id).status == "completed"
    wait_until(lambda: not is_running(int(pid_file.read_text())), "the end of what it left")
    runner.end()


def test_c_code_holds_the_gil(lab):
    """Heartbeats go on while a job's C code keeps Python's lock for many of their intervals."""
    job_id = lab.submit("holdsgil", seconds=2.5)
    runner = lab.runner(timing=QUICK_HEARTBEATS)
    assert lab.ended(job_id).status == "completed"
    beats = [e.at for e in lab.proxy.passed("heartbeat")]
    assert len(beats) >= 6
    assert max(late - early for early, late in zip(beats, beats[1:])) < 1.0
    runner.end()


def test_chatty_handler(lab):
    """Ten thousands of callbacks cause few beats, and the last state is the one that arrives."""
    job_id = lab.submit("floods", what="callbacks")
    gap_sec = 0.5
    timing = {**QUICK_HEARTBEATS, "heartbeat_gap_sec": gap_sec}
    runner = lab.runner(timing=timing)
    job = lab.ended(job_id)
    beats = [e.at for e in lab.proxy.passed("heartbeat")]
    assert all(late - early >= gap_sec * 0.9 for early, late in zip(beats, beats[1:]))
    assert job.progress_current in (None, 19_999) or job.progress_current < 20_000
    runner.end()


def test_job_deleted_while_running(lab):
    """A job that is deleted while it runs is stopped, and nothing is reported for it."""
    job = lab.submit_waiting()
    runner = lab.runner(timing=QUICK_HEARTBEATS)
    job.wait_for_start()
    delete(lab, job.job_id)
    runner.wait_for("is not this runner's any more")
    wait_until(lambda: not is_running(job.pids[0]), "the end of the job process")
    assert lab.ended(lab.submit("good")).status == "completed"
    assert not [e for e in lab.proxy.passed("error") if e.job_id == job.job_id]
    wait_until(lambda: not lab.journal(), "an empty journal")
    runner.end()


def delete(lab, job_id):
    """Delete a job, as the worker's administrator."""
    import requests

    url = f"{lab.worker.url}/api/admin/jobs/{job_id}"
    headers = {"Authorization": f"Bearer {lab.worker.keys.admin}"}
    assert requests.delete(url, headers=headers, timeout=10).ok


# --- the runner's directory ------------------------------------------------------------------


def test_two_runners_in_one_directory(lab):
    """The second runner in a directory says which process has it, and exits with its own code."""
    first = lab.runner()
    first.wait_for("Polling")
    second = lab.runner()
    assert second.wait() == 6
    assert f"process {first.pid}" in second.output()
    second.check_sanity()
    first.end()


@pytest.mark.parametrize(
    "content",
    [
        b"garbage",
        b"",
        b"[]",
        b'{"runner_id": null, "runner_name": "x"}',
        b'{"runner_id": "\xff"}',
        b'{"runner_id": "a\\nb", "runner_name": "x"}',
        None,
    ],
    ids=["garbage", "empty", "array", "null id", "bad UTF-8", "line break", "directory"],
)
def test_state_file_corrupt(lab, content):
    """A corrupt file is set aside and announced; one new registration follows, and it lasts."""
    lab.directory.mkdir()
    file = lab.directory / ".devaria_runner.json"
    file.mkdir() if content is None else file.write_bytes(content)
    first = lab.runner("--burst")
    assert first.wait() == 0
    assert "corrupt" in first.output()
    assert len(list(lab.directory.glob(".devaria_runner.json.corrupt-*"))) == 1
    assert lab.runner("--burst").wait() == 0
    assert len(lab.proxy.passed("register")) == 1


def test_state_file_read_only(lab):
    """A file that is read-only is good enough to read."""
    assert lab.runner("--burst").wait() == 0
    (lab.directory / ".devaria_runner.json").chmod(0o400)
    assert lab.runner("--burst").wait() == 0
    assert len(lab.proxy.passed("register")) == 1


# --- signals (more in test_signals) ----------------------------------------------------------


def test_sighup_in_a_job(lab):
    """SIGHUP in a job lets it finish and be reported; then the runner ends well."""
    job = lab.submit_waiting()
    runner = lab.runner()
    job.wait_for_start()
    runner.signal(signal.SIGHUP)
    job.let_go()
    assert runner.wait() == 0
    assert lab.job(job.job_id).status == "completed"
