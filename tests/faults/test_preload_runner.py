"""A runner that imports ahead while idle: for which jobs, when again, and what if it fails."""

import os
import signal

import misbehaviour
import psutil
import pytest
from lab import is_running
from preloading import option, write_handler
from waiting import wait_until

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX signals")

#: The runner starts such processes at once, and looks after them often.
QUICK = {"preload_after_sec": 0.02, "status_sec": 0.05}


class Preloading:
    """A lab's runner with the handler `ahead`, whose `preload` notes the process."""

    def __init__(self, lab, then="import colorsys"):
        self._lab = lab
        self._notes = lab.tmp_path / "preloaded"
        self._then = then
        self.write()

    def write(self, answer=1):
        """Write the handler's module."""
        note = f"open({str(self._notes)!r}, 'a').write(f'{{os.getpid()}}\\n')"
        write_handler(self._lab.tmp_path, "ahead", f"{note}\n{self._then}", answer)

    def runner(self, *options, timing=None, **settings):
        """Start the runner."""
        path = os.pathsep.join([self._lab.environ["PYTHONPATH"], str(self._lab.tmp_path)])
        environ = {"PYTHONPATH": path, **settings.pop("environ", {})}
        handlers = f"{misbehaviour.OPTION},{option('ahead')}"
        timing = {**QUICK, **(timing or {})}
        return self._lab.runner(
            "--handlers", handlers, *options, timing=timing, environ=environ, **settings
        )

    @property
    def pids(self):
        """The processes in which `preload` was called, the last one last."""
        text = self._notes.read_text() if self._notes.exists() else ""
        return [int(line) for line in text.split()]

    def wait_for(self, count=1):
        """Wait until so many processes have called it, and the last one waits; return it."""
        wait_until(lambda: len(self.pids) >= count, f"process {count}", context=self._lab.outputs)
        return self.pids[-1]

    def ready(self, count=1):
        """Wait until the last one of so many processes waits for a job; return it."""
        said = "ahead: imported ahead"
        outputs = self._lab.outputs
        wait_until(lambda: outputs().count(said) >= count, f"{said!r}, {count} times", 15, outputs)
        return self.pids[-1]

    def run_job(self):
        """Run a job of the type; return its result."""
        return self._lab.ended(self._lab.submit("ahead")).output_data


@pytest.fixture
def preloading(lab):
    """A handler that imports ahead, and no runner yet."""
    return Preloading(lab)


# --- which jobs ------------------------------------------------------------------------------


def test_the_next_job_runs_in_the_process_that_waits(preloading):
    """And then another one waits, for the job after it."""
    runner = preloading.runner("-v")
    pid = preloading.ready()

    result = preloading.run_job()

    assert (result["pid"], result["found"]) == (pid, True)
    assert preloading.ready(2) != pid
    assert not is_running(pid)
    assert preloading.run_job()["pid"] == preloading.pids[1]
    runner.end()


def test_what_imports_print_is_not_in_the_jobs_console(lab):
    """Neither at the worker nor in the runner's output."""
    preloading = Preloading(lab, then="print('from the imports')")
    runner = preloading.runner("-v")
    preloading.ready()
    job = lab.ended(lab.submit("ahead"))
    assert job.console_output == "working\n"
    runner.end()
    assert "from the imports" not in runner.output()


def test_a_job_of_another_type_has_nothing_to_do_with_it(lab, preloading):
    """It runs in a process of its own, without these imports; the one that waits goes on."""
    runner = preloading.runner("-v")
    pid = preloading.ready()

    job = lab.ended(lab.submit("good"))

    assert job.status == "completed"
    assert preloading.run_job()["pid"] == pid
    runner.end()


def test_an_edit_takes_effect_with_the_next_job(preloading):
    """Also while a process waits that has loaded the old file."""
    runner = preloading.runner("-v")
    preloading.ready()
    preloading.write(answer=2)

    assert preloading.run_job()["answer"] == 2
    assert "trying again" not in runner.output()
    assert preloading.ready(2)
    assert preloading.run_job()["answer"] == 2
    runner.end()


def test_a_job_that_comes_during_the_imports_does_not_wait(lab):
    """It runs in a new process; the imports are given up, and begin again afterwards."""
    preloading = Preloading(lab, then="time.sleep(600)")
    runner = preloading.runner()
    pid = preloading.wait_for()

    assert preloading.run_job()["found"] is False

    assert not is_running(pid)
    assert preloading.wait_for(2) != pid
    runner.end()


def test_jobs_of_a_queue_are_not_kept_up(lab, preloading):
    """While there are jobs to do, nothing is imported ahead."""
    ids = [lab.submit("ahead") for _ in range(6)]
    runner = preloading.runner(timing={"preload_after_sec": 3.0})
    for each in ids:
        assert lab.ended(each).output_data["found"] is False
    assert preloading.pids == []
    runner.end()


def test_processes_for_the_next_two_jobs_start_while_one_runs(lab, preloading):
    """No more than there are jobs left, and none has imported ahead."""
    first, second = lab.submit_waiting(), lab.submit_waiting()
    third, last = lab.submit("good"), lab.submit("good")
    runner = preloading.runner()

    first.wait_for_start()
    wait_until(lambda: len(_job_processes(runner)) == 3, "two processes that wait")
    first.let_go()
    second.wait_for_start()
    wait_until(lambda: len(_job_processes(runner)) == 3, "two processes that wait")
    second.let_go()

    assert {lab.ended(each).status for each in (third, last)} == {"completed"}
    runner.end()
    assert _job_processes(runner) == []


def _job_processes(runner):
    """The job processes of a runner."""
    try:
        children = psutil.Process(runner.pid).children()
        return [each for each in children if "devaria.execution.child" in each.cmdline()]
    except psutil.NoSuchProcess:
        return []


# --- when again, and when not ----------------------------------------------------------------


def test_a_process_that_waits_is_replaced_after_some_time(preloading):
    """By default after an hour."""
    timing = {"preloaded_age_sec": 0.2, "preloaded_check_sec": 0.05}
    runner = preloading.runner("-v", timing=timing)
    first = preloading.wait_for()
    preloading.wait_for(3)
    wait_until(lambda: not is_running(first), "the end of the first")
    assert preloading.run_job()["answer"] == 1
    runner.end()


def test_a_change_replaces_a_process_that_waits(preloading):
    """It notices the change while it waits."""
    runner = preloading.runner("-v", timing={"preloaded_check_sec": 0.05})
    first = preloading.ready()
    preloading.write(answer=2)
    assert preloading.wait_for(2) != first
    wait_until(lambda: not is_running(first), "the end of the first")
    runner.end()


def test_a_process_that_somebody_killed_is_said(preloading):
    """Jobs run as without it. It may have taken too much memory, so it is not started again."""
    runner = preloading.runner("-v")
    os.kill(preloading.ready(), signal.SIGKILL)
    runner.wait_for("ahead: imports nothing ahead: its process was killed by SIGKILL")
    assert preloading.run_job()["found"] is False
    assert len(preloading.pids) == 1
    runner.end()


@pytest.mark.parametrize(
    ("options", "environ"),
    [(["--no-preload"], {}), ([], {"DEVARIA_NO_PRELOAD": "1"}), (["--types", "good"], {})],
)
def test_it_can_be_turned_off(lab, preloading, options, environ):
    """By an option or a variable. And types that are not offered import nothing."""
    runner = preloading.runner("--no-wait", *options, environ=environ)
    polls = len(lab.proxy.passed("available"))
    wait_until(lambda: len(lab.proxy.passed("available")) >= polls + 4, "some polls")
    assert preloading.pids == []
    runner.end()


# --- faults ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("time.sleep(600)", "it took more than 0.5 s"),
        ("ctypes.PyDLL(None).sleep(600)", "it took more than 0.5 s"),
        ("os._exit(3)", "its process ended with exit code 3"),
    ],
)
def test_imports_that_fail_are_said_once(lab, fault, problem):
    """They are tried again after an hour, and harm no job."""
    preloading = Preloading(lab, then=fault)
    timing = {"preload_sec": 0.5, "preloaded_age_sec": 0.3}
    runner = preloading.runner(timing=timing)
    runner.wait_for(f"WARNING: ahead: imports nothing ahead: {problem}")

    assert preloading.run_job()["answer"] == 1
    preloading.wait_for(3)

    assert runner.output().count("imports nothing ahead") == 1
    runner.end()
    assert not any(is_running(pid) for pid in preloading.pids)


@pytest.mark.parametrize("then", ["import colorsys", "ctypes.PyDLL(None).sleep(600)"])
def test_a_runner_that_is_killed_leaves_no_process_behind(lab, then):
    """Not even one whose imports hang in C code."""
    preloading = Preloading(lab, then=then)
    runner = preloading.runner()
    pid = preloading.wait_for()
    runner.kill()
    wait_until(lambda: not is_running(pid), "the end of the process")


def test_a_runner_that_ends_leaves_nothing_behind(lab, preloading):
    """Neither the process nor its scratch folder, and it ends at once."""
    runner = preloading.runner("-v", "--poll-interval", "60")
    pid = preloading.ready()
    runner.end()
    assert not is_running(pid)
    assert list(lab.tmp_path.glob("devaria-job-*")) == []


def test_a_crash_with_a_process_that_waits_is_settled_as_ever(lab, preloading):
    """The runner dies in mid-job. Its next start runs the job again."""
    (lab.tmp_path / "helper_of_ahead.py").write_text("FACTS = {}\n")
    runner = preloading.runner("-v", crash_at="before write done 1")
    preloading.ready()
    job_id = lab.submit("ahead")
    runner.wait()
    again = preloading.runner()
    assert lab.ended(job_id).output_data["answer"] == 1
    again.end()
