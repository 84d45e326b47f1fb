"""How a runner takes signals, in each state that it can be in; and a terminal that goes away."""

import os
import signal
import time

import pytest
from fault_proxy import cut_before, hang, rate_limited, server_error
from lab import QUICK_HEARTBEATS, QUICK_TRIES, is_running, state_of
from waiting import wait_until

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX signals")

STOPPED = "the operator of the runner stopped it"
#: Two signals within a second are one wish.
APART_SEC = 1.1
#: As nohup does, which would also move a terminal's output to a file.
IGNORING_SIGHUP = ("sh", "-c", "trap '' HUP; exec \"$@\"", "sh")


def ends_within(runner, seconds, code=0):
    """Check that a runner ends in time and with the right code."""
    started = time.monotonic()
    assert runner.wait() == code, runner.output()
    assert time.monotonic() - started < seconds
    runner.check_sanity()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_idle(lab, number):
    """A signal to a runner that waits for its next poll ends it at once, and well."""
    runner = lab.runner("--poll-interval", "60", "--no-wait")
    wait_until(lambda: lab.proxy.passed("available"), "a poll")
    runner.signal(number)
    ends_within(runner, 2)


def test_report_that_fails_after_the_first(lab):
    """It has some time, and is then left to the journal, from which the next start reports it."""
    job = lab.submit_waiting()
    rule = lab.proxy.on("complete", server_error)
    runner = lab.runner(timing={**QUICK_HEARTBEATS, **QUICK_TRIES, "last_report_sec": 2})
    job.wait_for_start()
    runner.signal(signal.SIGTERM)
    runner.wait_for("finishing the job in hand")
    job.let_go()
    wait_until(lambda: rule.hits >= 2, "two tries")
    assert runner.wait(60) == 0
    assert "its outcome is kept, and reported at the next start" in runner.output()
    runner.check_sanity()
    assert [entry["state"] for entry in lab.journal()] == ["done"]
    rule.lift()
    again = lab.runner()
    assert lab.ended(job.job_id).output_data == {"waited": True}
    again.end()
    assert len(job.pids) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_waiting_poll(lab, number):
    """So does a signal to a runner whose poll the worker holds; its place in the line is free."""
    runner = lab.runner("--poll-interval", "60", worker_url=lab.worker.url)
    wait_until(lambda: lab.waiting == 1, "a poll that waits")
    runner.signal(number)
    ends_within(runner, 2)
    wait_until(lambda: lab.waiting == 0, "the end of the wait")


def test_back_off_sleep(lab):
    """A signal to a runner that waits out a rate limit ends it at once."""
    lab.proxy.on("available", rate_limited(60))
    runner = lab.runner()
    runner.wait_for("trying again")
    runner.signal(signal.SIGTERM)
    ends_within(runner, 2)


@pytest.mark.parametrize("route", ["register", "own-jobs", "available"])
def test_hanging_request(lab, route):
    """A signal to a runner whose request is never answered ends it within two seconds."""
    rule = lab.proxy.on(route, hang)
    runner = lab.runner()
    wait_until(lambda: rule.hits, "the hanging request")
    runner.signal(signal.SIGTERM)
    ends_within(runner, 2.5)  # two, and what a busy machine adds


def test_hanging_claim(lab):
    """A signal in a claim that hangs ends the runner; the job is in the journal, and done later."""
    rule = lab.proxy.on("claim", hang)
    job_id = lab.submit("good")
    runner = lab.runner()
    wait_until(lambda: rule.hits, "the hanging claim")
    runner.signal(signal.SIGTERM)
    ends_within(runner, 2.5)
    assert [entry["state"] for entry in lab.journal()] == ["claiming"]
    rule.lift()
    assert lab.runner("--burst").wait() == 0
    assert lab.job(job_id).status == "completed"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_in_a_job(lab, number):
    """The first signal in a job takes no new one, lets it finish, reports it, and exits 0."""
    job = lab.submit_waiting()
    runner = lab.runner()
    job.wait_for_start()
    waiting = lab.submit("good")
    runner.signal(number)
    runner.wait_for("finishing the job in hand")
    assert runner.is_alive
    job.let_go()
    ends_within(runner, 5)
    assert lab.job(job.job_id).status == "completed"
    assert lab.job(waiting).status == "pending"


def test_two_at_once_are_one(lab):
    """A Ctrl-C and a SIGTERM in the same second are one wish: the job finishes."""
    job = lab.submit_waiting()
    runner = lab.runner()
    job.wait_for_start()
    runner.signal(signal.SIGINT)
    runner.signal(signal.SIGTERM)
    runner.wait_for("finishing the job in hand")
    job.let_go()
    ends_within(runner, 5)
    assert lab.job(job.job_id).status == "completed"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_second_in_a_job(lab, number, code):
    """The second signal, a second later, ends the job; it is reported as the operator's wish."""
    job = lab.submit_waiting()
    runner = lab.runner()
    job.wait_for_start()
    runner.signal(number)
    time.sleep(APART_SEC)
    assert runner.is_alive
    runner.signal(number)
    ends_within(runner, 5, code)
    reported = lab.job(job.job_id)
    assert reported.status == "failed"
    assert f"{STOPPED} ({number.name})" in reported.error
    assert "waiting" in reported.console_output
    assert not is_running(job.pids[0])
    assert not lab.journal()


def test_third_in_a_job(lab):
    """The third signal ends the runner at once; the journal remembers, the next run settles it."""
    job = lab.submit_waiting()
    runner = lab.runner()
    job.wait_for_start()
    runner.signal(signal.SIGINT)
    time.sleep(APART_SEC)
    os.kill(job.pids[0], signal.SIGSTOP)  # so that the job's end takes its ten seconds
    # A SIGTERM that comes before it stops would end it: of two signals, the kernel takes the lower.
    wait_until(lambda: state_of(job.pids[0]) == "T", "the stop of the job process")
    runner.signal(signal.SIGINT)
    time.sleep(APART_SEC)
    assert runner.is_alive
    runner.signal(signal.SIGINT)
    ends_within(runner, 1, 130)
    assert [entry["state"] for entry in lab.journal()] == ["running"]
    wait_until(lambda: not is_running(job.pids[0]), "the end of the job process")
    job.let_go()
    assert lab.runner("--burst").wait() == 0
    assert lab.job(job.job_id).status == "completed"


def test_first_in_a_report(lab):
    """The first signal while a report is owed lets the runner try on, and end when it has it."""
    lab.submit("good")
    rule = lab.proxy.on("complete", cut_before)
    runner = lab.runner()
    wait_until(lambda: rule.hits, "a report")
    runner.signal(signal.SIGTERM)
    time.sleep(APART_SEC)
    assert runner.is_alive
    rule.lift()
    ends_within(runner, 10)
    assert not lab.journal()


@pytest.mark.parametrize("fault", [cut_before, hang], ids=["refused", "hanging"])
def test_second_in_a_report(lab, fault):
    """The second signal while a report is owed ends the runner; the next run delivers it."""
    job_id = lab.submit("good")
    rule = lab.proxy.on("complete", fault)
    runner = lab.runner(timing=QUICK_HEARTBEATS)
    wait_until(lambda: rule.hits, "a report")
    runner.signal(signal.SIGTERM)
    time.sleep(APART_SEC)
    runner.signal(signal.SIGTERM)
    ends_within(runner, 2.5, 143)
    assert "its outcome is kept" in runner.output()
    assert [entry["state"] for entry in lab.journal()] == ["done"]
    rule.lift()
    assert lab.runner("--burst").wait() == 0
    assert lab.job(job_id).status == "completed"
    assert len(lab.proxy.passed("claim")) == 1


def test_sighup_under_nohup(lab):
    """Under nohup a terminal that hangs up is no reason to end, nor to take no new job."""
    runner = lab.runner(before=("nohup",))
    runner.wait_for("Polling")
    runner.signal(signal.SIGHUP)
    assert lab.ended(lab.submit("good")).status == "completed"
    runner.end()


def test_closed_pipe(lab):
    """A runner whose log's reader has gone works on, and exits as ever."""
    reader, writer = os.pipe()
    runner = lab.runner(stdout=writer, stderr=writer)
    os.close(writer)
    wait_until(lambda: lab.proxy.passed("available"), "a poll")
    os.close(reader)
    assert lab.ended(lab.submit("good")).status == "completed"
    assert lab.ended(lab.submit("raises", what="error")).status == "failed"
    runner.end()
    assert "reported as failed" in (lab.directory / "devaria_runner.log").read_text()


def test_closed_terminal(lab):
    """A runner that was told to ignore SIGHUP outlives its terminal, in the middle of a job."""
    job = lab.submit_waiting()
    master, slave = os.openpty()
    runner = lab.runner(before=IGNORING_SIGHUP, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    job.wait_for_start()
    os.close(master)
    runner.signal(signal.SIGHUP)  # as the kernel sends it to a terminal's processes
    job.let_go()
    assert lab.ended(job.job_id).status == "completed"
    assert lab.ended(lab.submit("good")).status == "completed"
    runner.end()
