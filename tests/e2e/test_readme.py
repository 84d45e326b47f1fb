"""The README is true: its commands run, and no command or option is missing from it."""

import re
import shutil
import signal
import sys
from pathlib import Path
from typing import Dict, Iterator, List

import click
import psutil
import pytest
from processes import BOUND_SEC, environment, running, shell, text_of, wait_until

from devaria.cli import main
from devaria.nwb.synthetic import write_synthetic_nwb

SUPPORT = Path(__file__).parents[1] / "support"
README = Path(__file__).parents[2] / "README.md"
BLOCKS: List[str] = re.findall(r"```bash\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)

#: Run by .ci/run in fresh virtual environments, since they install or check the whole tree.
IN_CI = {
    'pip install ".[all]" && devaria demo',
    'pip install -e ".[dev]" && pytest',
    'pip install -e ".[dev]" && pytest\nruff check && ruff format --check && mypy\npython -m build',
}
#: Run below; what a test leaves out of a block stands there.
BELOW = [
    "devaria runner\n",
    "nohup devaria runner",
    "screen -dmS",
    "devaria submit hello_world",
    "devaria submit figpack_nwb_raster_plot",
    "devaria runner --handlers",
    "devaria run count_words",
    "_DEVARIA_COMPLETE",
    "sbatch --array",  # in test_slurm.py
    "tests/bench/raster.py",  # minutes of measuring: by hand
    "tests/bench/runner.py",  # likewise
    "devaria worker\n",
    "devaria runner --burst",
]


def block(text: str) -> str:
    """The one bash block that has a text, without what it installs."""
    found = [each for each in BLOCKS if text in each]
    assert found, f"README.md has no block with {text!r}"
    return re.sub(r"^pip install .*\n", "", found[0], flags=re.MULTILINE)


@pytest.fixture
def env(tmp_path: Path) -> Iterator[Dict[str, str]]:
    """A shell that has what the running local worker printed, pasted into it."""
    output = tmp_path / "worker.out"
    command = block("devaria worker\n").split()
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


def test_every_bash_block_is_tried_somewhere() -> None:
    """A block that is new in the README must be run by a test, or by .ci/run."""
    for each in BLOCKS:
        known = each.strip() in IN_CI or any(text in each for text in BELOW)
        assert known, f"nothing runs this block:\n{each}"


def test_every_command_and_option_stands_in_the_readme() -> None:
    """What --help offers, the README explains."""
    text = README.read_text(encoding="utf-8")
    for name, command in main.commands.items():
        assert f"devaria {name}" in text
        for option in command.params:
            if isinstance(option, click.Option):
                longest = re.escape(max(option.opts, key=len))
                assert re.search(rf"[`\[ ]{longest}\b", text), f"{option.opts} of devaria {name}"
                assert not option.envvar or str(option.envvar) in text


def test_every_help_ends_in_two_examples_that_parse() -> None:
    """Examples show a real use: each parses as a command line."""
    for command in (main, *main.commands.values()):
        lines = (command.epilog or "").splitlines()
        examples = [line.split() for line in lines if line.startswith("  devaria")]
        assert len(examples) == 2, command.name
        for _, name, *_rest in examples:
            assert name in main.commands


def test_a_job_from_end_to_end(tmp_path: Path, env: Dict[str, str]) -> None:
    """Submit, run with --burst, and ask again: the result comes out of the cache."""
    done = shell(block("devaria runner --burst\n"), tmp_path, env)
    assert done.returncode == 0, done.stderr
    assert ": pending" in done.stdout
    assert '"message": "Hello, Alice!"' in done.stdout


@pytest.mark.usefixtures("runner_log")
def test_hello_world_as_in_the_readme(tmp_path: Path, env: Dict[str, str]) -> None:
    """The example submission waits, and prints the result that the README shows."""
    script = block("devaria submit hello_world")
    done = shell(script, tmp_path, env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in README.read_text(encoding="utf-8")


@pytest.mark.usefixtures("runner_log")
def test_raster_plot_as_in_the_readme(tmp_path: Path, env: Dict[str, str]) -> None:
    """The example submission with a file of ours prints the result in the README's form."""
    (tmp_path / "files").mkdir()
    write_synthetic_nwb(tmp_path / "files" / "session.nwb", num_units=5, duration_sec=60)
    files = tmp_path / "files.out"
    command = [sys.executable, str(SUPPORT / "serve_files.py")]
    with running(command, tmp_path / "files", environment(), files):
        wait_until(lambda: "\n" in text_of(files), "the file is served")
        url = f"{text_of(files).strip()}/session.nwb"
        script = block("devaria submit figpack_nwb_raster_plot")
        done = shell(script.replace("https://example.org/session.nwb", url), tmp_path, env)
    assert done.returncode == 0, done.stderr
    assert '"figpack_url": "http' in done.stdout
    assert f'"nwb_url": "{url}"' in done.stdout


def test_the_handler_of_the_readme(tmp_path: Path, env: Dict[str, str]) -> None:
    """The example handler and its test, saved and tried as written."""
    text = README.read_text(encoding="utf-8")
    handler, its_test = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "count_words.py").write_text(handler, encoding="utf-8")
    (tmp_path / "test_count_words.py").write_text(its_test, encoding="utf-8")
    url = env["DEVARIA_WORKER_URL"] + "/health"
    submit = f"devaria submit count_words -p url={url}"
    lines = [
        block("devaria run count_words").strip().replace("https://example.org", url),
        "python -m pytest -q test_count_words.py",
        submit,
        f"{block('devaria runner --handlers').strip()} --burst",
        f"{submit} --wait",
    ]
    done = shell("\n".join(lines), tmp_path, env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert done.stdout.count('"words": ') == 2


def test_completion(tmp_path: Path) -> None:
    """After the README's line, bash completes the commands."""
    done = shell(f"{block('_DEVARIA_COMPLETE')}\ncomplete -p devaria", tmp_path, environment())
    assert done.returncode == 0, done.stderr
    assert "devaria" in done.stdout


@pytest.mark.parametrize("way", ["nohup devaria runner", "screen -dmS"])
def test_runner_left_running(tmp_path: Path, env: Dict[str, str], way: str) -> None:
    """Started as the README says, it goes on after its shell has ended, until SIGTERM."""
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
