"""Push: a message ends a runner's sleep, and nothing that a NotifyRelay server does harms it."""

import json
import signal
import socket

import pytest
from relay_server import POLL, SUBSCRIBE_KEY, RelayServer, answer_with, environ_for
from scripted_server import Answer, as_json, drop, hang, redirect
from waiting import wait_until

#: Without push, no test would see a second poll.
RARELY = ("--no-wait", "--poll-interval", "3600")

#: The patience of a runner with NotifyRelay, at a pace that a test can wait for.
QUICK_PUSH = {
    "relay_wait_sec": 0.1,
    "relay_gap_sec": 0.05,
    "connect_timeout_sec": 0.4,
    "unauthorized_wait_sec": 0.1,
    "backoff_base_sec": 0.05,
}

FAILS = "push fails, trying again; the polls go on: "
WORKS = "push works again"


@pytest.fixture
def relay():
    """Run a NotifyRelay server."""
    with RelayServer() as running:
        yield running


def polls(lab):
    """Count the runner's polls that were answered."""
    return len(lab.proxy.passed("available"))


def listening(lab, relay, *options, **settings):
    """Start a runner that seldom polls; return it when it sleeps, and waits for a message."""
    runner = lab.runner(*RARELY, *options, environ=relay.environ, **settings)
    wait_until(lambda: polls(lab) == 1, "the first poll", context=lab.outputs)
    relay.wait_for_poll()
    return runner


def one_message(job_type):
    """Return a message such as the public worker publishes."""
    return {"message": json.dumps({"type": "new_job", "job_type": job_type, "job_id": "j"})}


# --- what it is for ----------------------------------------------------------------------------


def test_a_message_ends_the_sleep(lab, relay):
    """A job is claimed long before the next poll; so are those that come later."""
    runner = listening(lab, relay)
    for number in range(2):
        job_id = lab.submit("good")
        relay.new_job(job_id=job_id)
        assert lab.ended(job_id).status == "completed"
        # One for the message, and one after the job.
        wait_until(lambda number=number: polls(lab) == 3 + 2 * number, "the poll after the job")
    runner.end()
    assert polls(lab) == 5
    assert FAILS not in runner.output()
    assert f"Push from {relay.url}" in runner.output()


def test_a_message_during_a_job_is_not_lost(lab, relay):
    """The poll after the job finds what was announced meanwhile."""
    runner = listening(lab, relay)
    first = lab.submit_waiting()
    relay.new_job()
    first.wait_for_start()
    second = lab.submit("good")
    relay.new_job()
    first.let_go()
    assert lab.ended(second).status == "completed"
    runner.end()


def test_what_does_not_concern_the_runner(lab, relay):
    """It sleeps on after other kinds of messages, other job types, and garbage."""
    runner = listening(lab, relay, "--types", "good", timing={"relay_gap_sec": 0.1})
    others = (
        {"type": "new_job", "job_type": "waits"},
        {"type": "job_done", "job_type": "good"},
        {"job_type": "good"},
        [1],
        "no JSON",
        "[" * 100_000,
        '{"type": %s}' % ("9" * 100_000),
        "",
    )
    for message in others:
        relay.publish(message)
        relay.wait_for_poll()
    relay.publish({"type": "new_job"}, topic="another topic")
    job_id = lab.submit("good")
    relay.new_job(job_type="good")
    assert lab.ended(job_id).status == "completed"
    wait_until(lambda: polls(lab) == 3, "the poll after the job")
    runner.end()
    assert polls(lab) == 3
    assert runner.output().count("left out what is no JSON object") == 1
    assert FAILS not in runner.output()


def test_a_type_that_is_none_might_be_any(lab, relay):
    """A message whose job type cannot be read ends the sleep."""
    runner = listening(lab, relay, "--types", "good")
    job_id = lab.submit("good")
    relay.new_job(job_type=["waits"])
    assert lab.ended(job_id).status == "completed"
    runner.end()


def test_a_burst_of_messages_is_one_poll(lab, relay):
    """Those that come in one answer, and those that come while a job runs."""
    runner = listening(lab, relay, timing={"relay_gap_sec": 0.1})
    relay.on(POLL, answer_with([one_message("good")] * 100), relay.poll)
    relay.new_job()  # ends the poll that waits, so there are two answers
    relay.wait_for(POLL, 3)
    job = lab.submit_waiting()
    relay.new_job()
    job.wait_for_start()
    for _ in range(10):
        relay.new_job()
        relay.wait_for_poll()
    job.let_go()
    assert lab.ended(job.job_id).status == "completed"
    last = lab.submit("good")
    relay.new_job()
    assert lab.ended(last).status == "completed"
    runner.end()
    # At the start, for three answers, and after each job.
    assert polls(lab) <= 1 + 3 + 1 + 2


@pytest.mark.parametrize("messages", [[one_message("good")], []], ids=["flood", "empty"])
def test_answers_without_end_are_slowed_down(lab, relay, messages):
    """Messages that come at once, one after the other, or empty answers, keep nobody busy."""
    relay.on(POLL, answer_with(messages))
    lab.runner(*RARELY, environ=relay.environ, timing={"relay_gap_sec": 0.3})
    relay.wait_for(POLL, 4)
    times = [each.at for each in relay.seen(POLL)]
    assert all(later - earlier >= 0.3 for earlier, later in zip(times, times[1:]))
    assert polls(lab) <= (len(relay.seen(POLL)) if messages else 1) + 1


# --- what may fail -------------------------------------------------------------------------------

FAULTS = {
    "wrong key": as_json({"error": f"{SUBSCRIBE_KEY} is wrong"}, 401),
    "login page": Answer(200, b"<html>Please log in</html>"),
    "gateway": Answer(502, b"<html>Bad gateway</html>"),
    "redirect": redirect("/elsewhere"),
    "deep": Answer(200, b'{"messages": ' + b"[" * 500_000),
    "wrong types": as_json({"messages": {"runpack_notifications": {"a": 1}}}),
    "huge": Answer(200, b" " * 5_000_000),
    "broken off": drop("half"),
    "closed": drop("read"),
    "never": hang(),
    "slow": Answer(200, b'{"messages": {}}', pieces_sec=5),
}


def test_every_fault_is_said_once_and_the_polls_go_on(lab, relay):
    """One line when push is lost, one when it is back; a lost message costs a poll."""
    runner = lab.runner(
        "--no-wait", "--poll-interval", "0.1", environ=relay.environ, timing=QUICK_PUSH
    )
    relay.wait_for_poll()
    for number, (name, fault) in enumerate(FAULTS.items(), 1):
        relay.on(POLL, fault)
        relay.wait_for(POLL, len(relay.seen(POLL)) + 3)  # one may still be held
        polled = polls(lab)
        wait_until(lambda count=polled: polls(lab) > count, name, context=lab.outputs)
        relay.heal()
        wait_until(
            lambda count=number: runner.output().count(WORKS) == count, name, context=lab.outputs
        )
        assert runner.output().count(FAILS) == number, name
    assert lab.ended(lab.submit("good")).status == "completed"
    runner.end()
    assert SUBSCRIBE_KEY not in runner.output()
    assert "POST /elsewhere" not in relay.trace()


def test_a_server_that_is_down_and_comes_back(lab):
    """The runner starts without it, and notices when it is back, and again."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    down = environ_for(f"http://127.0.0.1:{port}")
    runner = lab.runner(*RARELY, environ=down, timing=QUICK_PUSH)
    for number in range(1, 3):
        wait_until(lambda count=number: runner.output().count(FAILS) == count, "the loss")
        with RelayServer(port) as relay:
            wait_until(lambda count=number: runner.output().count(WORKS) == count, "the return")
            relay.wait_for_poll()
            job_id = lab.submit("good")
            relay.new_job()
            assert lab.ended(job_id).status == "completed"
    runner.end()


def test_a_variable_that_is_missing(lab, relay):
    """One line names it; the runner polls, and subscribes to nothing."""
    runner = lab.runner(environ={**relay.environ, "NOTIFY_RELAY_SUBSCRIBE_KEY": ""})
    assert lab.ended(lab.submit("good")).status == "completed"
    runner.end()
    assert runner.output().count("push is off: NOTIFY_RELAY_SUBSCRIBE_KEY is not set") == 1
    assert relay.requests == []


# --- the end -------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_long_poll(lab, relay, number):
    """The runner does not wait for the 55 s of a poll that nobody answers."""
    runner = listening(lab, relay)
    runner.signal(number)
    assert runner.wait() == 0, runner.output()
    runner.check_sanity()
    assert FAILS not in runner.output()


def test_max_time_ends_a_long_poll(lab, relay):
    """Nor for that of a server that sends a byte now and then."""
    relay.on(POLL, Answer(200, b"    ", pieces_sec=50))
    runner = lab.runner(*RARELY, "--max-time", "2", environ=relay.environ)
    relay.wait_for(POLL)
    assert runner.wait() == 0, runner.output()
    runner.check_sanity()
    assert FAILS not in runner.output()


def test_a_burst_runner_does_not_subscribe(lab, relay):
    """It never sleeps."""
    job_id = lab.submit("good")
    runner = lab.runner("--burst", environ=relay.environ)
    assert runner.wait() == 0
    assert lab.job(job_id).status == "completed"
    assert relay.requests == []
