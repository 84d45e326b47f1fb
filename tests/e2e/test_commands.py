"""The commands in the papers do what the papers say. test_docs.py has the list of them."""

import re
import shutil
import signal
import sys
from pathlib import Path
from typing import Dict, Iterator

import psutil
import pytest
from papers import DOCS, block, fenced
from processes import environment, running, shell, text_of
from waiting import BOUND_SEC, wait_until

from devaria.nwb.synthetic import write_synthetic_nwb

SUPPORT = Path(__file__).parents[1] / "support"


@pytest.fixture
def env(tmp_path: Path) -> Iterator[Dict[str, str]]:
    """A shell that has what the running local worker printed, pasted into it."""
    output = tmp_path / "worker.out"
    command = block("devaria worker").split()
    with running([*command, "--port", "0"], tmp_path, environment(), output):
        wait_until(lambda: "Serving on" in text_of(output), "the worker serves")
        yield environment(**dict(re.findall(r"^export (\w+)=(\S+)$", text_of(output), re.M)))


@pytest.fixture
def runner_log(tmp_path: Path, env: Dict[str, str]) -> Iterator[Path]:
    """A runner that polls quickly, and its log."""
    fast = {**env, "DEVARIA_POLL_INTERVAL": "0.2", "DEVARIA_ALLOW_HOSTS": "127.0.0.1"}
    command = next(line for line in block("export FIGPACK").splitlines() if "export" not in line)
    with running(command.split(), tmp_path, fast, tmp_path / "runner.out"):
        yield tmp_path / "devaria_runner.log"


def test_a_job_from_end_to_end(tmp_path: Path, env: Dict[str, str]) -> None:
    """Submit, run with --burst, and ask again: the result comes out of the cache."""
    done = shell(block("devaria runner --burst\n"), tmp_path, env)
    assert done.returncode == 0, done.stderr
    assert ": pending" in done.stdout
    assert '"message": "Hello, Alice!"' in done.stdout


@pytest.mark.usefixtures("runner_log")
def test_hello_world(tmp_path: Path, env: Dict[str, str]) -> None:
    """The example submission waits, and prints the result that the paper shows."""
    done = shell(block("processing_time=3 --wait"), tmp_path, env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in fenced(DOCS / "job-types.md", "json")


@pytest.mark.usefixtures("runner_log")
def test_figures(tmp_path: Path, env: Dict[str, str]) -> None:
    """The example submissions with a file of ours print the result in the paper's form."""
    (tmp_path / "files").mkdir()
    nwb = tmp_path / "files" / "session.nwb"
    write_synthetic_nwb(nwb, num_units=5, duration_sec=60, pose_sec=5, movie_sec=5)
    files = tmp_path / "files.out"
    command = [sys.executable, str(SUPPORT / "serve_files.py")]
    with running(command, tmp_path / "files", environment(), files):
        wait_until(lambda: "\n" in text_of(files), "the file is served")
        url = f"{text_of(files).strip()}/session.nwb"
        for job_type in ("raster_plot", "pose_estimation", "video_preview"):
            script = block(f"devaria submit figpack_nwb_{job_type}")
            done = shell(script.replace("https://example.org/session.nwb", url), tmp_path, env)
            assert done.returncode == 0, done.stderr
            assert '"figpack_url": "http' in done.stdout
            assert f'"nwb_url": "{url}"' in done.stdout


def test_the_handler(tmp_path: Path, env: Dict[str, str]) -> None:
    """The example handler and its test, saved and tried as written."""
    handler, its_test, *_ = fenced(DOCS / "handlers.md", "python")
    (tmp_path / "count_words.py").write_text(handler, encoding="utf-8")
    (tmp_path / "test_count_words.py").write_text(its_test, encoding="utf-8")
    try_it, serve_it = (
        text for text in fenced(DOCS / "handlers.md", "bash") if "count_words:CountWords" in text
    )
    url = env["DEVARIA_WORKER_URL"] + "/health"
    submit = f"devaria submit count_words -p url={url}"
    lines = [
        try_it.replace("https://example.org", url),
        "python -m pytest -q test_count_words.py",
        submit,
        f"{serve_it} --burst",
        f"{submit} --wait",
    ]
    done = shell("\n".join(lines), tmp_path, env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert done.stdout.count('"words": ') == 2


def test_completion(tmp_path: Path) -> None:
    """After the paper's line, bash completes the commands."""
    done = shell(f"{block('_DEVARIA_COMPLETE')}\ncomplete -p devaria", tmp_path, environment())
    assert done.returncode == 0, done.stderr
    assert "devaria" in done.stdout


@pytest.mark.parametrize("way", ["nohup devaria runner", "screen -dmS"])
def test_runner_left_running(tmp_path: Path, env: Dict[str, str], way: str) -> None:
    """Started as the papers say, it goes on after its shell has ended, until SIGTERM."""
    if shutil.which(way.split()[0]) is None:
        pytest.skip(f"{way.split()[0]} is not installed")
    shell(block(way), tmp_path, env)
    log = tmp_path / "devaria_runner.log"
    wait_until(lambda: "Polling every 30 s" in text_of(log), "the runner polls")
    runner = psutil.Process(int(text_of(tmp_path / ".devaria_runner.pid")))
    runner.send_signal(signal.SIGTERM)
    wait_until(lambda: "Ended after 0 jobs" in text_of(log), "the runner ends")
    psutil.wait_procs([runner], timeout=BOUND_SEC)
    assert not runner.is_running() or runner.status() == psutil.STATUS_ZOMBIE
