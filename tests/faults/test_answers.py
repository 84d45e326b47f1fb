"""A runner among bad answers of every kind: none ends it, and every job comes to its outcome."""

import bad_answers
import pytest
from fault_proxy import ANY, at_rate, cut_after, cut_before, server_error
from lab import QUICK_HEARTBEATS, QUICK_TRIES
from waiting import wait_until

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
