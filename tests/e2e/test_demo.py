"""`devaria demo`, run as a new user would run it."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import requests
from processes import environment, finished, text_of, without
from waiting import BOUND_SEC, wait_until

DEMO = [sys.executable, "-m", "devaria", "demo"]
FIGURE = re.compile(r"The figure: (http://\S+/index\.html) \(figpack_nwb_(\w+)\)")
FIGURES = ["raster_plot", "pose_estimation", "video_preview"]


def _places(tmp_path: Path):
    for name in ("here", "temporary"):
        (tmp_path / name).mkdir()
    return tmp_path / "here", environment(TMPDIR=str(tmp_path / "temporary"))


def test_demo_runs_all_jobs_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """With --exit it prints results and figures, exits with 0, and leaves no file or process."""
    here, env = _places(tmp_path)
    done = finished([*DEMO, "--exit"], here, env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"message": "Hello, Alice!"' in done.stdout
    assert [name for _, name in FIGURE.findall(done.stdout)] == FIGURES
    assert list(here.iterdir()) == []
    assert list((tmp_path / "temporary").iterdir()) == []


def test_demo_leaves_out_what_cannot_run_here(tmp_path: Path) -> None:
    """Without the package for videos, it says so and shows the other figures."""
    here, env = _places(tmp_path)
    done = finished([*DEMO, "--exit"], here, {**env, **without("av", tmp_path)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        'figpack_nwb_video_preview is left out: av is not installed: `pip install "devaria[video]"`'
    ) in done.stdout
    assert [name for _, name in FIGURE.findall(done.stdout)] == FIGURES[:2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_serves_the_figures_until_ctrl_c(tmp_path: Path, number: signal.Signals) -> None:
    """Without --exit the figures are served until Ctrl-C or SIGTERM; the exit code is 0."""
    here, env = _places(tmp_path)
    output = tmp_path / "output"
    with output.open("wb") as file:
        demo = subprocess.Popen(DEMO, cwd=here, env=env, stdout=file, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: "Ctrl-C ends the demo" in text_of(output), "the demo serves figures")
        for url, _ in FIGURE.findall(text_of(output)):
            assert requests.get(url, timeout=10).ok
        children = psutil.Process(demo.pid).children(recursive=True)
        assert children, "the runner is a process of its own"
    finally:
        demo.send_signal(number)
        demo.wait(BOUND_SEC)
    assert demo.returncode == 0, text_of(output)
    assert not any(child.is_running() for child in children)
    assert list((tmp_path / "temporary").iterdir()) == []
