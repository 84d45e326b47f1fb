"""The job process from outside: whatever ends it, there is one outcome, and nothing is left."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import core_fixtures
import psutil
import pytest
from core_fixtures import Process, environment
from job_processes import is_gone
from waiting import wait_until

from devaria.execution.process import JobProcess
from devaria.execution.signals import Wakeup
from devaria.jobs.loading import HandlerUnavailableError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")


# --- how its process ends --------------------------------------------------------------------


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("exit 3", "its process ended with exit code 3 before it returned a result"),
        ("exit 0", "its process ended with exit code 0 before it returned a result"),
        ("segfault", "its process was killed by SIGSEGV before it returned a result"),
        ("abort", "its process was killed by SIGABRT before it returned a result"),
        ("terminate", "its process was killed by SIGTERM before it returned a result"),
        ("kill", "its process was killed by SIGKILL (perhaps out of memory) before"),
    ],
)
def test_a_process_that_dies_is_one_clear_error(runner, how, message):
    """The error has the signal's name and the last console lines."""
    error, console = runner.error("Dies", how=how)

    assert error.startswith(f"Job execution failed: {message}")
    assert "; last console lines:\n" in error
    assert console.startswith("working\n")


@pytest.mark.usefixtures("_impatient")
def test_a_crash_in_c_says_where_it_happened(runner):
    """The console has the traceback of the crash."""
    _, console = runner.error("Dies", how="segfault")

    assert "Fatal Python error: Segmentation fault" in console
    assert "misbehaving_handlers.py" in console


def test_a_spare_process_that_died_is_seen_and_fails_no_job(runner):
    """It was killed before its job came, so the job has not run."""
    runner.start("Returns")
    assert runner.process.is_waiting
    os.kill(runner.process._process.pid, signal.SIGKILL)
    wait_until(lambda: not runner.process.is_waiting)

    with pytest.raises(HandlerUnavailableError, match="killed by SIGKILL"):
        runner.error("Returns")


# --- what it leaves and closes ---------------------------------------------------------------


def test_what_a_job_started_ends_with_it(runner):
    """The whole process group is killed, though it keeps the pipes open."""
    outcome = runner.run("Clings", how="grandchild")

    wait_until(lambda: is_gone(outcome.output_data["pid"]))


@pytest.mark.usefixtures("_impatient")
def test_a_thread_that_never_ends_costs_no_result(runner):
    """The outcome counts. The process gets some time to end, and is killed."""
    assert runner.run("Clings", how="thread").output_data == {"left": True}


@pytest.mark.parametrize(
    ("how", "result"),
    [
        ("closed stdout", {"closed": True}),
        ("closed descriptors", {"closed": True}),
        ("replaced stdout", {"replaced": True}),
    ],
)
def test_streams_that_are_closed_or_replaced_cost_no_result(runner, how, result):
    """The events go through another descriptor."""
    outcome = runner.run("Clings", how=how)

    assert outcome.output_data == result
    assert outcome.console_output.startswith("before\n")


def test_a_spare_process_is_closed_unused(runner):
    """It ends at once, and its scratch folder is removed."""
    runner.start("Returns")
    scratch = Path(runner.process.scratch)
    assert scratch.is_dir()

    runner.process.close()

    assert runner.process._process.returncode is not None
    assert not scratch.exists()


def test_a_spare_process_whose_pipe_closes_ends_by_itself(runner):
    """This is what happens when the runner dies, on every system."""
    runner.start("Returns")
    runner.process._process.stdin.close()

    runner.process._process.wait(core_fixtures.PATIENCE_SEC)


# --- when the runner dies --------------------------------------------------------------------

PARENT = """
import os, sys
from devaria.execution.limits import JobLimits
from devaria.execution.process import JobProcess
from devaria.execution.signals import Wakeup

process = JobProcess(Wakeup(), os.environ, ["test=misbehaving_handlers:Holds"])
process.hand_over("test", {"how": sys.argv[1]},
                  lambda pid, *_: print("child", int(pid), flush=True))
process.wait(JobLimits(600, 1e12), lambda: None)
"""


@pytest.mark.parametrize("how", ["sleep", "ignore sigterm", "hold the gil"])
def test_a_job_ends_when_its_runner_is_killed(how):
    """It ends within 5 seconds, even if its Python code cannot run."""
    with Process("-c", PARENT, how) as parent:
        pid = int(parent.wait_for_line("child").split()[1])
        parent.signal(signal.SIGKILL)
        killed = time.monotonic()
        parent.wait()

        wait_until(lambda: is_gone(pid))
        assert time.monotonic() - killed < 5


def test_what_a_job_started_ends_when_its_runner_is_killed():
    """A program of the job must not go on beside the job's next run."""
    with Process("-c", PARENT, "with a grandchild") as parent:
        child = int(parent.wait_for_line("child").split()[1])
        (grandchild,) = wait_until(lambda: psutil.Process(child).children())
        parent.signal(signal.SIGKILL)
        parent.wait()

        try:
            wait_until(lambda: is_gone(grandchild.pid), bound_sec=1.5)
        finally:
            if not is_gone(grandchild.pid):
                grandchild.kill()


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_a_start_without_memory_leaves_nothing(tmp_path, monkeypatch, error):
    """Neither a process nor a folder."""

    def start(_thread):
        raise error

    children = set(psutil.Process().children())
    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(error):
        JobProcess(Wakeup(), environment(TMPDIR=str(tmp_path)))

    assert list(tmp_path.iterdir()) == []
    assert set(psutil.Process().children()) <= children
