"""The heartbeat: the newest state of a job, on a schedule, whatever the network does."""

import logging
import threading
import time

import core_fixtures
import pytest
from core_fixtures import KEY, RUNNER_ID
from scripted_server import as_json, drop, hang, html, ok, rate_limited
from waiting import wait_until

from devaria.client.client import WorkerClient
from devaria.common.timing import Timing
from devaria.runner.heartbeat import HeartbeatThread
from devaria.runner.journal import JournalEntry
from devaria.runner.status import RunnerStatus, StatusFile

BEAT = "POST /api/runner/jobs/j-1/heartbeat"
DETAIL = "GET /api/admin/jobs/j-1"
TAKEN = ok(success=True, message="ok")
NOT_OURS = as_json({"success": False, "message": "Job not found or not claimed"}, 400)

#: The time between two beats with news, in these tests, in seconds.
GAP_SEC = 0.1


def detail(status, claimed_by=RUNNER_ID):
    """Answer with the job's detail."""
    return ok(job_id="j-1", status=status, claimed_by=claimed_by)


class Beating:
    """A heartbeat of a job, and what it called."""

    def __init__(self, server, status, interval_sec, timeout_sec, answer_sec):
        self.lost_calls = 0
        self.console = "printed"
        self._client = WorkerClient(
            server.url,
            KEY,
            Timing(
                heartbeat_sec=interval_sec,
                heartbeat_gap_sec=GAP_SEC,
                heartbeat_timeout_sec=timeout_sec,
                heartbeat_answer_sec=answer_sec,
                heartbeat_stop_sec=0.2,
            ),
        )
        self.heartbeat = HeartbeatThread(
            self._client,
            JournalEntry("j-1", "hello_world", server.url, RUNNER_ID),
            lambda: self.console,
            on_lost=self._on_lost,
            clean=lambda text: text.replace("s3cr3t", "***"),
            status=status,
        )
        self.heartbeat.start()

    def end(self):
        """End it, after the server has ended requests that hang."""
        self.heartbeat.stop()
        self.heartbeat._thread.join(core_fixtures.PATIENCE_SEC)
        assert not self.heartbeat._thread.is_alive()
        self._client.close()

    def _on_lost(self):
        self.lost_calls += 1


@pytest.fixture
def beating(server, tmp_path):
    """Start heartbeats with short times; they end before the server does."""
    started = []
    status = StatusFile(tmp_path, RunnerStatus(1, 0.0, server.url))

    def start(interval_sec=60.0, timeout_sec=0.3, answer_sec=60.0):
        started.append(Beating(server, status, interval_sec, timeout_sec, answer_sec))
        return started[-1]

    yield start
    for each in started:
        each.end()
    status.close()


# --- when and what ---------------------------------------------------------------------------


def test_without_news_it_beats_at_its_interval(server, beating):
    """The claim counts as the beat before the first one."""
    server.on(BEAT, TAKEN)
    started = time.monotonic()

    beating(interval_sec=0.3)

    beats = [server.wait_for(BEAT, count).at for count in (1, 2, 3)]
    assert beats[0] - started >= 0.3
    assert beats[1] - beats[0] >= 0.3
    assert server.seen(BEAT)[0].json == {
        "progress_current": None,
        "progress_total": None,
        "console_output": "printed",
    }


def test_of_many_news_the_last_arrives_and_few_are_sent(server, beating):
    """A chatty handler does not flood the worker."""
    server.on(BEAT, TAKEN)
    heartbeat = beating().heartbeat

    for number in range(10_000):
        heartbeat.update(number, 10_000, None)
    heartbeat.update(10_000, 10_000, "the end")

    wait_until(lambda: any(b.json["progress_current"] == 10_000 for b in server.seen(BEAT)))
    assert server.seen(BEAT)[-1].json["console_output"] == "the end"


def test_between_two_beats_with_news_is_a_gap(server, beating):
    """The gap is kept however often there is news."""
    server.on(BEAT, TAKEN)
    heartbeat = beating().heartbeat

    while len(server.seen(BEAT)) < 5:
        heartbeat.update(time.monotonic(), None, None)
        time.sleep(0.001)  # leave the server some time

    times = [beat.at for beat in server.seen(BEAT)]
    assert all(later - earlier >= GAP_SEC for earlier, later in zip(times, times[1:]))


def test_news_after_a_pause_are_sent_long_before_the_interval_is_over(server, beating):
    """A person may be watching the progress."""
    server.on(BEAT, TAKEN)
    heartbeat = beating(interval_sec=3_600.0).heartbeat

    heartbeat.update(1, 2, None)

    assert server.wait_for(BEAT).json["progress_current"] == 1


def test_the_console_is_read_at_each_beat_and_cleaned(server, beating):
    """Each heartbeat sends what the job has printed so far, without secrets."""
    server.on(BEAT, TAKEN)
    beats = beating(interval_sec=0.05)

    beats.console = "printed s3cr3t"

    wait_until(
        lambda: server.requests and server.requests[-1].json["console_output"] == "printed ***"
    )


def test_a_console_of_the_handlers_own_replaces_the_printed_one_for_good(server, beating):
    """Later calls without one keep it."""
    server.on(BEAT, TAKEN)
    heartbeat = beating().heartbeat

    heartbeat.update(1, 2, "own s3cr3t")
    heartbeat.update(2, 2, None)

    assert server.wait_for(BEAT).json == {
        "progress_current": 2,
        "progress_total": 2,
        "console_output": "own ***",
    }


def test_a_console_that_is_too_large_is_shortened(server, beating):
    """The worker would refuse the whole beat."""
    server.on(BEAT, TAKEN)
    beats = beating()

    beats.heartbeat.update(1, 2, "head" + "x" * 3_000_000 + "tail")

    console = server.wait_for(BEAT).json["console_output"]
    assert len(console) <= 1_048_576
    assert console.startswith("head")
    assert console.endswith("tail")


# --- what goes wrong -------------------------------------------------------------------------


def test_failing_beats_do_not_stop_the_next_ones(server, beating, caplog):
    """Of several failures in a row only the first is logged, and then the recovery."""
    caplog.set_level(logging.INFO, "devaria.runner.heartbeat")
    server.on(BEAT, as_json({"error": "x"}, 500), drop(), html(), TAKEN)

    beating(interval_sec=0.1)

    server.wait_for(BEAT, 5)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert messages[0].startswith(
        "heartbeat of job j-1 failed, trying again: POST http://127.0.0.1"
    )
    assert messages[1] == "heartbeats of job j-1 arrive again"


def test_a_beat_that_hangs_does_not_cost_the_next(server, beating):
    """It ends at its own time-out, and the next one sends the newest state."""
    server.on(BEAT, hang(), TAKEN)
    heartbeat = beating().heartbeat

    heartbeat.update(1, 9, None)
    server.wait_for(BEAT)
    heartbeat.update(2, 9, None)

    assert server.wait_for(BEAT, 2).json["progress_current"] == 2


def test_news_never_wait_for_the_network(server, beating):
    """Ten thousand updates go through while a beat hangs."""
    server.on(BEAT, hang())
    heartbeat = beating().heartbeat
    heartbeat.update(0, None, None)
    server.wait_for(BEAT)

    done = threading.Event()

    def update():
        for number in range(10_000):
            heartbeat.update(number, None, None)
        done.set()

    threading.Thread(target=update).start()

    assert done.wait(core_fixtures.PATIENCE_SEC)


def test_a_rate_limit_is_waited_for_until_its_reset(server, beating):
    """No heartbeat is sent before the reset, although there is news all the time."""
    server.on(BEAT, rate_limited(reset_in_sec=0.5), TAKEN)
    heartbeat = beating().heartbeat

    while len(server.seen(BEAT)) < 2:
        heartbeat.update(time.monotonic(), None, None)
        time.sleep(0.01)

    first, second = server.seen(BEAT)[:2]
    assert second.at - first.at >= 0.4


def test_an_unexpected_error_does_not_end_the_heartbeats(server, beating, caplog):
    """It is logged once, with its traceback. The worker would give the job to another runner."""
    server.on(BEAT, TAKEN)
    beats = beating(interval_sec=0.05)
    fails = iter(range(3))
    beats.heartbeat._console = lambda: 1 // next(fails, 1) and "printed"

    # The first look at the console raises ZeroDivisionError, and so may later ones.
    server.wait_for(BEAT, 3)

    errors = [record for record in caplog.records if "unexpected" in record.getMessage()]
    assert len(errors) == 1
    assert errors[0].exc_info
    assert beats.heartbeat._thread.is_alive()


def test_a_drip_of_bytes_does_not_hold_a_beat(server, beating):
    """A whole heartbeat has a time, not only each of its bytes."""
    drip = as_json({"success": True, "text": "x" * 100}, pieces_sec=0.2)
    server.on(BEAT, drip, drip, TAKEN)
    beats = beating(interval_sec=0.05, answer_sec=0.3)
    server.wait_for(BEAT, 4)
    assert not beats.heartbeat.lost


# --- whose the job is ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        detail("claimed", claimed_by="another"),
        detail("pending", claimed_by=None),
        detail("failed"),
        detail("completed"),
        as_json({"error": "Job not found"}, 404),
    ],
)
def test_a_job_is_lost_when_its_detail_confirms_it(server, beating, answer):
    """The loss is reported once, and the heartbeats end."""
    server.on(BEAT, TAKEN, NOT_OURS)
    server.on(DETAIL, answer)

    beats = beating(interval_sec=0.05)

    wait_until(lambda: beats.heartbeat.lost)
    beats.heartbeat._thread.join(core_fixtures.PATIENCE_SEC)
    assert not beats.heartbeat._thread.is_alive()
    assert beats.lost_calls == 1
    assert len(server.seen(BEAT)) == 2


@pytest.mark.parametrize(
    "answer",
    [
        detail("claimed"),
        detail("in_progress"),
        as_json({"error": "x"}, 500),
        html(),
        drop(),
        as_json({"error": "Not found"}, 404),
    ],
)
def test_a_job_is_not_lost_while_nothing_confirms_it(server, beating, answer):
    """One refused heartbeat may come from a proxy; hours of work must not be lost for it."""
    server.on(BEAT, NOT_OURS, NOT_OURS, TAKEN)
    server.on(DETAIL, answer)

    beats = beating(interval_sec=0.05)

    server.wait_for(BEAT, 4)
    assert not beats.heartbeat.lost
    assert beats.lost_calls == 0


# --- the end ---------------------------------------------------------------------------------


def test_after_its_stop_nothing_is_sent(server, beating):
    """This is so even if there is news that was not sent yet."""
    server.on(BEAT, TAKEN)
    beats = beating(interval_sec=0.05)
    server.wait_for(BEAT)

    assert beats.heartbeat.stop()
    sent = len(server.seen(BEAT))
    beats.heartbeat.update(1, 2, "late")

    assert not beats.heartbeat._thread.is_alive()
    assert len(server.seen(BEAT)) == sent


def test_a_stop_does_not_wait_for_a_beat_that_hangs(server, beating):
    """`stop` returns False, since the client is still in use."""
    server.on(BEAT, hang())
    beats = beating(interval_sec=0.05, timeout_sec=60.0)
    server.wait_for(BEAT)

    assert not beats.heartbeat.stop()
    server.close_connections()


def test_a_job_that_is_reported_is_not_lost_by_a_late_beat(server, beating):
    """The worker refuses a heartbeat that was on its way meanwhile; that is no loss."""
    refusing = threading.Event()
    answer = as_json({"success": False, "message": "Job not claimed"}, 400, wait_for=refusing)
    server.on(BEAT, answer)
    server.on(DETAIL, detail("completed"))
    beats = beating(interval_sec=0.05)
    server.wait_for(BEAT)

    with beats.heartbeat._changed:
        beats.heartbeat._stopping = True
    refusing.set()
    beats.heartbeat._thread.join(core_fixtures.PATIENCE_SEC)

    assert not beats.heartbeat.lost
    assert beats.lost_calls == 0
