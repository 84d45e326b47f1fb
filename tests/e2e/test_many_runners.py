"""Thirty runners at one worker: each job runs once, and few claims are lost to other runners."""

import contextlib
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest
from processes import environment, running, text_of

from devaria.client.client import WorkerClient
from devaria.client.models import Job
from devaria.runner.claiming import ClaimOrder
from devaria.testing import local_worker
from devaria.worker.server import LocalWorker

RUNNERS = 30
JOBS = 600
#: What a job takes beside its start, which costs two cores as much time for thirty runners. Were
#: it shorter, the runners would wait for the processor with lists in their hands that grow old.
JOB_SEC = 2
#: It takes a minute; a machine that is busy with other things takes longer.
DRAINED_WITHIN_SEC = 240.0

#: Runners leave the processor to the worker, as if they were on machines of their own.
COMMAND = ["nice", "-n", "10", sys.executable, "-m", "devaria", "runner", "--burst"]


class ClaimCounter:
    """WSGI middleware that records the answers to claims.

    Args:
        application: The worker's application.
    """

    def __init__(self, application: Callable[..., Any]) -> None:
        self.answers: List[Tuple[str, str]] = []  # job id and status
        self._application = application

    def __call__(self, environ: Dict[str, Any], start_response: Callable[..., Any]) -> Any:
        """Pass a request on to the worker."""
        *_, job_id, verb = environ["PATH_INFO"].split("/")

        def start(status: str, *arguments: Any) -> Any:
            if verb == "claim":
                self.answers.append((job_id, status.split()[0]))
            return start_response(status, *arguments)

        return self._application(environ, start)

    def jobs_answered(self, status: str) -> List[str]:
        """Return the jobs whose claims were answered with a status."""
        return [job_id for job_id, answered in self.answers if answered == status]


@pytest.fixture
def worker() -> Iterator[LocalWorker]:
    """Run a worker on this machine."""
    with local_worker() as worker:
        yield worker


@pytest.fixture
def claims(worker: LocalWorker) -> ClaimCounter:
    """Record the answers to that worker's claims."""
    counter = ClaimCounter(worker._server.application)
    worker._server.application = counter
    return counter


@pytest.mark.alone
def test_thirty_runners_run_each_job_once(
    worker: LocalWorker, claims: ClaimCounter, tmp_path: Path
) -> None:
    """Each of 600 jobs is claimed and completed once; hardly any claim is lost."""
    with contextlib.closing(WorkerClient(worker.url, worker.keys.submit)) as client:
        jobs = [
            client.submit("hello_world", {"name": f"{number}", "processing_time": JOB_SEC}).job_id
            for number in range(JOBS)
        ]
        env = environment(DEVARIA_WORKER_URL=worker.url, DEVARIA_RUNNER_API_KEY=worker.keys.runner)
        command = [*COMMAND, "--dir", "runners/{host}-{pid}"]
        outputs = [tmp_path / f"output-{number}" for number in range(RUNNERS)]
        with contextlib.ExitStack() as stack:
            runners = [stack.enter_context(running(command, tmp_path, env, out)) for out in outputs]
            deadline = time.monotonic() + DRAINED_WITHIN_SEC
            codes = [runner.wait(max(0.0, deadline - time.monotonic())) for runner in runners]
        assert codes == [0] * RUNNERS, "\n".join(map(text_of, outputs))
        assert {client.job(job_id).status for job_id in jobs} == {"completed"}

    assert sorted(claims.jobs_answered("200")) == sorted(jobs)
    lost = len(claims.jobs_answered("409"))
    assert lost <= 0.02 * len(claims.answers), f"{lost} of {len(claims.answers)} claims lost"
    assert len(list((tmp_path / "runners").iterdir())) == RUNNERS


# --- the order of claims ----------------------------------------------------------------------


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """The time in seconds."""
        return self.now


def listed(*job_ids: int) -> List[Job]:
    """Return a list of jobs as the worker answers it."""
    return [Job(f"{job_id}", "hello_world", {}) for job_id in job_ids]


def drawn(order: ClaimOrder, clock: Clock, job_sec: float = 1.0) -> List[str]:
    """Win all jobs that the order gives; each takes some time."""
    ids = []
    job = order.next()
    while job is not None:
        ids.append(job.job_id)
        order.won()
        clock.now += job_sec
        job = order.next()
    return ids


def test_a_runner_alone_goes_through_its_list_in_order() -> None:
    """It asks for no new list, however long the jobs take."""
    clock = Clock()
    order = ClaimOrder(clock, pick=lambda count: count - 1)
    order.begin(listed(1, 2, 3, 4))
    assert drawn(order, clock, job_sec=3600.0) == ["1", "2", "3", "4"]


def test_after_a_lost_race_it_picks_among_the_rest() -> None:
    """It picks at random; once others take none of its list, it begins with the oldest again."""
    clock = Clock()
    order = ClaimOrder(clock, pick=lambda count: count - 1)
    order.begin(listed(1, 2, 3, 4))
    order.next()
    order.lost()
    assert drawn(order, clock, job_sec=0.1) == ["4", "3", "2"]

    order.begin(listed(5, 6, 7, 8))
    assert drawn(order, clock) == ["8"]
    order.begin(listed(5, 6, 7))
    assert drawn(order, clock) == ["5", "6", "7"]


def test_with_rivals_it_takes_from_a_list_only_while_that_is_fresh() -> None:
    """It notices rivals by jobs that it left in a list and that are gone from the next."""
    clock = Clock()
    order = ClaimOrder(clock, pick=lambda count: count - 1)
    order.begin(listed(1, 2, 3, 4))
    order.next()
    order.begin(listed(3, 4, 5, 6))
    assert drawn(order, clock, job_sec=0.3) == ["6", "5"]


def test_a_list_that_is_offered_is_used_in_its_order_and_in_its_time() -> None:
    """The worker tells no other runner of these jobs, but only for some time."""
    clock = Clock()
    order = ClaimOrder(clock, pick=lambda count: count - 1)
    order.begin(listed(1, 2, 3, 4), offered_sec=1.0)
    assert drawn(order, clock, job_sec=0.4) == ["1", "2", "3"]
    order.begin(listed(5, 6), offered_sec=1.0)
    assert drawn(order, clock, job_sec=3600.0) == ["5"]
    order.begin(listed(7, 8))
    assert drawn(order, clock, job_sec=0.1) == ["8", "7"]


def test_two_lost_races_in_a_row_end_a_list() -> None:
    """A single lost race ends a list that is old."""
    clock = Clock()
    for age_sec, races in ((0.0, 2), (1.0, 1)):
        order = ClaimOrder(clock, pick=lambda _: 0)
        order.begin(listed(1, 2, 3, 4))
        clock.now += age_sec
        for _ in range(races):
            assert order.next() is not None
            order.lost()
        assert order.next() is None
