"""The job process from inside: results, errors, prints and progress reach the runner whole."""

import os
import sys

import psutil
import pytest
from misbehaving_handlers import NO_RESULTS

from devaria.jobs.loading import HandlerUnavailableError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")


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
    """Whatever its base class, it ends only the job; the console so far is kept."""
    error, console = runner.error("Raises", kind=kind)

    assert error == message
    assert console.startswith("working\n")
    assert ("Traceback (most recent call last):\n" in console) == (kind != "value")
    assert runner.process._process.returncode == 0


def test_bottomless_recursion_is_an_error_like_another(runner):
    """The process survives it."""
    error, _ = runner.error("Raises", kind="recursion")

    assert error.startswith("Job execution failed: RecursionError: ")


def test_an_endless_error_text_is_cut(runner):
    """A longer one would not fit through the pipe, and the error would be lost."""
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
    """The error names the value's place and its type."""
    assert name in NO_RESULTS
    error, _ = runner.error("Returns", no_result=name)

    assert error.startswith(f"Job execution failed: {message}")


def test_a_handler_that_cannot_be_made_is_an_error(runner):
    """Its constructor is job code too."""
    error, _ = runner.error("CannotBeMade")

    assert error == "Job execution failed: RuntimeError: cannot be made"


def test_a_handler_that_cannot_be_loaded_is_no_failure_of_the_job(runner):
    """The fault is this machine's. Once it is corrected, the job can run."""
    with pytest.raises(HandlerUnavailableError, match="misbehaving_handlers:NoSuchClass"):
        runner.error("NoSuchClass")


# --- the console -----------------------------------------------------------------------------


def test_all_that_is_printed_is_in_the_console(runner):
    """Python, C code and other programs may print it, on either stream."""
    console = runner.run("Prints", how="everywhere").console_output

    lines = console.splitlines()
    assert lines[:4] == ["from print", "from stderr", "from write 1", "from write 2"]
    assert set(lines[4:]) == {"from sh", "from sh 2", "no line end"}


def test_a_console_that_is_no_utf8_is_readable(runner):
    """Neither the handler nor the runner fails on it."""
    console = runner.run("Prints", how="strange_characters").console_output

    assert console == "half a pair: \\ud800\nbytes: \ufffd\ufffd\n"


def test_a_gigabyte_of_prints_is_bounded(runner):
    """Only head and tail are kept, also in the runner's memory."""
    before = psutil.Process().memory_info().rss

    console = runner.run("Prints", how="gigabyte").console_output

    assert console.startswith("first words\n")
    assert console.endswith("last words\n")
    assert "bytes left out" in console
    assert len(console) < 1_000_000
    assert psutil.Process().memory_info().rss - before < 100_000_000


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
    """The traceback follows it."""
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
    """The call fails at once, before the worker could refuse it."""
    error, _ = runner.error("Reports", how="no number")

    assert error == "Job execution failed: TypeError: progress_current must be a number, not str"


def test_a_progress_that_json_cannot_hold_is_unknown(runner):
    """A division by zero in a progress must not end a job."""
    runner.run("Reports", how="not finite")

    assert runner.progress == [(None, None, None)]


# --- what it sees ----------------------------------------------------------------------------


def test_a_job_sees_no_key_of_the_worker_and_has_a_place_of_its_own(runner):
    """It has its own environment, scratch folder, process group and an empty standard input."""
    keys = {f"DEVARIA_{kind}_API_KEY": "s3cr3t" for kind in ("RUNNER", "SUBMIT", "ADMIN")}
    runner.start("Tells", FIGPACK_API_KEY="figpack-key", **keys)

    seen = runner.run("Tells").output_data

    assert "s3cr3t" not in str(seen)
    assert seen["environ"]["FIGPACK_API_KEY"] == "figpack-key"
    assert seen["scratch"] == runner.process.scratch
    assert seen["stdin"] == ""
    assert seen["group"] == seen["pid"]
    assert seen["pid"] != os.getpid()
