"""What the tests of job processes share."""

import pytest
from job_processes import HandlerRuns

from devaria.common.timing import Timing


@pytest.fixture
def runner():
    """A runner of handlers."""
    made = HandlerRuns()
    yield made
    made.close()


@pytest.fixture
def _impatient(runner):
    """Checks limits often, and gives a process less time to end."""
    runner.timing = Timing(job_watch_sec=0.05, job_exit_sec=0.3, job_drain_sec=0.2)
