"""A local worker of the test's own, and a clock that can be set."""

import pytest
import requests

from devaria.worker.keys import WorkerKeys
from devaria.worker.server import LocalWorker


class Clock:
    """A clock that stands still until it is set; epoch milliseconds."""

    def __init__(self):
        self.now = 1_800_000_000_000

    def __call__(self):
        """Give the time."""
        return self.now


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
    data_dir = tmp_path / "worker"
    with LocalWorker(data_dir, port=0, keys=keys, rate_limit=False, clock=clock) as worker:
        yield worker


@pytest.fixture
def http():
    """One HTTP session; nothing of the environment (proxies, .netrc) has a part in it."""
    with requests.Session() as session:
        session.trust_env = False
        yield session
