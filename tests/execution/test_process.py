"""The job process: whatever a handler does, there is one clear outcome, and nothing is left."""

import os
import signal
import sys
import time
from pathlib import Path

import core_fixtures
import psutil
import pytest
from core_fixtures import Process, environment, wait_until
from misbehaving_handlers import NO_RESULTS

from devaria.execution import process as job_process_module
from devaria.execution.limits import JobLimits
from devaria.execution.process import JobProcess
from devaria.execution.signals import Wakeup
from devaria.jobs.loading import HandlerUnavailableError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")

NO_LIMITS = JobLimits(timeout_sec=60.0, memory_bytes=float("inf"))


class Runner:
    """Runs handlers of misbehaving_handlers.py, each in a job process of its own."""

    def __init__(self):
        self.progress = []
        self.process = None

    def start(self, handler, **variables):
        """Start the process ahead of its job."""
        handlers = [f"test=misbehaving_handlers:{handler}"]
        self.process = JobProcess(Wakeup(), environment(**variables), handlers)

    def run(self, handler, limits=NO_LIMITS, why_stop=lambda: None, **params):
        """Run a handler; the outcome must come, and the process be gone."""
        if self.process is None:
            self.start(handler)
        self.process.hand_over(
            job.job_type, job.input_params, lambda *news: self.progress.append(news)
        )
        outcome = self.process.wait(limits, why_stop)
        assert self.process._process.returncode is not None
        assert not Path(self.process.scratch).exists()
        return outcome

    def error(self, handler, **options):
        """Run a handler that fails; return the error and the console."""
        outcome = self.run(handler, **options)
        assert outcome.output_data is None
        assert outcome.error_message
        return outcome.error_message, outcome.console_output


@pytest.fixture
def runner():
    """A runner of handlers."""
    made = Runner()
    yield made
    if made.process is not None:
        made.process.close()
        made.process.console.close()
        for reader in (made.process._console_reader, made.process._event_reader):
            reader.join(core_fixtures.PATIENCE_SEC)
            assert not reader.is_alive()


@pytest.fixture
def _impatient(monkeypatch):
    """Looks at limits often, and gives a process less time to end."""
    monkeypatch.setattr(job_process_module, "_WATCH_SEC", 0.05)
    monkeypatch.setattr(job_process_module, "_EXIT_SEC", 0.3)


def is_gone(pid):
    """Whether a process has ended; in a container, nobody may have waited for it yet."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


# --- what it returns or raises ---------------------------------------------------------------


def test_a_result_comes_back_with_the_console(runner):
    """Parameters go in, the result comes out, and what was printed is the console."""
    params = {"name": "Zoë \ud800 🧠", "n": [1, 2.5, None], "large": "x" * 100_000}

    outcome = runner.run("Returns", **params)

    assert outcome.output_data == {"params": params}
    assert outcome.succeeded
    assert outcome.console_output == "working\n"
    assert runner.process._process.returncode == 0


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("value", "Invalid parameters: x must be positive"),
        ("runtime", "Job execution failed: RuntimeError: no such file"),
        ("system exit", "Job execution failed: SystemExit: enough"),
        ("system exit 0", "Job execution failed: SystemExit: 0"),
        ("keyboard interrupt", "Job execution failed: KeyboardInterrupt: "),
        ("generator exit", "Job execution failed: GeneratorExit: "),
        ("half a pair", "Job execution failed: RuntimeError: \ud800"),
        (
            "unprintable",
            "Job execution failed: UnprintableError: <an exception whose text cannot be made>",
        ),
    ],
)
def test_an_exception_is_the_jobs_error_and_its_traceback_ends_the_console(runner, kind, message):
    """Whatever its base class: none ends more than the job, and the console so far is kept."""
    error, console = runner.error("Raises", kind=kind)

    assert error == message
    assert console.startswith("working\nTraceback (most recent call last):\n")
    assert "misbehaving_handlers.py" in console
    assert runner.process._process.returncode == 0


def test_bottomless_recursion_is_an_error_like_another(runner):
    """It does not take the process with it."""
    error, _ = runner.error("Raises", kind="recursion")

    assert error.startswith("Job execution failed: RecursionError: ")


def test_an_endless_error_text_is_cut(runner):
    """It would not fit through the pipe, and the job's own error would be lost."""
    error, console = runner.error("Raises", kind="long")

    assert error.startswith("Job execution failed: RuntimeError: xxx")
    assert len(error) <= 10_000
    assert len(console) <= 30_000


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none", "a handler returns a dict; this one returned NoneType"),
        ("list", "a handler returns a dict; this one returned list"),
        ("nan", "result['spikes'][3] is NaN, which JSON cannot hold"),
        ("set", "result['a'] is of type set, which JSON cannot hold"),
        ("bytes", "result['a'] is of type bytes, which JSON cannot hold"),
        ("too big", "the result is too big: 600,008 characters of JSON, and the worker takes"),
        ("huge integer", "result['a'] is an integer beyond 1.8e308"),
        ("console is no text", "result['console_output'] is of type int; it must be a string"),
    ],
)
def test_what_is_no_result_is_named(runner, name, message):
    """With its place and its type."""
    assert name in NO_RESULTS
    error, _ = runner.error("Returns", no_result=name)

    assert error.startswith(f"Job execution failed: {message}")


def test_a_handler_that_cannot_be_made_is_an_error(runner):
    """Its constructor is job code, too."""
    error, _ = runner.error("CannotBeMade")

    assert error == "Job execution failed: RuntimeError: cannot be made"


def test_a_handler_that_cannot_be_loaded_is_no_failure_of_the_job(runner):
    """It is this machine's, which somebody can mend; the job may run then."""
    with pytest.raises(HandlerUnavailableError, match="misbehaving_handlers:NoSuchClass"):
        runner.error("NoSuchClass")


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
        ("kill", "its process was killed by SIGKILL (perhaps for want of memory) before"),
    ],
)
def test_a_process_that_dies_is_one_clear_error(runner, how, message):
    """With the signal's name and the last console lines."""
    error, console = runner.error("Dies", how=how)

    assert error.startswith(f"Job execution failed: {message}")
    assert "; last console lines:\n" in error
    assert console.startswith("working\n")


@pytest.mark.usefixtures("_impatient")
def test_a_crash_in_c_says_where_it_happened(runner):
    """Its last words are in the console."""
    _, console = runner.error("Dies", how="segfault")

    assert "Fatal Python error: Segmentation fault" in console
    assert "misbehaving_handlers.py" in console


def test_a_spare_process_that_died_is_seen_and_fails_no_job(runner):
    """Something killed it before its job came, which then has not run."""
    runner.start("Returns")
    assert runner.process.is_waiting
    os.kill(runner.process._process.pid, signal.SIGKILL)
    wait_until(lambda: not runner.process.is_waiting)

    with pytest.raises(HandlerUnavailableError, match="killed by SIGKILL"):
        runner.error("Returns")


# --- the console -----------------------------------------------------------------------------


def test_all_that_is_printed_is_in_the_console(runner):
    """By Python, by C code, by other programs, on both streams."""
    console = runner.run("Prints", how="everywhere").console_output

    lines = console.splitlines()
    assert lines[:4] == ["from print", "from stderr", "from write 1", "from write 2"]
    assert set(lines[4:]) == {"from sh", "from sh 2", "no line end"}


def test_a_console_that_is_no_utf8_is_readable(runner):
    """Neither the handler nor the runner fails on it."""
    console = runner.run("Prints", how="strange_characters").console_output

    assert console == "half a pair: \\ud800\nbytes: \ufffd\ufffd\n"


def test_a_gigabyte_of_prints_is_bounded(runner):
    """Head and tail are kept, in the memory of the runner, too."""
    before = psutil.Process().memory_info().rss

    console = runner.run("Prints", how="gigabyte").console_output

    assert console.startswith("first words\n")
    assert console.endswith("last words\n")
    assert "bytes left out" in console
    assert len(console) < 1_000_000
    assert psutil.Process().memory_info().rss - before < 100_000_000


@pytest.mark.usefixtures("_impatient")
def test_an_endless_printer_meets_its_time_limit(runner):
    """Reading its prints does not keep the runner from looking at the time."""
    error, console = runner.error("Prints", limits=JobLimits(1.0, float("inf")), how="endless")

    assert error.startswith("Job execution failed: it ran longer than its time limit of 1 s")
    assert console.startswith("and on\nand on\n")


# --- the heartbeat callback ------------------------------------------------------------------


def test_a_chatty_handler_is_thinned_out_and_its_last_word_arrives(runner):
    """Ten thousand calls become a few events."""
    runner.run("Reports", how="chatty")

    assert runner.progress[-1] == (10_000, 10_000, None)
    assert len(runner.progress) < 500


def test_a_console_of_its_own_replaces_what_was_printed(runner):
    """One that was passed stays when later calls pass none."""
    outcome = runner.run("Reports", how="own console")

    assert outcome.console_output == "own console"
    assert runner.progress[-1] == (2, 2, "own console")


def test_a_console_in_the_result_is_taken_out_of_it(runner):
    """It is the console; the rest is the result."""
    outcome = runner.run("Reports", how="own console in result")

    assert outcome.console_output == "own console"
    assert outcome.output_data == {"a": 1}


def test_a_console_of_its_own_is_kept_when_the_job_fails(runner):
    """With the traceback after it."""
    _, console = runner.error("Reports", how="own console then error")

    assert console.startswith("own console\nTraceback")


@pytest.mark.parametrize("how", ["large console", "large console in result"])
def test_a_console_that_is_too_large_costs_neither_progress_nor_result(runner, how):
    """It is cut before the pipe, whose lines are bounded."""
    outcome = runner.run("Reports", how=how)

    assert outcome.succeeded
    assert outcome.console_output.startswith("head🧠")
    assert outcome.console_output.endswith("🧠tail")
    assert len(outcome.console_output.encode()) <= 1_000_000


def test_a_progress_that_is_no_number_is_the_handlers_fault(runner):
    """Said at once, not when the worker refuses it."""
    error, _ = runner.error("Reports", how="no number")

    assert error == "Job execution failed: TypeError: progress_current must be a number, not str"


def test_a_progress_that_json_cannot_hold_is_unknown(runner):
    """A division by zero in a progress must not end a job."""
    runner.run("Reports", how="not finite")

    assert runner.progress == [(None, None, None)]


# --- what it leaves and closes ---------------------------------------------------------------


def test_what_a_job_started_ends_with_it(runner):
    """The whole process group is killed, though it keeps the pipes open."""
    outcome = runner.run("Clings", how="grandchild")

    wait_until(lambda: is_gone(outcome.output_data["pid"]))


@pytest.mark.usefixtures("_impatient")
def test_what_left_the_group_does_not_hold_up_the_runner(runner, monkeypatch):
    """It has the pipes, and is waited for a moment only."""
    monkeypatch.setattr(job_process_module, "_DRAIN_SEC", 0.2)

    outcome = runner.run("Clings", how="grandchild of its own session")

    assert outcome.succeeded
    os.kill(outcome.output_data["pid"], signal.SIGKILL)


@pytest.mark.usefixtures("_impatient")
def test_a_thread_that_never_ends_costs_no_result(runner):
    """The outcome stands; the process is given a moment to end, and killed."""
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
    """The way to the runner is another one."""
    outcome = runner.run("Clings", how=how)

    assert outcome.output_data == result
    assert outcome.console_output.startswith("before\n")


# --- what it sees ----------------------------------------------------------------------------


def test_a_job_sees_no_key_of_the_worker_and_has_a_place_of_its_own(runner):
    """Its environment, its scratch folder, its process group, an empty standard input."""
    keys = {f"DEVARIA_{kind}_API_KEY": "s3cr3t" for kind in ("RUNNER", "SUBMIT", "ADMIN")}
    runner.start("Tells", FIGPACK_API_KEY="figpack-key", **keys)

    seen = runner.run("Tells").output_data

    assert "s3cr3t" not in str(seen)
    assert seen["environ"]["FIGPACK_API_KEY"] == "figpack-key"
    assert seen["scratch"] == runner.process.scratch
    assert seen["stdin"] == ""
    assert seen["group"] == seen["pid"] == runner.process._process.pid
    assert seen["pid"] != os.getpid()


def test_a_spare_process_is_closed_unused(runner):
    """At once, and with its scratch folder."""
    runner.start("Returns")
    scratch = Path(runner.process.scratch)
    assert scratch.is_dir()

    runner.process.close()

    assert runner.process._process.returncode is not None
    assert not scratch.exists()


def test_a_spare_process_whose_pipe_closes_ends_by_itself(runner):
    """As it does when the runner dies, on every system."""
    runner.start("Returns")
    runner.process._process.stdin.close()

    assert runner.process._process.wait(core_fixtures.PATIENCE_SEC) == 0


# --- limits ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("how", ["sleep", "hold the gil", "ignore sigterm", "catch everything"])
def test_a_job_ends_at_its_time_limit(runner, how):
    """Also in C code that holds the GIL, and where it does not want to."""
    error, console = runner.error("Holds", limits=JobLimits(1.51, float("inf")), how=how)

    assert error.startswith("Job execution failed: it ran longer than its time limit of 2 s")
    assert "memory peak" in error
    assert console.startswith("holding ")


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("how", ["fill memory", "fill memory in a grandchild"])
def test_a_job_ends_at_its_memory_limit(runner, how):
    """Of all its processes together."""
    error, _ = runner.error("Holds", limits=JobLimits(60.0, 200e6), how=how)

    assert "MB of memory; its limit is 200 MB" in error


@pytest.mark.usefixtures("_impatient")
def test_a_job_is_stopped_for_a_reason_from_outside(runner):
    """Such as the operator's second signal; the error tells it."""
    error, _ = runner.error(
        "Holds",
        why_stop=lambda: "the operator stopped it" if runner.progress else None,
        how="sleep",
    )

    assert error.startswith("Job execution failed: the operator stopped it")


# --- when the runner dies --------------------------------------------------------------------

PARENT = """
import os, sys
from devaria.client import Job
from devaria.jobs.loading import HandlerUnavailableError
from devaria.execution.limits import JobLimits
from devaria.execution.process import JobProcess
from devaria.execution.signals import Wakeup

process = JobProcess(Wakeup(), os.environ, ["test=misbehaving_handlers:Holds"])
show = lambda pid, *_: print("child", int(pid), flush=True)
process.hand_over("test", {"how": sys.argv[1]}, show)
process.wait(JobLimits(600, 1e12), lambda: None)
"""


@pytest.mark.parametrize("how", ["sleep", "ignore sigterm", "hold the gil"])
def test_a_job_ends_when_its_runner_is_killed(how):
    """Within 5 seconds, though nobody is left to tell it, and though its Python cannot run."""
    with Process("-c", PARENT, how) as parent:
        pid = int(parent.wait_for_line("child").split()[1])
        parent.signal(signal.SIGKILL)
        killed = time.monotonic()
        parent.wait()

        wait_until(lambda: is_gone(pid))
        assert time.monotonic() - killed < 5


def test_what_a_job_started_ends_when_its_runner_is_killed():
    """A program of the job's must not go on, unseen, beside the job's next run."""
    with Process("-c", PARENT, "with a grandchild") as parent:
        child = int(parent.wait_for_line("child").split()[1])
        (grandchild,) = wait_until(lambda: psutil.Process(child).children())
        parent.signal(signal.SIGKILL)
        parent.wait()

        try:
            wait_until(lambda: is_gone(grandchild.pid), patience_sec=1.5)
        finally:
            if not is_gone(grandchild.pid):
                grandchild.kill()
