"""A runner among bad answers of every kind: none ends it, and every job comes to its outcome."""

import itertools

import bad_answers
import pytest
from fault_proxy import ANY, answered, at_rate, cut_after, cut_before, server_error
from lab import QUICK_HEARTBEATS, QUICK_TRIES
from waiting import BOUND_SEC, wait_until

#: An answer without end is given up soon.
TIMING = {
    **QUICK_TRIES,
    **QUICK_HEARTBEATS,
    "answer_sec": 1.5,
    "heartbeat_answer_sec": 1.0,
    "set_aside_sec": 0.5,
}
FAULTS = {**bad_answers.QUICK, **bad_answers.LONG}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_every_request_may_get_it_once(lab, fault):
    """From the registration to the report: each request is tried again, and the job runs once."""
    routes = ("register", "own-jobs", "available", "claim", "heartbeat", "detail", "complete")
    for route in routes:
        lab.proxy.on(route, fault, times=1)
    job = lab.submit_waiting()
    runner = lab.runner(timing=TIMING)
    job.wait_for_start()
    wait_until(lambda: len(lab.proxy.passed("heartbeat")) >= 3, "heartbeats", 60, runner.output)
    job.let_go()
    assert lab.ended(job.job_id, 60).output_data == {"waited": True}
    wait_until(lambda: not lab.journal(), "an empty journal", 60, runner.output)
    runner.end()
    assert len(job.pids) == 1


def test_jobs_at_a_quarter_of_bad_answers(lab):
    """Some jobs in a row, with every kind of fault: each is done once."""
    faults = (cut_before, cut_after, server_error, *bad_answers.QUICK.values())
    lab.proxy.on(ANY, at_rate(0.25, faults, seed=1))
    jobs = [lab.submit("good") for _ in range(10)]
    runner = lab.runner(timing=TIMING)
    assert [lab.ended(job_id, 60).status for job_id in jobs] == ["completed"] * 10
    lab.proxy.lift_all()
    runner.end()


#: Each wait after the first is twenty times as long: two dozen failures take ages.
STEEP = {"backoff_base_sec": 0.05, "backoff_factor": 20.0, "backoff_max_sec": 1e9}
BAD_GATEWAY = answered(502, "<html>bad gateway</html>", "text/html")
BLOCKED = answered(403, "<html>blocked</html>", "text/html")


def one_after_the_other(*faults):
    """Meet each of the faults in turn."""
    turns = itertools.cycle(faults)
    return lambda forward, lifted: next(turns)(forward, lifted)


def test_good_answers_in_between_reset_the_back_off(lab):
    """A report that fails in many ways, between looks that do not, is sent again soon."""
    fault = one_after_the_other(cut_before, BAD_GATEWAY, BLOCKED)
    lab.proxy.on("complete", fault, times=24)
    job_id = lab.submit("good")
    runner = lab.runner(timing=STEEP)
    assert lab.ended(job_id, BOUND_SEC).status == "completed"
    runner.end()


def test_a_look_that_fails_is_tried_again_by_itself(lab):
    """The report, which the worker has, is not sent again for it; nor is there a long wait."""
    lab.proxy.on("complete", cut_after, times=1)
    lab.proxy.on("detail", one_after_the_other(cut_before, BAD_GATEWAY), times=4)
    job_id = lab.submit("good")
    runner = lab.runner(timing=STEEP)
    assert lab.ended(job_id, BOUND_SEC).status == "completed"
    runner.wait_for("reported as completed", BOUND_SEC)
    runner.end()
    assert len(lab.proxy.passed("complete")) == 1


def test_a_worker_that_shows_no_job_still_gets_the_report(lab):
    """Looks at jobs may be blocked on the way; they only help."""
    lab.proxy.on("complete", server_error, times=2)
    rule = lab.proxy.on("detail", BLOCKED)
    job_id = lab.submit("good")
    runner = lab.runner(timing=TIMING)
    assert lab.ended(job_id, BOUND_SEC).status == "completed"
    runner.end()
    assert rule.hits


def test_a_flaky_network_is_no_fault_of_the_job(lab):
    """If other requests fail too, a claim may fail more often before its job is set aside."""
    rule = lab.proxy.on("claim", cut_before, times=6)
    lab.proxy.on("detail", cut_before, times=1)
    job_id = lab.submit("good")
    runner = lab.runner(timing={**QUICK_TRIES, "set_aside_sec": 1e6})
    assert lab.ended(job_id, BOUND_SEC).status == "completed"
    runner.end()
    assert rule.hits == 6


NOT_FOUND = answered(404, '{"error": "Not found"}', "application/json")


@pytest.mark.parametrize("fault", [BLOCKED, BAD_GATEWAY, NOT_FOUND], ids=["403", "502", "404"])
def test_a_job_left_behind_does_not_block_the_others(lab, fault):
    """A runner cannot find out about a job of its earlier run: that one is left, the next runs."""
    left = lab.submit_waiting()
    runner = lab.runner(timing=TIMING)
    left.wait_for_start()
    runner.kill()
    rule = lab.proxy.on("heartbeat", fault)
    job_id = lab.submit("good")
    runner = lab.runner(timing=TIMING)
    assert lab.ended(job_id, BOUND_SEC).status == "completed"
    runner.end()
    assert rule.hits
    assert lab.journal()


def test_a_report_that_is_blocked_is_sent_with_less(lab):
    """A firewall may dislike what a job has printed: its page is no answer of the worker's."""
    lab.proxy.on("complete", BLOCKED)
    job_id = lab.submit("good")
    runner = lab.runner(timing={**TIMING, "repeats_for_less_console": 2, "repeats_for_loss": 4})
    assert lab.ended(job_id, BOUND_SEC).status == "failed"
    runner.wait_for("cannot be reported yet", BOUND_SEC)
    runner.end()
