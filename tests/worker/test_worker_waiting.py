"""Requests that wait at a running worker: runners for a job, readers for a change."""

import json
import logging
import socket
import sys
import threading
import time

import pytest
import requests
from waiting import wait_until

from devaria.worker.server import LocalWorker
from devaria.worker.store import news, pickup

RUNNER = {"Authorization": "Bearer runner-key"}
SUBMITTER = {"Authorization": "Bearer submit-key"}
#: No wait lasts so long: what is waited for comes at once.
LONG = {"Prefer": "wait=60"}


class Background(threading.Thread):
    """A GET request in a thread of its own."""

    def __init__(self, url, headers):
        super().__init__()
        self._arguments = {"headers": headers, "timeout": 70}
        self._url = url
        self.reply = None
        self.start()

    def run(self):
        """Send the request."""
        self.reply = requests.get(self._url, **self._arguments)

    def answered(self):
        """Return the answer, once it is there."""
        self.join(30)
        assert self.reply is not None
        return self.reply


class Callers:
    """Runners and readers of one worker."""

    def __init__(self, worker):
        self.worker = worker
        self.available = f"{worker.url}/api/runner/jobs/available?types[]=t"

    @property
    def waiting(self):
        """How many requests wait."""
        waits = self.worker._database.news.waits
        with waits.lock:
            return len(waits._line)

    def poll(self, runner_id, **headers):
        """Poll, and return the answer."""
        headers = {**RUNNER, "X-Runner-ID": runner_id, **headers}
        return requests.get(self.available, headers=headers, timeout=10)

    def waiting_poll(self, runner_id):
        """Begin a poll, and return it when it waits."""
        before = self.waiting
        poll = Background(self.available, {**RUNNER, "X-Runner-ID": runner_id, **LONG})
        wait_until(lambda: self.waiting > before)
        return poll

    def look(self, job_id, seen=None, **headers):
        """Look at a job as a submitter."""
        headers = {**SUBMITTER, **headers, **({"If-None-Match": seen} if seen else {})}
        return requests.get(f"{self.worker.url}/api/jobs/{job_id}", headers=headers, timeout=10)

    def waiting_look(self, path, **headers):
        """Look, and look again for a change; return the second request when it waits."""
        url = self.worker.url + path
        first = requests.get(url, headers={**headers, **LONG}, timeout=10)
        assert first.headers["Preference-Applied"] == "wait=60"
        before = self.waiting
        second = Background(url, {**headers, **LONG, "If-None-Match": first.headers["ETag"]})
        wait_until(lambda: self.waiting > before)
        return second

    def submit(self):
        """Submit a job over HTTP; return its id."""
        body = {"job_type": "t", "input_params": {"by": "http"}}
        url = f"{self.worker.url}/api/jobs/submit"
        reply = requests.post(url, json=body, headers=SUBMITTER, timeout=10)
        return reply.json()["job_id"]


@pytest.fixture
def callers(worker):
    """The callers of the running worker."""
    return Callers(worker)


def ids(reply):
    """The ids of the jobs in an answer."""
    return [job["job_id"] for job in reply.json()["jobs"]]


# --- runners ---------------------------------------------------------------------------------


def test_a_submission_answers_a_poll_that_waits(callers):
    """The answer says that it could wait."""
    poll = callers.waiting_poll("r-1")
    job_id = callers.submit()
    reply = poll.answered()
    assert ids(reply) == [job_id]
    assert reply.headers["Preference-Applied"] == "wait=60"


def test_a_wait_that_is_over_is_answered_with_an_empty_list(callers):
    """The header says that waiting is possible, so the runner polls again at once."""
    reply = callers.poll("r-1", Prefer="wait=1")
    assert (reply.status_code, ids(reply)) == (200, [])
    assert reply.headers["Preference-Applied"] == "wait=1"


@pytest.mark.parametrize(
    ("wanted", "applied"),
    [("wait=9", "9"), ("respond-async, Wait = 9", "9"), ("wait=99999;x=1", "60")],
)
def test_the_header_is_read_as_its_rfc_has_it(callers, wanted, applied):
    """It may stand in a list, and a very long wait is cut."""
    callers.submit()
    assert callers.poll("r-1", Prefer=wanted).headers["Preference-Applied"] == f"wait={applied}"


@pytest.mark.parametrize(
    "wanted", ["", "wait", "wait=", "wait=-1", "wait=1.5", "await=5", "wait=x"]
)
def test_any_other_header_is_ignored(callers, wanted):
    """Such a poll is answered at once, as if there were no header."""
    reply = callers.poll("r-1", Prefer=wanted)
    assert reply.json() == {"jobs": []}
    assert "Preference-Applied" not in reply.headers


def test_a_poll_without_the_header_lists_also_what_others_are_told_of(callers):
    """An offer hides no job from runners that do not wait, and any of them may claim it."""
    job_id = callers.submit()
    assert ids(callers.poll("r-1", **LONG)) == [job_id]
    assert ids(callers.poll("r-2")) == [job_id]
    assert ids(callers.poll("r-3", Prefer="wait=0")) == [job_id]
    assert "Preference-Applied" not in callers.poll("r-3", Prefer="wait=0").headers


def test_too_many_polls_do_not_wait(callers, monkeypatch):
    """One too many is answered at once, without the header: its runner comes again later."""
    monkeypatch.setattr(pickup, "MAX_WAITING", 1)
    poll = callers.waiting_poll("r-1")
    reply = callers.poll("r-2", **LONG)
    assert reply.json() == {"jobs": []}
    assert "Preference-Applied" not in reply.headers
    job_id = callers.submit()
    assert ids(poll.answered()) == [job_id]


def test_a_job_of_a_silent_runner_wakes_a_runner_that_waits(tmp_path, keys, clock):
    """So does a job that is rerun: it is new."""
    options = {"port": 0, "keys": keys, "steady": clock, "requeue_after_sec": 100}
    with LocalWorker(tmp_path, **options) as worker:
        callers = Callers(worker)
        body = {"name": "r", "capabilities": ["t"]}
        url = f"{worker.url}/api/runner/"
        reply = requests.post(url + "register", json=body, headers=RUNNER, timeout=10)
        silent = {**RUNNER, "X-Runner-ID": reply.json()["runner_id"]}
        job_id = callers.submit()
        assert requests.post(f"{url}jobs/{job_id}/claim", headers=silent, timeout=10).ok
        poll = callers.waiting_poll("r-1")
        clock.pass_ms(worker, 101_000)
        callers.look(job_id)  # any look at the queue finds that its runner is silent
        assert ids(poll.answered()) == [job_id]


def test_a_poll_that_waits_counts_as_one(tmp_path, keys):
    """A runner has 120 polls a minute, however long each takes."""
    with LocalWorker(tmp_path, port=0, keys=keys) as worker:
        callers = Callers(worker)
        assert callers.poll("r-1", Prefer="wait=1").ok
        codes = [callers.poll("r-1", Prefer="wait=0").status_code for _ in range(120)]
    assert codes == [200] * 119 + [429]


def test_others_are_answered_while_many_wait(callers):
    """Each poll that waits gets a thread of its own, beside those for other requests."""
    polls = [callers.waiting_poll(f"r-{n}") for n in range(40)]
    job_ids = {callers.submit()}
    assert callers.look(*job_ids).ok
    wait_until(lambda: callers.waiting == 39)
    callers.worker.stop()
    answers = [ids(poll.answered()) for poll in polls]
    assert sorted(answers) == [[]] * 39 + [[*job_ids]]


def test_a_worker_that_stops_answers_all_that_wait(callers):
    """Fifty polls end within a second, each with an answer."""
    polls = [callers.waiting_poll(f"r-{n}") for n in range(50)]
    started = time.monotonic()
    callers.worker.stop()
    assert time.monotonic() - started < 5  # it takes far less than the second it has
    assert [ids(poll.answered()) for poll in polls] == [[]] * 50


@pytest.mark.skipif(sys.version_info < (3, 9), reason="waitress 3.0.0 does not see it")
def test_a_client_that_is_gone_waits_no_more(callers, caplog):
    """Its thread is free again soon, and its end is no error."""
    caplog.set_level(logging.WARNING)
    address = ("127.0.0.1", int(callers.worker.url.rpartition(":")[2]))
    for nth in range(3):
        request = (
            f"GET /api/runner/jobs/available?types[]=t HTTP/1.1\r\nHost: x\r\nPrefer: wait=60\r\n"
            f"Authorization: Bearer runner-key\r\nX-Runner-ID: r-{nth}\r\n\r\n"
        )
        with socket.create_connection(address) as client:
            client.sendall(request.encode())
            wait_until(lambda: callers.waiting == 1)
        wait_until(lambda: callers.waiting == 0)
    job_id = callers.submit()
    assert ids(callers.poll("r-9", **LONG)) == [job_id]
    assert caplog.text == ""


# --- readers ---------------------------------------------------------------------------------

VIEWS = [("/api/jobs/{}", SUBMITTER), ("/api/admin/jobs/{}", {})]


@pytest.fixture
def running(stores):
    """A job in progress and its runner, and the step that stores a heartbeat of it."""
    job_id = stores.job("in_progress", console="one\n")
    runner_id = stores.jobs.get(job_id)["claimed_by"]

    def beat(current, console):
        assert stores.jobs.heartbeat(job_id, runner_id, current, 4, console)

    return job_id, runner_id, beat


@pytest.mark.parametrize(("path", "headers"), VIEWS)
def test_each_change_of_a_job_answers_a_look_that_waits(callers, stores, running, path, headers):
    """Progress, the console, and the end of the job."""
    job_id, runner_id, beat = running
    path = path.format(job_id)
    look = callers.waiting_look(path, **headers)
    beat(2, "one\n")
    assert look.answered().json()["progress"] == {"current": 2, "total": 4}
    if not headers:
        look = callers.waiting_look(path)
        beat(2, "one\ntwo\n")
        assert look.answered().json()["console_output"] == "one\ntwo\n"
    look = callers.waiting_look(path, **headers)
    assert stores.jobs.finish(job_id, runner_id, "", output="1")
    assert look.answered().json()["status"] == "completed"


def test_a_claim_and_a_deletion_answer_it_too(callers, stores):
    """A deleted job is answered with 404, as ever."""
    job_id = stores.job("pending")
    look = callers.waiting_look(f"/api/jobs/{job_id}", **SUBMITTER)
    assert stores.jobs.claim(job_id, stores.runners.register("r", ["t"]))
    assert look.answered().json()["status"] == "claimed"
    look = callers.waiting_look(f"/api/jobs/{job_id}", **SUBMITTER)
    stores.jobs.delete(job_id)
    assert look.answered().status_code == 404


def test_a_heartbeat_without_news_and_changes_of_other_jobs_do_not(callers, stores, running, clock):
    """The time of the last heartbeat is no news by itself."""
    job_id, _, beat = running
    look = callers.waiting_look(f"/api/admin/jobs/{job_id}")
    clock.now += 30_000
    beat(1, "one\n")
    stores.job("pending", params={"n": 2})
    beat(1, "one\nnews\n")
    assert look.answered().json()["console_output"] == "one\nnews\n"


def test_without_a_change_the_answer_is_304_when_the_time_is_over(callers, running):
    """It has the tag, and no body."""
    seen = callers.look(running[0], **LONG).headers["ETag"]
    reply = callers.look(running[0], seen, Prefer="wait=1")
    assert (reply.status_code, reply.content) == (304, b"")
    assert (reply.headers["ETag"], reply.headers["Preference-Applied"]) == (seen, "wait=1")


def test_a_tag_of_an_earlier_state_is_answered_at_once(callers, running):
    """What changed between two looks is not missed."""
    job_id, _, beat = running
    seen = callers.look(job_id, **LONG).headers["ETag"]
    beat(3, "one\n")
    assert callers.look(job_id, seen, **LONG).json()["progress"]["current"] == 3


def test_a_look_that_does_not_ask_is_answered_as_ever(callers, running):
    """There is no tag, and a tag in the request is ignored."""
    seen = callers.look(running[0], **LONG).headers["ETag"]
    reply = callers.look(running[0], seen)
    assert reply.status_code == 200
    assert not {"ETag", "Preference-Applied"} & set(reply.headers)


def test_too_many_readers_do_not_wait_and_take_no_place_of_a_runner(callers, running, monkeypatch):
    """One too many is answered at once, without the header."""
    monkeypatch.setattr(news, "MAX_READERS", 1)
    job_id, _, beat = running
    look = callers.waiting_look(f"/api/jobs/{job_id}", **SUBMITTER)
    seen = callers.look(job_id, **LONG).headers["ETag"]
    reply = callers.look(job_id, seen, **LONG)
    assert (reply.status_code, reply.headers.get("Preference-Applied")) == (304, None)
    poll = callers.waiting_poll("r-1")
    submitted = callers.submit()
    assert ids(poll.answered()) == [submitted]
    beat(4, "")
    assert json.loads(look.answered().content)["progress"]["current"] == 4


def test_a_page_of_the_dashboard_waits_for_a_change_too(browser, callers, stores, running):
    """The overview for any, a job's page for one of its job; how long ago it was is none."""
    job_id, _, beat = running
    cookie = "; ".join(f"{name}={value}" for name, value in browser.http.cookies.items())
    overview = callers.waiting_look(browser.home, Cookie=cookie)
    page = callers.waiting_look(f"{browser.home}/jobs/{job_id}", Cookie=cookie)
    stores.runners.register("a new runner", [])
    assert "a new runner" in overview.answered().text
    beat(1, "one\ntwo\n")
    assert "one\ntwo\n" in page.answered().text


def test_the_age_of_a_job_is_no_change_of_its_page(browser, clock, running):
    """The page's script counts on."""
    path = f"/dashboard/jobs/{running[0]}"
    seen = browser.get(path, headers=LONG).headers["ETag"]
    clock.now += 5_000
    reply = browser.get(path, headers={"Prefer": "wait=0", "If-None-Match": seen})
    assert reply.status_code == 304
