"""`devaria demo`, run as a new user would run it."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import requests
from processes import environment, text_of
from waiting import BOUND_SEC, wait_until

DEMO = [sys.executable, "-m", "devaria", "demo"]
FIGURE_URL = re.compile(r"The figure: (http://\S+/index\.html)")


def _places(tmp_path: Path):
    for name in ("here", "temporary"):
        (tmp_path / name).mkdir()
    return tmp_path / "here", environment(TMPDIR=str(tmp_path / "temporary"))


def test_demo_runs_both_jobs_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """With --exit it prints both results, exits with 0, and leaves no file or process."""
    here, env = _places(tmp_path)
    done = subprocess.run(
        [*DEMO, "--exit"],
        cwd=here,
        env=env,
        capture_output=True,
        text=True,
        timeout=BOUND_SEC,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"message": "Hello, Alice!"' in done.stdout
    assert FIGURE_URL.search(done.stdout), done.stdout
    assert list(here.iterdir()) == []
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_serves_the_figure_until_ctrl_c(tmp_path: Path, number: signal.Signals) -> None:
    """Without --exit the figure is served until Ctrl-C or SIGTERM; the exit code is 0."""
    here, env = _places(tmp_path)
    output = tmp_path / "output"
    with output.open("wb") as file:
        demo = subprocess.Popen(DEMO, cwd=here, env=env, stdout=file, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: "Ctrl-C ends the demo" in text_of(output), "the demo serves the figure")
        found = FIGURE_URL.search(text_of(output))
        assert found is not None
        assert requests.get(found.group(1), timeout=10).ok
        children = psutil.Process(demo.pid).children(recursive=True)
        assert children, "the runner is a process of its own"
    finally:
        demo.send_signal(number)
        demo.wait(BOUND_SEC)
    assert demo.returncode == 0, text_of(output)
    assert not any(child.is_running() for child in children)
    assert list((tmp_path / "temporary").iterdir()) == []
