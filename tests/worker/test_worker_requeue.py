"""Jobs of silent runners go back to pending."""

import logging
import sys
import time

import pytest
from waiting import wait_until

from devaria.worker.server import LocalWorker
from devaria.worker.store.silence import steady_ms

AFTER_SEC = 600
AFTER_MS = AFTER_SEC * 1000
NOT_MINE = {"success": False, "message": "Job not found or not claimed by this runner"}
HEARTBEAT = {"progress_current": 1, "progress_total": 4, "console_output": "one"}
REPORTS = {
    "heartbeat": HEARTBEAT,
    "complete": {"output_data": 1, "console_output": ""},
    "error": {"error_message": "it broke", "console_output": ""},
}


class Api:
    """A worker as its callers see it."""

    def __init__(self, worker, http):
        self.worker = worker
        self._http = http

    def __call__(self, method, path, key, body=None, **arguments):
        """Send a request with one of the keys."""
        bearer = {"Authorization": f"Bearer {getattr(self.worker.keys, key)}"}
        headers = {**bearer, **arguments.pop("headers", {})}
        url = self.worker.url + path
        return self._http.request(method, url, json=body, headers=headers, timeout=10, **arguments)

    def submit(self):
        """Submit a job; return its id."""
        body = {"job_type": "t", "input_params": {}}
        return self("POST", "/api/jobs/submit", "submit", body).json()["job_id"]

    def runner(self, name="r"):
        """Register a runner; return a function that sends its requests."""
        body = {"name": name, "capabilities": ["t"]}
        runner_id = self("POST", "/api/runner/register", "runner", body).json()["runner_id"]
        headers = {"X-Runner-ID": runner_id}

        def send(action, job_id=None, body=None):
            if job_id is None:
                path = f"/api/runner/jobs/{action}?types[]=t"
                return self("GET", path, "runner", headers=headers)
            path = f"/api/runner/jobs/{job_id}/{action}"
            return self("POST", path, "runner", body, headers=headers)

        send.id = runner_id
        return send

    def look(self, job_id):
        """Return all fields of a job."""
        return self("GET", f"/api/admin/jobs/{job_id}", "admin").json()


@pytest.fixture
def make_worker(tmp_path, keys, clock):
    """Make workers over one data directory."""

    def make(after_sec=AFTER_SEC):
        options = {"port": 0, "keys": keys, "rate_limit": False, "clock": clock, "steady": clock}
        return LocalWorker(tmp_path / "worker", requeue_after_sec=after_sec, **options)

    return make


@pytest.fixture
def api(make_worker, http):
    """A running worker."""
    with make_worker() as worker:
        yield Api(worker, http)


def test_a_silent_job_is_available_after_the_time_and_not_before(api, clock):
    """A claim without heartbeats lasts exactly as long as the setting says."""
    job_id, first, second = api.submit(), api.runner(), api.runner()
    assert first("claim", job_id).status_code == 200
    clock.pass_ms(api.worker, AFTER_MS - 1)
    assert second("available").json() == {"jobs": []}
    assert second("claim", job_id).status_code == 409
    clock.pass_ms(api.worker, 1)
    assert [job["job_id"] for job in second("available").json()["jobs"]] == [job_id]
    assert second("claim", job_id).status_code == 200


def test_a_runner_that_knows_the_job_can_claim_it_without_asking_what_is_available(api, clock):
    """The claim itself looks for silent jobs."""
    job_id, first, second = api.submit(), api.runner(), api.runner()
    first("claim", job_id)
    clock.pass_ms(api.worker, AFTER_MS)
    assert second("claim", job_id).status_code == 200


def test_every_heartbeat_starts_the_time_anew(api, clock):
    """A job may run for hours, as long as its runner sends heartbeats."""
    job_id, first, second = api.submit(), api.runner(), api.runner()
    first("claim", job_id)
    for _ in range(20):
        clock.pass_ms(api.worker, AFTER_MS - 1)
        assert second("available").json() == {"jobs": []}
        assert first("heartbeat", job_id, HEARTBEAT).status_code == 200


def test_the_time_a_job_waits_for_a_runner_is_no_silence(api, clock):
    """The time starts with the claim, however long the job was pending."""
    job_id, first, second = api.submit(), api.runner(), api.runner()
    clock.pass_ms(api.worker, 10 * AFTER_MS)
    first("claim", job_id)
    clock.pass_ms(api.worker, AFTER_MS - 1)
    assert second("available").json() == {"jobs": []}


@pytest.mark.parametrize("action", REPORTS)
def test_the_first_runner_is_told_that_the_job_is_not_its_own(api, clock, action):
    """After another runner has claimed the job, its reports change nothing."""
    job_id, first, second = api.submit(), api.runner(), api.runner()
    first("claim", job_id)
    clock.pass_ms(api.worker, AFTER_MS)
    second("available")
    second("claim", job_id)
    reply = first(action, job_id, REPORTS[action])
    assert (reply.status_code, reply.json()) == (400, NOT_MINE)
    seen = api.look(job_id)
    assert (seen["status"], seen["claimed_by"], seen["claimed_at"]) == (
        "claimed",
        second.id,
        clock.now,
    )
    assert second("complete", job_id, REPORTS["complete"]).status_code == 200


@pytest.mark.parametrize("action", REPORTS)
def test_the_first_runner_is_told_so_also_while_nobody_has_the_job(api, clock, action):
    """Once the job is pending again, it belongs to no runner."""
    job_id, first = api.submit(), api.runner()
    first("claim", job_id)
    clock.pass_ms(api.worker, AFTER_MS)
    assert api.look(job_id)["status"] == "pending"
    reply = first(action, job_id, REPORTS[action])
    assert (reply.status_code, reply.json()) == (400, NOT_MINE)


def test_a_job_that_returned_shows_no_claim_and_no_progress_but_its_console(api, clock):
    """All routes show the same; the console shows how far the silent runner came."""
    job_id, first = api.submit(), api.runner()
    first("claim", job_id)
    first("heartbeat", job_id, HEARTBEAT)
    clock.pass_ms(api.worker, AFTER_MS)
    seen = api.look(job_id)
    fields = ("status", "claimed_by", "claimed_at", "last_heartbeat", "updated_at")
    assert [seen[name] for name in fields] == ["pending", None, None, None, clock.now]
    assert seen["console_output"] == "one"
    assert "progress" not in seen
    assert api("GET", f"/api/jobs/{job_id}", "submit").json()["status"] == "pending"
    assert api("GET", "/api/admin/stats", "admin").json()["jobs"]["pending"] == 1
    listed = api("GET", "/api/admin/jobs?status=pending", "admin").json()["jobs"]
    assert [job["claimed_by"] for job in listed] == [None]


@pytest.mark.parametrize(
    ("method", "path", "key"),
    [
        ("GET", "/api/admin/stats", "admin"),
        ("GET", "/api/admin/jobs?status=pending", "admin"),
        ("GET", "/api/jobs/{}", "submit"),
    ],
)
def test_each_way_to_look_finds_the_silent_job(api, clock, method, path, key):
    """The first read of any kind takes the job from its runner."""
    job_id, first = api.submit(), api.runner()
    first("claim", job_id)
    clock.pass_ms(api.worker, AFTER_MS)
    assert api(method, path.format(job_id), key).status_code == 200
    assert first("heartbeat", job_id, HEARTBEAT).status_code == 400


def test_submitting_a_silent_job_again_answers_that_it_is_pending(api, clock):
    """A submitter does not see a state that a silent runner left behind."""
    job_id, first = api.submit(), api.runner()
    first("claim", job_id)
    clock.pass_ms(api.worker, AFTER_MS)
    body = {"job_type": "t", "input_params": {}}
    answer = api("POST", "/api/jobs/submit", "submit", body).json()
    assert (answer["job_id"], answer["status"]) == (job_id, "pending")


def test_a_late_result_counts_while_nobody_has_looked(api, clock):
    """Finished work is not thrown away because it is late."""
    job_id, first = api.submit(), api.runner()
    first("claim", job_id)
    clock.pass_ms(api.worker, 10 * AFTER_MS)
    assert first("complete", job_id, REPORTS["complete"]).status_code == 200
    assert api.look(job_id)["status"] == "completed"


def test_a_finished_job_never_goes_back(api, clock):
    """Results and errors are kept."""
    finished = {}
    for action in ("complete", "error"):
        body = {"job_type": "t", "input_params": {"action": action}}
        job_id = api("POST", "/api/jobs/submit", "submit", body).json()["job_id"]
        runner = api.runner()
        runner("claim", job_id)
        runner(action, job_id, REPORTS[action])
        finished[action] = job_id
    clock.pass_ms(api.worker, 100 * AFTER_MS)
    assert api.runner()("available").json() == {"jobs": []}
    assert api.look(finished["complete"])["status"] == "completed"
    assert api.look(finished["error"])["status"] == "failed"


def test_with_zero_a_job_stays_claimed_for_ever(make_worker, http, clock):
    """The hosted worker does the same."""
    with make_worker(0) as worker:
        api = Api(worker, http)
        job_id, first = api.submit(), api.runner()
        first("claim", job_id)
        clock.pass_ms(api.worker, 1000 * AFTER_MS)
        assert api.runner()("available").json() == {"jobs": []}
        assert api.look(job_id)["status"] == "claimed"


def test_the_time_that_the_worker_was_down_is_no_silence(make_worker, http, clock):
    """After a restart, runners have the full time to send a heartbeat."""
    with make_worker() as worker:
        api = Api(worker, http)
        job_id, first = api.submit(), api.runner()
        first("claim", job_id)
    clock.pass_ms(api.worker, 10 * AFTER_MS)
    with make_worker() as worker:
        api.worker = worker
        second = api.runner()
        assert second("available").json() == {"jobs": []}
        assert first("heartbeat", job_id, HEARTBEAT).status_code == 200
        clock.pass_ms(api.worker, AFTER_MS)
        assert [job["job_id"] for job in second("available").json()["jobs"]] == [job_id]


def test_the_log_names_the_job_and_the_runner(api, clock, caplog):
    """The log tells an operator why a job ran twice."""
    job_id, first = api.submit(), api.runner()
    first("claim", job_id)
    clock.pass_ms(api.worker, AFTER_MS)
    with caplog.at_level(logging.WARNING, "devaria.worker.store.silence"):
        api.look(job_id)
        api.look(job_id)
    (message,) = caplog.messages
    assert message == f"Job {job_id} is pending again: runner {first.id} is silent"


def test_a_worker_waits_ten_minutes_unless_told_otherwise(tmp_path, keys, http, clock):
    """The default is the time of twenty heartbeats."""
    with LocalWorker(tmp_path, port=0, keys=keys, clock=clock, steady=clock) as worker:
        api = Api(worker, http)
        job_id, first = api.submit(), api.runner()
        first("claim", job_id)
        clock.pass_ms(api.worker, AFTER_MS - 1)
        assert api.look(job_id)["status"] == "claimed"
        clock.pass_ms(api.worker, 1)
        assert api.look(job_id)["status"] == "pending"


# Clocks


@pytest.fixture
def two_clocks(tmp_path, keys, http, clock, make_clock):
    """A worker whose steady clock is another than its wall clock."""
    steady = make_clock()
    options = {"port": 0, "keys": keys, "rate_limit": False, "clock": clock, "steady": steady}
    with LocalWorker(tmp_path / "worker", **options) as worker:
        yield Api(worker, http), steady


@pytest.mark.parametrize("jump_ms", [3_600_000, -3_600_000, 10 * AFTER_MS])
def test_a_jump_of_the_wall_clock_takes_no_job_from_its_runner(two_clocks, clock, jump_ms):
    """Somebody sets the clock, or summer time is set by hand."""
    api, _ = two_clocks
    job_id, first, second = api.submit(), api.runner(), api.runner()
    first("claim", job_id)
    clock.now += jump_ms
    assert second("available").json() == {"jobs": []}
    assert first("heartbeat", job_id, HEARTBEAT).status_code == 200


def test_a_clock_that_is_set_back_does_not_keep_a_job_from_returning(two_clocks, clock):
    """The runner is silent, whatever the wall clock says."""
    api, steady = two_clocks
    job_id, first, second = api.submit(), api.runner(), api.runner()
    first("claim", job_id)
    clock.now -= 24 * 3_600_000
    steady.pass_ms(api.worker, AFTER_MS)
    assert [job["job_id"] for job in second("available").json()["jobs"]] == [job_id]


@pytest.mark.parametrize("silent_ms", [0, AFTER_MS - 1])
def test_after_a_sleep_of_the_machine_each_runner_has_the_whole_time(two_clocks, silent_ms):
    """Nobody could send a heartbeat meanwhile, however long a runner was silent before."""
    api, steady = two_clocks
    job_id, first, second = api.submit(), api.runner(), api.runner()
    first("claim", job_id)
    steady.pass_ms(api.worker, silent_ms)
    steady.now += 8 * 3_600_000  # in one step: nobody looked at the clock
    assert second("available").json() == {"jobs": []}
    steady.pass_ms(api.worker, AFTER_MS - 1)
    assert second("available").json() == {"jobs": []}
    steady.pass_ms(api.worker, 1)
    assert [job["job_id"] for job in second("available").json()["jobs"]] == [job_id]


@pytest.mark.skipif(sys.platform != "linux", reason="has the clock that goes on while asleep")
def test_the_steady_clock_cannot_be_set_and_counts_sleep():
    """It is the one that Linux has for this."""
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
    assert before <= steady_ms() <= time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def test_a_running_worker_looks_at_its_clock(two_clocks):
    """It must know when it could not, also while nobody asks anything."""
    api, steady = two_clocks
    steady.now += 30_000  # less than a gap
    silent_jobs = api.worker.services.jobs._silent_jobs
    wait_until(lambda: silent_jobs._looked_at == steady.now)
