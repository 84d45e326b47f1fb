"""A runner that runs out of open files or memory says so, loses no job, and goes on or says why."""

import contextlib
import re
import sys
from pathlib import Path

import pytest
from lab import QUICK_TRIES, is_running
from waiting import wait_until

from devaria.common.errors import EXIT_OUT_OF_RESOURCES

if sys.platform != "linux":
    pytest.skip("limits of another process are Linux's", allow_module_level=True)

import resource

#: The limits of a job are checked often, and the test has time to lift what it has set.
PATIENT = {**QUICK_TRIES, "job_watch_sec": 0.1, "start_retry_sec": 4.0}
SAID = "the runner ran out of memory, open files or threads"


@contextlib.contextmanager
def limited(pid, which, value):
    """Lower a limit of a process for the length of a block."""
    soft, hard = resource.prlimit(pid, which)
    resource.prlimit(pid, which, (value, hard))
    yield
    with contextlib.suppress(ProcessLookupError):  # it may have ended
        resource.prlimit(pid, which, (soft, hard))


def address_space(pid):
    """The address space of a process, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmSize:\s+(\d+) kB", status).group(1)) * 1024


def test_open_files_that_run_out_for_a_while(lab):
    """The job in hand is stopped, stays in the journal, and runs again in the same runner."""
    job = lab.submit_waiting()
    runner = lab.runner(timing=PATIENT)
    job.wait_for_start()
    with limited(runner.pid, resource.RLIMIT_NOFILE, 4):
        runner.wait_for(SAID, 60)
        wait_until(lambda: not is_running(job.pids[0]), "the end of the job's process")
        assert [entry["state"] for entry in lab.journal()] == ["running"]
    job.wait_for_start(2)
    job.let_go()
    assert lab.ended(job.job_id).status == "completed"
    assert lab.ended(lab.submit("good")).status == "completed"
    runner.end()
    assert runner.output().count(SAID) == 1


def test_open_files_that_run_out_for_good(lab):
    """The runner ends with a code of its own; the next start settles the job."""
    job = lab.submit_waiting()
    runner = lab.runner(timing={**PATIENT, "start_retry_sec": 0.1})
    job.wait_for_start()
    with limited(runner.pid, resource.RLIMIT_NOFILE, 4):
        assert runner.wait(60) == EXIT_OUT_OF_RESOURCES
    assert f"Ended: {SAID}" in runner.output()
    runner.check_sanity()

    job.let_go()
    assert lab.runner("--burst").wait() == 0
    assert lab.ended(job.job_id).status == "completed"


def test_memory_that_runs_out_in_the_thread_that_reads_what_a_job_says(lab):
    """The thread's error reaches the main thread, and the job runs again."""
    go = lab.tmp_path / "go"
    event = (
        '{"event": "outcome", "error": null, "console": null, "traceback": null, "output": {"a": "'
    )
    params = {"lines": [event], "middle": "x", "times": 15_000_000, "tail": '"}}', "go": str(go)}
    job_id = lab.submit("says", **params)
    runner = lab.runner(timing=PATIENT)
    runner.wait_for("started")
    with limited(runner.pid, resource.RLIMIT_AS, address_space(runner.pid) + 2_000_000):
        go.touch()
        runner.wait_for(SAID, 60)
    assert "the result is too big" in lab.ended(job_id, 60).error
    assert lab.ended(lab.submit("good")).status == "completed"
    runner.end()
    assert runner.output().count(SAID) == 1
