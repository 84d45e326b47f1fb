"""Processes that import ahead: the next job finds the imports, and no edit is missed."""

import os
import signal
import sys
from pathlib import Path

import pytest
from job_processes import is_gone, job_pid
from preloading import Waiting, write_handler
from waiting import wait_until

from devaria.execution.preloaded import OutOfDateError
from devaria.execution.process import JobProcess
from devaria.execution.signals import Wakeup

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")


@pytest.fixture
def waiting(tmp_path):
    """Starts processes for the handlers in the test's folder; all are ended."""
    made = Waiting(tmp_path)
    yield made
    made.close()


# --- the job ---------------------------------------------------------------------------------


def test_a_job_finds_the_imports_done(waiting, tmp_path):
    """The module is loaded before `execute` is called, and by `preload` alone."""
    write_handler(tmp_path)
    outcome = waiting.run(waiting.ready("ahead"))
    assert outcome.output_data["found"] is True

    write_handler(tmp_path, preload="pass")
    assert waiting.run(waiting.ready("ahead")).output_data["found"] is False


def test_each_job_has_a_process_of_its_own(waiting, tmp_path):
    """The process ends with its job, and its scratch folder is gone."""
    write_handler(tmp_path)
    process = waiting.ready("ahead")

    outcome = waiting.run(process)

    assert is_gone(outcome.output_data["pid"])
    assert not Path(process.scratch).exists()
    assert not process.is_ready
    assert not process.is_waiting


def test_several_types_share_a_process(waiting, tmp_path):
    """It has called the `preload` of each."""
    write_handler(tmp_path)
    write_handler(tmp_path, "other", preload="pass", answer=2)

    outcome = waiting.run(waiting.ready("ahead", "other"), "other")

    assert outcome.output_data["answer"] == 2
    assert outcome.output_data["found"] is True


def test_what_imports_print_is_not_of_the_job(waiting, tmp_path):
    """Python's prints and those of C code are left out of the console; the job's are not."""
    write_handler(tmp_path, preload="print('imported'); os.write(2, b'from C')")
    process = waiting.ready("ahead")
    wait_until(lambda: "from C" in process.console.text(), "the line in the pipe")

    process.drop_console()

    assert waiting.run(process).console_output == "working\n"


def test_the_memory_limit_counts_imports(waiting, tmp_path):
    """A limit below what the imports take ends the job at the first look."""
    path = write_handler(tmp_path, preload="cls.taken = bytearray(80_000_000)")
    path.write_text(path.read_text().replace('print("working")', "time.sleep(60)"))
    process = waiting.ready("ahead", job_watch_sec=0.05, job_exit_sec=0.3)

    outcome = waiting.run(process, memory_bytes=60e6)

    assert "its limit is 60 MB" in outcome.error_message


def test_the_time_limit_begins_with_the_job(waiting, tmp_path):
    """The time for which the process has waited does not count."""
    write_handler(tmp_path)
    process = waiting.ready("ahead", job_watch_sec=0.05)
    wait_until(lambda: process._elapsed_sec() > 0.3, "some time")

    assert waiting.run(process, timeout_sec=0.3).output_data["answer"] == 1


def test_a_worker_key_is_not_in_its_environment(tmp_path):
    """As in any job process."""
    write_handler(tmp_path)
    (tmp_path / "helper_of_ahead.py").write_text(
        "import os\nFACTS = {'names': [n for n in os.environ if n.startswith('DEVARIA_')]}\n"
    )
    waiting = Waiting(tmp_path, DEVARIA_RUNNER_API_KEY="k", DEVARIA_ALLOW_HOSTS="h")
    try:
        outcome = waiting.run(waiting.ready("ahead"))
    finally:
        waiting.close()
    assert outcome.output_data["names"] == ["DEVARIA_ALLOW_HOSTS"]


# --- out of date -----------------------------------------------------------------------------


def edit_handler(folder):
    """Edit the file of the handler."""
    write_handler(folder, answer=2)


def edit_helper(folder):
    """Edit a module that the handler imports."""
    (folder / "helper_of_ahead.py").write_text("FACTS = {'answer': 2}\n")


def remove_helper(folder):
    """Remove it, and put the code into the handler instead."""
    (folder / "helper_of_ahead.py").unlink()
    path = folder / "ahead_handler.py"
    text = path.read_text().replace("import helper_of_ahead", "class helper_of_ahead: FACTS = {}")
    path.write_text(text.replace('"answer": 1', '"answer": 2'))


@pytest.mark.parametrize("change", [edit_handler, edit_helper, remove_helper])
def test_an_edit_takes_effect_with_the_next_job(waiting, tmp_path, change):
    """The process gives the job back, and a new one runs the new code."""
    write_handler(tmp_path)
    process = waiting.ready("ahead")
    change(tmp_path)

    with pytest.raises(OutOfDateError):
        waiting.run(process)

    new = JobProcess(Wakeup(), waiting.environ, ["ahead=ahead_handler:ahead"])
    assert waiting.run(new).output_data["answer"] == 2


def test_a_package_that_is_installed_makes_it_out_of_date(tmp_path):
    """It changes the folder of packages, in which the process may have looked."""
    packages = tmp_path / "site-packages"
    packages.mkdir()
    write_handler(tmp_path)
    waiting = Waiting(tmp_path)
    waiting.environ["PYTHONPATH"] += os.pathsep + str(packages)
    try:
        process = waiting.ready("ahead")
        (packages / "another-1.0.dist-info").mkdir()
        with pytest.raises(OutOfDateError):
            waiting.run(process)
    finally:
        waiting.close()


@pytest.mark.parametrize("change", [edit_handler, edit_helper])
def test_a_change_ends_a_process_that_waits(waiting, tmp_path, change):
    """It looks by itself, now and then."""
    write_handler(tmp_path)
    process = waiting.ready("ahead", preloaded_check_sec=0.05)
    change(tmp_path)
    wait_until(lambda: process.is_out_of_date, "the end of the process")
    assert process.problem is None


def test_a_change_during_the_imports_is_seen(waiting, tmp_path):
    """A file that changes after its import, and before the process looks, is not missed."""
    write_handler(
        tmp_path, preload=f"open({str(tmp_path / 'helper_of_ahead.py')!r}, 'a').write('#')"
    )
    process = waiting.start("ahead")
    wait_until(lambda: process.is_out_of_date, "the end of the process")


def test_it_is_out_of_date_after_some_time(waiting, tmp_path):
    """By default after an hour."""
    write_handler(tmp_path)
    process = waiting.start("ahead", preloaded_age_sec=0.2, preloaded_check_sec=0.05)
    wait_until(lambda: process.is_out_of_date, "the end of the process")
    assert process.problem is None


def test_another_environment_makes_it_out_of_date(waiting, tmp_path):
    """A variable may have acted on the imports."""
    write_handler(tmp_path)
    process = waiting.ready("ahead")

    waiting.environ["FIGPACK_API_BASE_URL"] = "https://figures.example"

    assert not process.is_ready
    assert process.is_out_of_date


def test_nothing_else_makes_it_out_of_date(waiting, tmp_path):
    """Files that were not loaded do not matter, and neither does a file that is only read."""
    write_handler(tmp_path)
    process = waiting.ready("ahead", preloaded_check_sec=0.02)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "ahead_handler.py").read_text()
    pid = job_pid(process)
    wait_until(lambda: _looked_again(pid), "some looks")
    assert waiting.run(process).output_data["answer"] == 1


def _looked_again(pid):
    """Whether a process has woken up several times since it waits."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0]) > 50


# --- faults ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preload", "problem"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("sys.exit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt: "),
        ("class Odd(Exception):\n  __str__ = None\nraise Odd", "Odd"),
        ("os._exit(3)", "its process ended with exit code 3"),
        ("os._exit(0)", "its process ended with exit code 0"),
        ("faulthandler._sigsegv()", "its process was killed by SIGSEGV"),
    ],
)
def test_imports_that_fail_are_said(waiting, tmp_path, preload, problem):
    """Whatever the code does, and the process is not used."""
    write_handler(tmp_path, preload=preload)
    process = waiting.start("ahead")
    assert wait_until(lambda: process.problem, "a problem") == problem
    assert not process.is_ready
    assert not process.is_out_of_date


def test_a_handler_that_cannot_be_loaded_is_said(waiting, tmp_path):
    """The text says why."""
    write_handler(tmp_path).write_text("1 / 0")
    assert "ZeroDivisionError" in waiting.problem("ahead")


@pytest.mark.parametrize("hang", ["time.sleep(600)", "ctypes.PyDLL(None).sleep(600)"])
def test_imports_that_hang_are_given_up(waiting, tmp_path, hang):
    """After a while, and the process can be ended, even if C code holds the GIL."""
    write_handler(tmp_path, preload=hang)
    process = waiting.start("ahead", preload_sec=0.3)
    assert wait_until(lambda: process.problem, "a problem") == "it took more than 0.3 s"
    process.close()
    assert is_gone(process._process.pid)


def test_a_process_that_was_killed_has_not_run_its_job(waiting, tmp_path):
    """A new one is to run it."""
    write_handler(tmp_path)
    process = waiting.ready("ahead")
    os.kill(job_pid(process), signal.SIGKILL)
    with pytest.raises(OutOfDateError):
        waiting.run(process)
    assert process.problem == "its process was killed by SIGKILL"
