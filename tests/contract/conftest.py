"""The worker under test, and raw requests to it.

By default that is a local worker on a free port. ``DEVARIA_TEST_WORKER_URL`` with
``DEVARIA_TEST_RUNNER_KEY``, ``DEVARIA_TEST_SUBMIT_KEY`` and ``DEVARIA_TEST_ADMIN_KEY`` names
another one; its rate limits are waited for (10 submissions a minute: the run then takes tens of
minutes), its jobs are deleted after each test, and what would use up its quota, needs a clock that
can be set, or is said only of the local worker, is skipped.
"""

import json
import os
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from devaria.worker.keys import WorkerKeys
from devaria.worker.server import LocalWorker

KEYS = WorkerKeys(runner="runner-key", submit="submit-key", admin="admin-key")


class Caller:
    """Sends requests with the headers of one kind of caller; waits while a rate limit applies."""

    def __init__(self, session, url, headers, patient):
        self._session = session
        self._url = url
        self._headers = headers
        self._patient = patient

    def __call__(self, method, path, **arguments):
        """Send one request; if a rate limit refuses it, send it again after the window."""
        arguments["headers"] = {**self._headers, **arguments.get("headers", {})}
        arguments.setdefault("timeout", 10)
        while True:
            reply = self._session.request(method, self._url + path, **arguments)
            if reply.status_code != 429 or not self._patient:
                return reply
            wait_sec = reply.json()["resetTime"] / 1000 - time.time()
            assert wait_sec < 65
            threading.Event().wait(max(wait_sec, 0) + 0.5)

    def get(self, path, **arguments):
        """Send a GET."""
        return self("GET", path, **arguments)

    def post(self, path, body=None, **arguments):
        """Send a POST, with a JSON body if there is one."""
        if body is not None:
            arguments["json"] = body
        return self("POST", path, **arguments)

    def delete(self, path, **arguments):
        """Send a DELETE."""
        return self("DELETE", path, **arguments)


class Api:
    """A worker as its callers see it, with the steps that most tests begin with."""

    def __init__(self, url, keys, session, patient=True):
        self.url = url
        self.keys = keys
        self.session = session
        self.patient = patient
        self.anyone = Caller(session, url, {}, patient)
        self.submitter = self._caller(keys.submit)
        self.admin = self._caller(keys.admin)
        self.keyholder = self._caller(keys.runner)  # the runner key, without a runner id
        self.job_ids = []

    def _caller(self, key, **headers):
        bearer = {"Authorization": f"Bearer {key}", **headers}
        return Caller(self.session, self.url, bearer, self.patient)

    def runner(self, runner_id):
        """Act as that runner."""
        return self._caller(self.keys.runner, **{"X-Runner-ID": runner_id})

    def register(self, *types, name="contract-test"):
        """Register a new runner and return its id."""
        body = {"name": name, "capabilities": list(types)}
        reply = self.keyholder.post("/api/runner/register", body)
        assert reply.status_code == 201
        return reply.json()["runner_id"]

    def submit(self, job_type, params, **arguments):
        """Submit a job that is deleted after the test."""
        body = {"job_type": job_type, "input_params": params}
        reply = self.submitter.post("/api/jobs/submit", body, **arguments)
        if reply.status_code in (200, 201):
            self.job_ids.append(reply.json()["job_id"])
        return reply

    def new_job(self, job_type="", params=None):
        """Submit a job and check that it is new; return its id."""
        reply = self.submit(job_type or unique_type(), {"n": 1} if params is None else params)
        assert reply.status_code == 201
        return reply.json()["job_id"]

    def claimed_job(self, job_type="", params=None):
        """Submit a job and claim it; return its id and its runner."""
        job_id, runner = self.new_job(job_type, params), self.runner(self.register("x"))
        assert runner.post(f"/api/runner/jobs/{job_id}/claim").status_code == 200
        return job_id, runner

    def look(self, job_id):
        """Return all fields of a job."""
        reply = self.anyone.get(f"/api/admin/jobs/{job_id}")
        assert reply.status_code == 200
        return reply.json()

    def clean(self):
        """Delete the jobs of the test."""
        if self.job_ids:
            self.admin.post("/api/admin/jobs/batch-delete", {"job_ids": self.job_ids})
            self.job_ids = []


def unique_type():
    """Make a job type that nobody else uses."""
    return f"contract-test-{uuid.uuid4().hex}"


def _remote():
    url = os.environ.get("DEVARIA_TEST_WORKER_URL", "").rstrip("/")
    names = ("RUNNER", "SUBMIT", "ADMIN")
    values = [os.environ.get(f"DEVARIA_TEST_{name}_KEY", "") for name in names]
    if url and not all(values):
        pytest.fail("DEVARIA_TEST_WORKER_URL needs all three DEVARIA_TEST_*_KEY")
    return (url, WorkerKeys(*values)) if url else None


@pytest.fixture(scope="session")
def address(tmp_path_factory):
    """URL and keys of the worker under test."""
    remote = _remote()
    if remote:
        yield remote
        return
    data_dir = tmp_path_factory.mktemp("worker")
    # The hosts of the figures in these tests are on loopback.
    options = {"rate_limit": False, "requeue_after_sec": 0, "allow_hosts": ["127.0.0.1"]}
    with LocalWorker(data_dir, port=0, keys=KEYS, **options) as worker:
        yield worker.url, KEYS


@pytest.fixture(scope="session")
def session():
    """An HTTP session that ignores the environment (proxies, .netrc)."""
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture
def api(address, session):
    """The worker under test."""
    api = Api(*address, session)
    yield api
    api.clean()


@pytest.fixture
def local_api(api):
    """The worker under test, if it is the local one."""
    if _remote():
        pytest.skip("says more than the contract, or submits more than a worker allows in a minute")
    return api


@pytest.fixture
def job_type():
    """A job type that no other test uses."""
    return unique_type()


class Clock:
    """A clock that stands still until it is set; epoch milliseconds."""

    def __init__(self):
        self.now = 1_800_000_000_000

    def __call__(self):
        """Return the time."""
        return self.now


@pytest.fixture
def clock():
    """The clock of `timed_api`."""
    return Clock()


@pytest.fixture
def timed_api(tmp_path, session, clock):
    """A local worker of its own, with rate limits and a clock that can be set."""
    if _remote():
        pytest.skip("needs a clock that can be set, and would use up the rate limits")
    with LocalWorker(tmp_path, port=0, keys=KEYS, clock=clock, requeue_after_sec=0) as worker:
        yield Api(worker.url, KEYS, session, patient=False)


class FigureHost:
    """A figure host; serves `files`, a (status, JSON value or bytes) for each path."""

    def __init__(self, url):
        self.url = url
        self.files = {}
        self.asked = []


@pytest.fixture
def figure_host():
    """A figure host on loopback, which the worker must be able to reach."""
    remote = _remote()
    if remote and "127.0.0.1" not in remote[0] and "localhost" not in remote[0]:
        pytest.skip("a worker elsewhere cannot reach a figure host on loopback")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            host.asked.append(self.path)
            status, content = host.files.get(self.path, (404, {}))
            content = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments):
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    host = FigureHost(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield host
    server.shutdown()
    thread.join()
    server.server_close()
