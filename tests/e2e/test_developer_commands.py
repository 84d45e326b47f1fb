"""The developer's commands `run` and `handlers`, installed handlers, and `devaria.testing`."""

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Dict, List

import pytest
from processes import environment, text_of
from waiting import BOUND_SEC, wait_until

from devaria.testing import local_worker, run_handler

EXAMPLE = Path(__file__).parents[1] / "example_package"

SOURCE = '''
import sys, time
from devaria.jobs import JobHandler, Param

class Slow(JobHandler):
    """Sleeps."""
    params = {"seconds": Param(float, "how long")}
    def execute(self, input_params, heartbeat_callback):
        self.log("sleeping")
        self.progress(1, 4)
        (self.run_dir / "file").write_text("scratch")
        time.sleep(input_params["seconds"])
        return {"run_dir": str(self.run_dir)}

class Bounded(Slow):
    """Sleeps, for a second at most."""
    timeout_sec = 1

class Plain(JobHandler):
    """The interface of the seed: two arguments, ValueError, console_output."""
    def execute(self, input_params, heartbeat_callback):
        if input_params.get("bad"):
            raise ValueError("that is bad")
        heartbeat_callback(progress_current=1, progress_total=2, console_output="half way")
        return {"answer": 42, "console_output": "all of it"}
'''


def devaria(arguments: List[str], folder: Path, **settings: str):
    """Run a devaria command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "devaria", *arguments],
        cwd=folder,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=BOUND_SEC,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with handlers under development."""
    (tmp_path / "lab_handlers.py").write_text(SOURCE, encoding="utf-8")
    return tmp_path


def test_run_prints_the_result_alone_on_stdout(folder: Path) -> None:
    """The console and the progress go to stderr, so that the result can be piped."""
    done = devaria(["run", "hello_world", "-p", "name=Zoë", "-p", "processing_time=0"], folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"message": "Hello, Zoë!", "processing_time": 0}
    assert "Starting hello_world job for Zoë" in done.stderr


def test_run_in_process_does_the_same(folder: Path) -> None:
    """The same result, console on stderr, and the scratch folder gone."""
    command = ["run", "slow", "--handlers", "lab_handlers:Slow", "-p", "seconds=0", "--in-process"]
    done = devaria(command, folder)
    assert done.returncode == 0, done.stderr
    assert not Path(json.loads(done.stdout)["run_dir"]).exists()
    assert "sleeping" in done.stderr


def test_run_says_what_is_wrong_and_exits_1(folder: Path) -> None:
    """An invalid parameter is an error in one line; a misspelt one is a warning."""
    done = devaria(["run", "hello_world", "-p", "name=A", "-p", "processing_tim=1"], folder)
    assert done.returncode == 1
    assert "Warning: processing_tim is not a parameter of this job type" in done.stderr
    assert "Error: Invalid parameters: processing_time is missing" in done.stderr
    assert done.stdout == ""


def test_run_of_an_unknown_type_exits_7(folder: Path) -> None:
    """Nothing runs, and the message says why."""
    done = devaria(["run", "nothing"], folder)
    assert done.returncode == 7
    assert "Error: cannot run nothing: there is no handler" in done.stderr


def test_run_keeps_the_handlers_own_time_limit(folder: Path) -> None:
    """A job that takes longer is ended, as a runner would end it."""
    command = ["run", "bounded", "--handlers", "lab_handlers:Bounded", "-p", "seconds=600"]
    done = devaria(command, folder)
    assert done.returncode == 1
    assert "it ran longer than its time limit of 1 s" in done.stderr
    assert done.stdout == ""


def test_ctrl_c_ends_a_run_cleanly(folder: Path) -> None:
    """The job process ends, its scratch folder goes, and the text says that it was stopped."""
    (folder / "tmp").mkdir()
    command = ["run", "slow", "--handlers", "lab_handlers:Slow", "-p", "seconds=600"]
    output = folder / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "devaria", *command],
            cwd=folder,
            env=environment(TMPDIR=str(folder / "tmp")),
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    wait_until(lambda: "sleeping" in text_of(output), "the job runs")
    process.send_signal(signal.SIGINT)
    assert process.wait(BOUND_SEC) == 1
    assert "it was stopped (SIGINT)" in text_of(output)
    assert list((folder / "tmp").iterdir()) == []


def test_an_edit_takes_effect_with_the_next_job(folder: Path) -> None:
    """Each job loads its handler anew."""
    command = ["run", "plain", "--handlers", "lab_handlers:Plain"]
    assert json.loads(devaria(command, folder).stdout) == {"answer": 42}
    (folder / "lab_handlers.py").write_text(SOURCE.replace("42", "43 * 1000"), encoding="utf-8")
    assert json.loads(devaria(command, folder).stdout) == {"answer": 43000}


def test_handlers_lists_what_is_ready_and_what_is_not(folder: Path) -> None:
    """Each type has its origin, its docstring's first line, and the reasons if it is not ready."""
    handlers = "lab_handlers:Slow,gone=no_such_module:Class"
    done = devaria(["handlers", "--json", "--handlers", handlers], folder)
    rows = {row["type"]: row for row in json.loads(done.stdout)}
    assert rows["slow"]["ready"]
    assert rows["slow"]["summary"] == "Sleeps."
    assert rows["slow"]["origin"] == "--handlers lab_handlers:Slow"
    assert rows["gone"]["missing"] == ["ModuleNotFoundError: No module named 'no_such_module'"]
    assert any("FIGPACK_API_KEY" in each for each in rows["figpack_nwb_raster_plot"]["missing"])
    table = devaria(["handlers", "--table", "--handlers", handlers], folder).stdout
    assert re.search(r"^slow +--handlers lab_handlers:Slow +Sleeps\. +ready$", table, re.MULTILINE)


def test_help_type_explains_the_parameters(folder: Path) -> None:
    """Each line has the allowed values, the default and the description."""
    done = devaria(["handlers", "--help-type", "hello_world"], folder)
    line = r"^processing_time +a number from 0 to 300 +required +how long to wait, in seconds$"
    assert re.search(line, done.stdout, re.MULTILINE)


@pytest.fixture(scope="module")
def installed_example(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, str]:
    """Install the example package; return the variables with which it is found."""
    target = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target)]
    subprocess.run([*command, str(EXAMPLE)], check=True, timeout=5 * BOUND_SEC)
    return {"PYTHONPATH": str(target)}


def test_an_installed_package_brings_its_handler(folder: Path, installed_example) -> None:
    """The handler is found by its entry point, listed with its origin, and runs."""
    done = devaria(["handlers", "--json"], folder, **installed_example)
    (row,) = [row for row in json.loads(done.stdout) if row["type"] == "count_words"]
    assert row["ready"]
    assert "count_words:CountWords" in row["origin"]
    with local_worker() as worker:
        command = ["run", "count_words", "-p", f"url={worker.url}/health"]
        done = devaria(command, folder, **installed_example)
    assert json.loads(done.stdout)["words"] >= 1


def test_the_example_packages_own_tests_pass(folder: Path, installed_example) -> None:
    """A handler's developer can write tests as devaria.testing documents."""
    shutil.copytree(EXAMPLE / "tests", folder / "tests")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=folder,
        env=environment(**installed_example),
        capture_output=True,
        text=True,
        timeout=BOUND_SEC,
        check=False,
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_run_handler_records_what_a_handler_does(folder: Path, monkeypatch) -> None:
    """It keeps the result, console, heartbeats and exception; the exception makes the error."""
    monkeypatch.syspath_prepend(str(folder))
    lab = __import__("lab_handlers")
    outcome = run_handler(lab.Plain, {})
    assert outcome.result == {"answer": 42}
    assert outcome.console == "all of it"
    assert outcome.heartbeats[0].progress_total == 2
    outcome = run_handler(lab.Plain, {"bad": True})
    assert outcome.error == "Invalid parameters: that is bad"
    assert isinstance(outcome.exception, ValueError)
