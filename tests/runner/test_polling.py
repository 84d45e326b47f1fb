"""Polls that wait: at workers that can, that cannot, and that do it wrong."""

import logging
import re
import time

import core_fixtures
import pytest
from core_fixtures import KEY, RUNNER_ID, job
from scripted_server import Answer, as_json, drop, hang, html, ok, rate_limited

from devaria.client.client import WorkerClient
from devaria.common.config import RunnerSettings
from devaria.common.errors import WorkerGivenUp
from devaria.common.timing import Timing
from devaria.execution.signals import StopRequest, Wakeup
from devaria.runner.polling import Polling
from devaria.runner.registration import Registration
from devaria.runner.retrying import AbandonedError, Caller
from devaria.runner.status import RunnerStatus, StatusFile

AVAILABLE = "GET /api/runner/jobs/available"
INTERVAL_SEC = 30.0
#: The shortest and the longest rest of a runner that polls at its interval.
INTERVAL = pytest.approx(INTERVAL_SEC, rel=0.1001)
#: Waits of seconds, and a proxy that cuts them in less.
QUICK = Timing(
    poll_wait_sec=3,
    least_wait_sec=1,
    wait_grace_sec=0.3,
    read_timeout_sec=0.5,
    backoff_base_sec=0.05,
)


class Runner:
    """The polls of a runner that never runs a job."""

    def __init__(self, server, directory, timing=QUICK, **settings):
        self.server = server
        self.settings = RunnerSettings(
            worker_url=server.url,
            api_key=KEY,
            directory=directory,
            poll_interval_sec=INTERVAL_SEC,
            timing=timing,
            **settings,
        )
        self.wakeup = Wakeup()
        self.stop = StopRequest(self.wakeup)
        self.status = StatusFile(directory, RunnerStatus(1, 0.0, server.url))
        client = WorkerClient(server.url, KEY, timing)
        self._caller = Caller(client, self.wakeup, self.stop, self.status)
        self._polling = Polling(self.settings, self._caller)
        self._registration = Registration(RUNNER_ID, "runner-x", ("hello_world",))

    def poll(self, ends_in_sec=None):
        """Poll once; return the ids of the jobs."""
        ends_at = None if ends_in_sec is None else time.monotonic() + ends_in_sec
        listed = self._polling.poll(self._registration, ends_at)
        return [each.job_id for each in listed.jobs]

    def rest_sec(self, can_claim=True):
        """Return how long it rests after that."""
        return self._polling.rest_sec(can_claim=can_claim)

    @property
    def asked(self):
        """The waits that it has asked for so far; None for polls that did not ask."""
        return [each.headers.get("prefer") for each in self.server.seen(AVAILABLE)]

    @property
    def plan(self):
        """What it says before its first poll."""
        return self._polling.plan

    def close(self):
        """End its threads."""
        self._caller.close()
        self.status.close()


@pytest.fixture
def make(server, tmp_path):
    """Return a function that makes a runner; all end with the test."""
    made = []

    def runner(timing=QUICK, **settings):
        made.append(Runner(server, tmp_path, timing, **settings))
        return made[-1]

    yield runner
    server.close_connections()
    for each in made:
        each.close()


def held(*jobs):
    """Answer as a worker that lets polls wait."""
    return as_json({"jobs": list(jobs)}, headers={"Preference-Applied": "wait=25"})


def cut_after(server, seconds):
    """Break off the connection after a time, as a proxy does with an idle request."""

    def step(_request):
        server.pause(seconds)
        return drop()

    return step


def unless_plain(step):
    """Answer polls that do not ask to wait with an empty list, and all others as said."""

    def answer(request):
        if "prefer" not in request.headers:
            return ok(jobs=[])
        return step(request) if callable(step) else step

    return answer


# --- what is asked for, and when again -------------------------------------------------------


def test_a_worker_that_ignores_the_header_is_polled_at_the_interval(server, make):
    """That is the hosted worker."""
    runner = make(Timing())
    server.on(AVAILABLE, ok(jobs=[job("j-1")]), ok(jobs=[]))
    assert runner.poll() == ["j-1"]
    assert runner.poll() == []
    assert runner.rest_sec() == INTERVAL
    assert runner.asked == ["wait=25", "wait=25"]


def test_a_worker_that_holds_polls_is_polled_again_at_once(server, make):
    """An answer that came late has had the least time between two polls already."""
    runner = make(Timing(least_gap_sec=0.1))

    def later(_request):
        server.pause(0.2)
        return held()

    server.on(AVAILABLE, later)
    assert runner.poll() == []
    assert runner.rest_sec() == 0


def test_a_worker_that_says_so_but_answers_at_once_is_polled_each_second(server, make):
    """Nothing spins."""
    runner = make()
    server.on(AVAILABLE, held())
    started = time.monotonic()
    assert runner.poll() == []
    rest_sec = runner.rest_sec()
    assert rest_sec <= 1 <= rest_sec + time.monotonic() - started


def test_a_machine_that_cannot_claim_polls_at_the_interval(server, make):
    """The same job would answer each poll at once."""
    runner = make()
    server.on(AVAILABLE, held(job("j-1")))
    runner.poll()
    assert runner.rest_sec(can_claim=False) == INTERVAL


def test_without_waiting_nothing_is_asked_for(server, make):
    """The interval counts, whatever the worker says."""
    runner = make(no_wait=True)
    server.on(AVAILABLE, ok(jobs=[]))
    runner.poll()
    assert runner.asked == [None]
    assert runner.rest_sec() == INTERVAL


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {},
            "Polling every 30 s, or without a pause if the worker holds polls until there is a job",
        ),
        ({"no_wait": True}, "Polling every 30 s"),
        ({"burst": True}, "Polling every 30 s"),
    ],
)
def test_the_line_before_the_first_poll_is_true_at_every_worker(make, settings, says):
    """Whether the worker holds polls is known only when it has answered one."""
    assert make(**settings).plan == says


def test_a_burst_does_not_wait(server, make):
    """It asks for no time, but for jobs that others are not told of."""
    runner = make(burst=True)
    server.on(AVAILABLE, held(job("j-1")))
    assert runner.poll() == ["j-1"]
    assert runner.asked == ["wait=0"]
    assert runner.rest_sec() == INTERVAL


@pytest.mark.parametrize(("left_sec", "asked"), [(7.9, "wait=7"), (60, "wait=25"), (0.5, "wait=0")])
def test_no_wait_is_longer_than_the_runner_has(server, make, left_sec, asked):
    """`--max-idle` and `--max-time` end it in time."""
    runner = make(Timing())
    server.on(AVAILABLE, held())
    runner.poll(left_sec)
    assert runner.asked == [asked]


def test_polls_stay_within_the_rate_limit(server, make):
    """A stream of quick jobs answers each poll at once: 60 of them, and then one each second."""
    runner = make()
    server.on(AVAILABLE, held(job("j-1")))
    for _ in range(60):
        runner.poll()
    started = time.monotonic()
    runner.poll()
    assert time.monotonic() - started > 0.2


# --- what goes wrong -------------------------------------------------------------------------


def test_a_late_answer_counts(server, make):
    """The time-out is longer than the wait."""
    runner = make(Timing(poll_wait_sec=1, wait_grace_sec=10, read_timeout_sec=0.1))

    def late(_request):
        server.pause(1.2)
        return held(job("j-1"))

    server.on(AVAILABLE, late)
    assert runner.poll() == ["j-1"]


def test_waits_that_a_proxy_cuts_become_shorter(server, make, caplog):
    """The cut is no fault of the worker's: one line is logged, and no warning."""
    caplog.set_level(logging.DEBUG, "devaria")
    runner = make()
    server.on(AVAILABLE, unless_plain(cut_after(server, 1.5)))
    assert runner.poll() == []
    assert runner.rest_sec() == INTERVAL
    assert runner.poll() == []
    server.on(AVAILABLE, held())
    assert runner.poll() == []
    assert runner.asked == ["wait=3", None, "wait=3", None, "wait=1"]
    (record,) = caplog.records
    assert record.levelname == "INFO"
    assert re.search(r"broken off after \d\.\d s; they wait for 1 s now", record.message)


def test_after_some_time_the_full_wait_is_tried_again(server, make, caplog):
    """The proxy may be gone. If it is not, the waits are shortened again, without a word."""
    caplog.set_level(logging.INFO, "devaria")
    runner = make(Timing(**{**vars(QUICK), "cut_wait_sec": 0.1, "poll_wait_sec": 2}))
    server.on(AVAILABLE, unless_plain(drop()))
    for _ in range(2):
        runner.poll()
        runner.poll()
        assert runner.asked[-4:] == ["wait=2", None, "wait=2", None]
        server.pause(0.15)
    assert len(caplog.records) == 1


BROKEN = {
    "chunk": Answer(body=b"nonsense\r\n", headers={"Transfer-Encoding": "chunked"}),
    "half": drop("half"),
    "500": as_json({"error": "no"}, 500),
    "page": html(502),
    "never": hang(),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_waits_that_never_succeed_are_given_up(server, make, caplog, broken):
    """The runner polls at its interval, as at a worker that knows no waiting."""
    caplog.set_level(logging.DEBUG, "devaria")
    runner = make(Timing(**{**vars(QUICK), "poll_wait_sec": 1}))
    server.on(AVAILABLE, unless_plain(BROKEN[broken]))
    for _ in range(3):
        assert runner.poll() == []
        assert runner.rest_sec() == INTERVAL
    assert runner.asked == ["wait=1", None, "wait=1", None, None]
    (record,) = [each for each in caplog.records if each.name.startswith("devaria")]
    assert record.levelname == "INFO"
    assert "polling every 30 s" in caplog.text


def test_one_broken_wait_is_no_reason(server, make, caplog):
    """The worker was restarted, say: if it held polls before, the next one waits, and soon."""
    runner = make()
    server.on(AVAILABLE, drop(), ok(jobs=[job("j-1")]), held(), drop(), ok(jobs=[]), held())
    assert runner.poll() == ["j-1"]
    assert runner.rest_sec() == INTERVAL
    for _ in range(3):
        runner.poll()
        assert runner.rest_sec() <= 1
    assert runner.asked == ["wait=3", None, "wait=3", "wait=3", None, "wait=3"]
    assert caplog.text == ""


def test_a_worker_that_breaks_off_waits_after_all_is_polled_at_the_interval(server, make):
    """It held polls until now."""
    runner = make()
    server.on(AVAILABLE, held(), drop(), ok(jobs=[]), drop(), ok(jobs=[]))
    for _ in range(4):
        runner.poll()
    assert runner.asked == ["wait=3", "wait=3", None, "wait=3", None, None]
    assert runner.rest_sec() == INTERVAL


def test_a_worker_that_is_away_is_waited_for_with_polls_that_do_not_wait(server, make, caplog):
    """That is said once, and so is its return."""
    caplog.set_level(logging.INFO, "devaria")
    runner = make()
    server.on(AVAILABLE, drop(), drop(), html(503), ok(jobs=[job("j-1")]))
    assert runner.poll() == ["j-1"]
    assert runner.asked == ["wait=3", None, None, None]
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "the worker answers again" in caplog.text


def test_a_rate_limit_is_obeyed(server, make):
    """No poll follows before its time."""
    runner = make()
    server.on(AVAILABLE, rate_limited(1), held(job("j-1")))
    assert runner.poll() == ["j-1"]
    first, second = server.seen(AVAILABLE)
    assert second.at - first.at > 0.3


def test_the_end_of_a_runners_time_ends_a_poll_that_fails(server, make):
    """It does not wait for the worker any longer."""
    runner = make()
    server.on(AVAILABLE, drop())
    with pytest.raises(WorkerGivenUp):
        runner.poll(0.2)


# --- the operator ----------------------------------------------------------------------------


def test_a_signal_ends_a_wait_at_once(server, make):
    """Unlike a claim, a poll changes nothing: its answer is of no use."""
    runner = make(Timing(unwanted_answer_sec=60))
    server.on(AVAILABLE, hang())

    def interrupt():
        runner.stop._on_signal(2, None)

    runner.wakeup.do_regularly(interrupt, 0.2)
    with pytest.raises(AbandonedError):
        runner.poll()


def test_the_status_file_is_written_while_a_poll_waits(server, make, tmp_path):
    """So `devaria status` shows that the runner lives."""
    runner = make()
    answers = core_fixtures.ok(jobs=[])

    def when_written(_request):
        runner.status.update(runner_name="while it waits")
        for _ in range(500):
            server.pause(0.01)
            if RunnerStatus.load(tmp_path).runner_name == "while it waits":
                return answers
        return drop()

    runner.wakeup.do_regularly(runner.status.write, 0.05)
    server.on(AVAILABLE, when_written)
    assert runner.poll() == []
    assert runner.asked == ["wait=3"]
