"""What a job may use, and that it ends when it uses more."""

import sys

import psutil
import pytest

from devaria.execution.limits import JobLimits, memory_bound_bytes
from devaria.jobs import JobHandler

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")


def limited(timeout_sec):
    """Make a handler class with a time-out of its own."""
    return type("Limited", (JobHandler,), {"timeout_sec": timeout_sec})


@pytest.mark.parametrize(("own", "limit"), [(None, 60.0), (1.0, 1.0), (600.0, 600.0)])
def test_a_handlers_own_time_out_comes_first(own, limit):
    """It may be shorter or longer than the default, which counts otherwise."""
    assert JobLimits.for_handler(limited(own), 60.0, 1e9) == JobLimits(limit, 1e9)


def test_a_job_may_use_most_of_the_machines_memory_unless_told_otherwise():
    """The operator gives gigabytes."""
    assert memory_bound_bytes(1.5) == 1.5e9
    assert memory_bound_bytes(None) == pytest.approx(0.9 * psutil.virtual_memory().total)


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("how", ["sleep", "hold the gil", "ignore sigterm", "catch everything"])
def test_a_job_ends_at_its_time_limit(runner, how):
    """This holds for C code that holds the GIL, and for a job that ignores SIGTERM."""
    error, console = runner.error("Holds", limits=JobLimits(1.51, float("inf")), how=how)

    assert error.startswith("Job execution failed: it ran longer than its time limit of 2 s")
    assert "memory peak" in error
    assert console.startswith("holding ")


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("how", ["fill memory", "fill memory in a grandchild"])
def test_a_job_ends_at_its_memory_limit(runner, how):
    """The memory of all its processes counts."""
    error, _ = runner.error("Holds", limits=JobLimits(60.0, 200e6), how=how)

    assert "MB of memory; its limit is 200 MB" in error


@pytest.mark.usefixtures("_impatient")
def test_a_job_is_stopped_for_a_reason_from_outside(runner):
    """One is the operator's second signal. The error has the reason."""
    error, _ = runner.error(
        "Holds",
        why_stop=lambda: "the operator stopped it" if runner.progress else None,
        how="sleep",
    )

    assert error.startswith("Job execution failed: the operator stopped it")


@pytest.mark.usefixtures("_impatient")
def test_an_endless_printer_meets_its_time_limit(runner):
    """Reading what it prints does not delay the check of the time."""
    error, console = runner.error("Prints", limits=JobLimits(1.0, float("inf")), how="endless")

    assert error.startswith("Job execution failed: it ran longer than its time limit of 1 s")
    assert console.startswith("and on\nand on\n")
