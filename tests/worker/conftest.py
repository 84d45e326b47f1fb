"""Fixtures: a local worker, a clock that tests set, and a browser of the dashboard."""

import pytest
import requests

from devaria.worker.keys import WorkerKeys
from devaria.worker.server import LocalWorker
from devaria.worker.store.jobs import JobStore
from devaria.worker.store.runners import RunnerStore


class Clock:
    """A clock that stands still until it is set; epoch milliseconds."""

    def __init__(self):
        self.now = 1_800_000_000_000

    def __call__(self):
        """Return the time."""
        return self.now

    def pass_ms(self, worker, milliseconds):
        """Let time pass while a worker runs, which looks at its clock now and then."""
        end = self.now + milliseconds
        while self.now < end:
            self.now = min(self.now + 20_000, end)
            if worker._database is not None:
                worker.services.jobs.look_at_clock()


@pytest.fixture
def make_clock():
    """Make clocks."""
    return Clock


@pytest.fixture
def clock():
    """The clock of `worker`, and of whatever a test makes with it."""
    return Clock()


@pytest.fixture
def keys():
    """The keys of `worker`."""
    return WorkerKeys(runner="runner-key", submit="submit-key", admin="admin-key")


@pytest.fixture
def worker(tmp_path, keys, clock):
    """A running local worker on a free port."""
    options = {"port": 0, "keys": keys, "rate_limit": False, "clock": clock, "steady": clock}
    with LocalWorker(tmp_path / "worker", **options) as worker:
        yield worker


@pytest.fixture
def http():
    """An HTTP session that ignores the environment (proxies, .netrc)."""
    with requests.Session() as session:
        session.trust_env = False
        yield session


class Browser:
    """Sends requests as a browser with the dashboard's cookie does."""

    def __init__(self, worker, http):
        self.url = worker.url
        self.http = http
        overview = http.get(worker.dashboard_url, timeout=10)
        assert overview.ok
        self.home = overview.url[len(self.url) :]

    def path(self, path):
        """Return the path of a page in the browser's session; `/dashboard` stands for the first."""
        return path.replace("/dashboard", self.home, 1)

    def get(self, path, **arguments):
        """Open a page."""
        return self.http.get(self.url + self.path(path), timeout=10, **arguments)

    def post(self, path, origin=None, **fields):
        """Send a form; by default from a page of the worker."""
        headers = {"Origin": self.url if origin is None else origin}
        url = self.url + self.path(path)
        return self.http.post(url, fields, headers=headers, timeout=10, allow_redirects=False)


class Stores:
    """The stores of a running worker; tests use them to make jobs in any state."""

    def __init__(self, worker, clock):
        self.jobs = JobStore(worker._database, clock)
        self.runners = RunnerStore(worker._database, clock)

    def job(self, status, job_type="t", params=None, console="", output='"out"', error="broke"):
        """Make a job of that status; return its id."""
        job_id = self.jobs.submit(job_type, params or {})[0]["job_id"]
        if status != "pending":
            runner_id = self.runners.register("runner-x", [job_type])
            assert self.jobs.claim(job_id, runner_id)
        if status == "in_progress":
            self.jobs.heartbeat(job_id, runner_id, 1, 4, console)
        if status in ("completed", "failed"):
            ok = status == "completed"
            outcome = {"output": output} if ok else {"error": error}
            assert self.jobs.finish(job_id, runner_id, console, **outcome)
        return job_id


@pytest.fixture
def browser(worker, http):
    """A browser that has opened the dashboard's link."""
    return Browser(worker, http)


@pytest.fixture
def stores(worker, clock):
    """The worker's stores."""
    return Stores(worker, clock)
