"""The soak, `pytest -m soak`: 2,000 jobs and half an hour without any leave a runner as it was.

Three kinds of time are made shorter, so that it takes minutes:

- Half an hour idle is the 60 polls of it: every 0.5 s in place of every 30 s. Between two of them
  the server's side closes the connection, as the hosted worker does after 5 s: each poll needs a
  new one.
- Heartbeats come every 0.03 s in place of every 30 s, so that short jobs have them too, and the
  status file is written every 0.1 s in place of every 5 s.
- The log rotates at 50 kB in place of 10 MB, so that all five old files come to be, and go.

What a runner holds is looked at again and again while it is idle, and what it holds mostly counts:
in the middle of a poll it has a thread more.
"""

import os
import statistics
from collections import Counter
from typing import NamedTuple

import fault_proxy
import psutil
import pytest
from waiting import wait_until

from devaria.runner.journal import JOURNAL_FOLDER
from devaria.runner.log import LOG_FILES_KEPT

JOBS = 2_000
JOBS_BEFORE = 100
IDLE_POLLS = 60
POLLS_LOOKED_AT = 5

MAX_LOG_BYTES = 50_000
TIMING = {
    "heartbeat_sec": 0.03,
    "heartbeat_gap_sec": 0.03,
    "status_sec": 0.1,
}
POLL_INTERVAL_SEC = 0.5
KEEP_ALIVE_SEC = 0.2

#: What leaks is a part of every job: were it 1.3 kB, it would be seen. Less than that may be none:
#: within these jobs Python's own table of interned strings grows by 1 MB, once, and its heap gets
#: holes; between 2,000 jobs and 3,500 there is no more growth than 0.1 MB.
MEMORY_ALLOWANCE_BYTES = 2_500_000

#: A job takes some 0.1 s; the machine may be busy with other things.
BOUND_SEC_A_JOB = 0.5
IDLE_BOUND_SEC = 120.0


class Footprint(NamedTuple):
    """What a runner takes of its machine.

    Args:
        files: Open files, sockets and pipes.
        threads: Threads.
        processes: The runner and all that it has started.
        memory: The runner's memory that it shares with no other process, in bytes.
    """

    files: int
    threads: int
    processes: int
    memory: int

    @classmethod
    def of(cls, process):
        """Look at a process now."""
        return cls(
            process.num_fds(),
            process.num_threads(),
            1 + len(process.children(recursive=True)),
            process.memory_full_info().uss,
        )


class Soak:
    """A runner that is kept busy, and idle.

    Args:
        lab: Where it works.
        temporary: The folder for the temporary files of the runner and its jobs, and of nothing
            else.
    """

    def __init__(self, lab, temporary):
        self.job_ids = []
        self._temporary = temporary
        self._lab = lab
        options = ("--types", "hello_world", "--poll-interval", str(POLL_INTERVAL_SEC))
        environ = {"TMPDIR": str(temporary)}
        self.runner = lab.runner(
            *options, timing=TIMING, settings={"log_file_bytes": MAX_LOG_BYTES}, environ=environ
        )
        self._process = psutil.Process(self.runner.pid)

    def run_jobs(self, count):
        """Submit so many jobs, and wait until the runner has nothing left to do."""
        numbers = range(len(self.job_ids), len(self.job_ids) + count)
        for number in numbers:
            params = {"name": f"{number}", "processing_time": 0}
            self.job_ids.append(self._lab.client.submit("hello_world", params).job_id)
        self._until(self._is_drained, "the end of all jobs", count * BOUND_SEC_A_JOB + 30)

    def be_idle(self, polls):
        """Wait for so many polls; return what the runner took meanwhile."""
        end = self._polls() + polls
        looks = []

        def is_over():
            looks.append(Footprint.of(self._process))
            return self._polls() >= end

        self._until(is_over, f"{polls} polls", IDLE_BOUND_SEC)
        files, threads, processes, memory = zip(*looks)
        return Footprint(*map(statistics.mode, (files, threads, processes)), min(memory))

    def scratch_folders(self):
        """The jobs' folders for temporary files."""
        return list(self._temporary.iterdir())

    def end(self):
        """End the runner; nothing of it may be left."""
        children = self._process.children(recursive=True)
        self.runner.end()
        assert not psutil.wait_procs(children, timeout=10)[1]
        assert not self.scratch_folders()
        assert not list((self._lab.directory / JOURNAL_FOLDER).iterdir())

    def _is_drained(self):
        return len(self._lab.proxy.passed("complete")) >= len(self.job_ids) and (
            not self._lab.journal()
        )

    def _polls(self):
        return len(self._lab.proxy.passed("available"))

    def _until(self, condition, what, bound_sec):
        wait_until(
            lambda: condition() or not self.runner.is_alive, what, bound_sec, self._last_words
        )
        assert self.runner.is_alive, self._last_words()

    def _last_words(self):
        return self.runner.output()[-2000:]


@pytest.fixture
def soak(lab, tmp_path, monkeypatch):
    """A runner whose connections are closed when they are idle."""
    monkeypatch.setattr(fault_proxy._Handler, "timeout", KEEP_ALIVE_SEC)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    return Soak(lab, temporary)


@pytest.mark.soak
@pytest.mark.skipif(os.name != "posix", reason="open files are counted as POSIX systems do")
def test_two_thousand_jobs_and_half_an_hour_idle(lab, soak):
    """Files, threads, processes and memory are in the end what they were after 100 jobs.

    Every job was completed, once; the journal and the folder for temporary files are empty, and
    the log has not grown beyond what it may.
    """
    soak.run_jobs(JOBS_BEFORE)
    before = soak.be_idle(POLLS_LOOKED_AT)
    folders_before = len(soak.scratch_folders())
    soak.run_jobs(JOBS - JOBS_BEFORE)
    soak.be_idle(IDLE_POLLS)
    after = soak.be_idle(POLLS_LOOKED_AT)
    print(f"\nafter {JOBS_BEFORE} jobs: {before}\nin the end: {after}")

    assert after[:3] == before[:3]
    assert after.memory < before.memory + MEMORY_ALLOWANCE_BYTES
    assert len(soak.scratch_folders()) == folders_before
    check_jobs(lab, soak.job_ids)
    soak.end()
    check_log(lab.directory)


def check_jobs(lab, job_ids):
    """Each of the jobs was claimed and completed once, and has its own result."""
    assert len(set(job_ids)) == JOBS
    for number, job_id in enumerate(job_ids):
        job = lab.job(job_id)
        assert job.status == "completed", job
        assert job.output_data == {"message": f"Hello, {number}!", "processing_time": 0}
    for route in ("claim", "complete"):
        taken = (each for each in lab.proxy.passed(route) if each.worker_status == 200)
        assert Counter(each.job_id for each in taken) == dict.fromkeys(job_ids, 1), route
    assert lab.proxy.passed("heartbeat")
    assert not lab.proxy.passed("error")


def check_log(directory):
    """The log is in as many files as it may be, and none is longer than it may be."""
    sizes = {path.name: path.stat().st_size for path in directory.glob("devaria_runner.log*")}
    print(f"log: {sizes}")
    assert len(sizes) == 1 + LOG_FILES_KEPT
    assert max(sizes.values()) <= MAX_LOG_BYTES
