"""Runners under a batch system: an array of tasks of a real Slurm drains the queue."""

import contextlib
import re
from pathlib import Path
from typing import Iterator

import pytest
import slurm_cluster
from processes import environment, text_of
from waiting import wait_until

from devaria.client.client import WorkerClient
from devaria.runner.log import LOG_FILE
from devaria.testing import local_worker
from devaria.worker.server import LocalWorker

TASKS = 8
JOBS = 80
#: What an operator types.
COMMAND = "devaria runner --burst --dir 'runners/{host}-{pid}'"

COMPLETED = re.compile(r"Job (\S+) reported as completed")

pytestmark = pytest.mark.skipif(
    slurm_cluster.missing() is not None,
    reason=f"{slurm_cluster.missing()} is not installed (packages slurm-wlm and munge)",
)


@pytest.fixture
def cluster() -> Iterator[slurm_cluster.SlurmCluster]:
    """Run a Slurm cluster for this test."""
    with slurm_cluster.cluster() as cluster:
        yield cluster


@pytest.fixture
def worker() -> Iterator[LocalWorker]:
    """Run a worker on this machine."""
    with local_worker() as worker:
        yield worker


def test_an_array_of_eight_runners_drains_the_queue(
    cluster: slurm_cluster.SlurmCluster, worker: LocalWorker, tmp_path: Path
) -> None:
    """With one call of sbatch, 80 jobs run once each and all tasks exit with 0."""
    with contextlib.closing(WorkerClient(worker.url, worker.keys.submit)) as client:
        jobs = [
            client.submit("hello_world", {"name": f"{number}", "processing_time": 0}).job_id
            for number in range(JOBS)
        ]

    array = cluster.command(
        *("sbatch", "--parsable", f"--array=1-{TASKS}", "--wrap", COMMAND),
        cwd=tmp_path,
        PATH=environment()["PATH"],
        DEVARIA_WORKER_URL=worker.url,
        DEVARIA_RUNNER_API_KEY=worker.keys.runner,
    ).strip()
    wait_until(cluster.is_empty, "the array has ended")

    ends = {
        task["ArrayTaskId"]: (task["JobState"], task["ExitCode"]) for task in cluster.tasks(array)
    }
    output = "".join(map(text_of, tmp_path.glob("slurm-*.out")))
    assert ends == {f"{task}": ("COMPLETED", "0:0") for task in range(1, TASKS + 1)}, output

    logs = [text_of(path / LOG_FILE) for path in (tmp_path / "runners").iterdir()]
    assert len(logs) == TASKS
    # Each runner wrote of itself alone, and all of them together of each job once.
    assert [log.count("Registered as") for log in logs] == [1] * TASKS
    assert sorted(COMPLETED.findall("".join(logs))) == sorted(jobs)
    with contextlib.closing(WorkerClient(worker.url, worker.keys.submit)) as client:
        assert {client.job(job_id).status for job_id in jobs} == {"completed"}
