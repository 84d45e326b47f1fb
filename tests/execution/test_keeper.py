"""Nothing that a job starts outlives the job, its limits or its runner, wherever it went."""

import contextlib
import os
import signal
import sys
from types import SimpleNamespace

import psutil
import pytest
from core_fixtures import PATIENCE_SEC, Process
from job_processes import is_gone, job_pid
from waiting import wait_until

from devaria.execution.limits import JobLimits

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has subreapers")


# --- the end of a job ------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["grandchild of its own session", "orphan"])
def test_what_left_the_session_ends_with_its_job(runner, how):
    """It is gone when the job is, whether or not its parent has ended."""
    outcome = runner.run("Clings", how=how)

    assert outcome.succeeded
    assert is_gone(outcome.output_data["pid"])


def test_orphans_that_start_others_end_with_their_job(runner):
    """What they start becomes an orphan while the orphans are being killed."""
    before = {each.pid for each in psutil.process_iter()}

    runner.run("Clings", how="orphans that start others")

    sleepers = [
        each
        for each in psutil.process_iter(["cmdline"])
        if each.pid not in before and "import time; time.sleep(600)" in (each.info["cmdline"] or [])
    ]
    assert sleepers == []


@pytest.mark.usefixtures("_impatient")
def test_what_left_the_session_ends_when_the_jobs_process_is_killed(runner):
    """Nobody is left then in the job itself who could end it."""

    def kill_job():
        if "orphan" in runner.process.console.text():
            with contextlib.suppress(IndexError):  # it is killed already
                os.kill(job_pid(runner.process), signal.SIGKILL)

    error, console = runner.error("Holds", why_stop=kill_job, how="with an orphan")

    assert error.startswith("Job execution failed: its process was killed by SIGKILL")
    assert is_gone(pid_in(console))


# --- limits ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("_impatient")
def test_what_left_the_session_ends_at_the_jobs_time_limit(runner):
    """The limit holds for all that the job has started."""
    limits = SimpleNamespace(**JobLimits(600, 1e12).__dict__)

    def end_time():
        if "orphan" in runner.process.console.text():
            limits.timeout_sec = 0.01

    error, console = runner.error("Holds", limits=limits, why_stop=end_time, how="with an orphan")

    assert "time limit" in error
    assert is_gone(pid_in(console))


@pytest.mark.usefixtures("_impatient")
def test_the_memory_of_what_left_the_session_counts(runner):
    """It ends the job as the memory of the job itself does."""
    error, _ = runner.error("Holds", limits=JobLimits(60, 200e6), how="fill memory in an orphan")

    assert "MB of memory; its limit is 200 MB" in error


# --- the end of the runner -------------------------------------------------------------------

PARENT = """
import os
from devaria.execution.limits import JobLimits
from devaria.execution.process import JobProcess
from devaria.execution.signals import Wakeup

process = JobProcess(Wakeup(), os.environ, ["test=misbehaving_handlers:Holds"])
process.console.echo_to(lambda data: print(data.decode(), end="", flush=True))
process.hand_over("test", {"how": "with an orphan"}, lambda *_: None)
process.wait(JobLimits(600, 1e12), lambda: None)
"""


def test_what_left_the_session_ends_when_the_runner_is_killed():
    """It must not go on beside the job's next run."""
    with Process("-c", PARENT) as parent:
        pid = pid_in(parent.wait_for_line("orphan"))
        parent.signal(signal.SIGKILL)
        parent.wait()

        wait_until(lambda: is_gone(pid))


# --- the keeper itself -----------------------------------------------------------------------


def test_the_keeper_does_not_get_the_jobs_signals(runner):
    """A job may signal its own group; the keeper is not in it."""
    runner.start("Tells")
    keeper = runner.process._process.pid
    wait_until(lambda: psutil.Process(keeper).children())

    wait_until(lambda: os.getsid(job_pid(runner.process)) != os.getsid(keeper))


def test_a_job_ends_with_its_keeper(runner):
    """Somebody may kill the keeper, and C code may hold the job's GIL."""
    runner.start("Holds")
    job = wait_until(psutil.Process(runner.process._process.pid).children)[0]
    runner.process.hand_over("test", {"how": "hold the gil"}, lambda *_: None)
    wait_until(lambda: "holding" in runner.process.console.text())

    runner.process._process.kill()

    wait_until(lambda: is_gone(job.pid))


def test_a_keeper_ends_its_job_when_the_pipe_of_requests_closes(runner):
    """The runner closes it, or has died."""
    runner.start("Holds")
    keeper = psutil.Process(runner.process._process.pid)
    job = wait_until(keeper.children)[0]
    runner.process.hand_over("test", {"how": "hold the gil"}, lambda *_: None)
    wait_until(lambda: "holding" in runner.process.console.text())

    runner.process._process.close_stdin()

    runner.process._process.wait(PATIENCE_SEC)
    assert is_gone(job.pid)


ADOPTING = """
import os, subprocess, sys
from devaria.common.child_process import own_group
from devaria.execution.keeper import adopt_orphans
from devaria.execution.limits import JobLimits
from devaria.execution.process import JobProcess
from devaria.execution.signals import Wakeup

older = subprocess.Popen(["sleep", "600"], **own_group())
adopt_orphans()
waiting = JobProcess(Wakeup(), os.environ)
process = JobProcess(Wakeup(), os.environ, ["test=misbehaving_handlers:Holds"])
process.console.echo_to(lambda data: print(data.decode(), end="", flush=True))
process.hand_over("test", {"how": "kill the keeper"}, lambda *_: None)
print(process.wait(JobLimits(600, 1e12), lambda: None).error_message, flush=True)
print("others", older.poll(), waiting.is_waiting, flush=True)
waiting.close()
older.kill()
older.wait()
try:
    print("left", os.waitpid(-1, os.WNOHANG), flush=True)
except ChildProcessError:
    print("nothing left", flush=True)
"""


def test_a_job_that_kills_its_keeper_leaves_nothing():
    """The runner finds what it has left, and touches nothing else."""
    with Process("-c", ADOPTING) as parent:
        pid = pid_in(parent.wait_for_line("orphan"))
        parent.wait()

        assert "was killed by SIGKILL" in parent.output
        assert is_gone(pid)
        assert "others None True" in parent.output
        assert "nothing left" in parent.output


def test_devaria_run_leaves_nothing_of_a_job_that_kills_its_keeper():
    """It adopts what the job leaves, as a runner does."""
    run = ["-m", "devaria", "run", "test", "--handlers", "test=misbehaving_handlers:Holds"]
    with Process(*run, "-p", "how=kill the keeper") as command:
        pid = pid_in(command.wait_for_line("orphan"))
        command.wait()

        assert is_gone(pid)


def test_a_keeper_that_its_job_has_stopped_goes_on_at_the_end(runner):
    """The job's end does not wait for it."""
    told = []

    def end_job():
        if "orphan" in runner.process.console.text():
            told.append(runner.process._process.pid)
            return "it was stopped"
        return None

    _, console = runner.error("Holds", why_stop=end_job, how="stop the keeper")

    assert is_gone(pid_in(console))
    # It was not killed: it ended by the signal that it passed on to the job.
    assert runner.process._process.returncode != -signal.SIGKILL


def pid_in(text):
    """Read the process id of an orphan off a console."""
    return int(text.partition("orphan ")[2].split()[0])
