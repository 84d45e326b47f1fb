"""The papers are complete, and their parts fit together and to the code."""

import re
from pathlib import Path
from typing import Dict, Set

import click
import pytest
from papers import (
    DOCS,
    PAPERS,
    README,
    ROOT,
    anchors,
    commands,
    fenced,
    links,
    name_of,
    text_of_paper,
)

import devaria
from devaria.cli import main

PACKAGE = Path(devaria.__file__).parent

MAX_README_LINES = 250

#: Where each block of shell commands is run: a file, and a text in it.
RUN_IN: Dict[str, str] = {
    'pip install ".[all]" && devaria demo': ".ci/run: devaria demo",
    'pip install -e ".[dev]" && pytest': ".ci/run: && pytest",
    'pip install -e ".[dev]" && pytest\nruff check && ruff format --check && mypy\n'
    "python -m build": ".ci/run: python -m build",
    'pip install ".[figpack,video]"\nexport DEVARIA_RUNNER_API_KEY=<your key>\n'
    "export FIGPACK_API_KEY=<your key>\ndevaria runner": "test_commands.py: def runner_log",
    "nohup devaria runner > /dev/null 2>&1 &": "test_commands.py: def test_runner_left_running",
    "screen -dmS devaria devaria runner": "test_commands.py: def test_runner_left_running",
    "sbatch --array=1-20 --wrap \"devaria runner --burst --dir 'runners/{host}-{pid}'\"": (
        "test_slurm.py: devaria runner --burst --dir 'runners/{host}-{pid}'"
    ),
    "devaria submit hello_world -p name=Alice -p processing_time=3 --wait": (
        "test_commands.py: def test_hello_world"
    ),
    "devaria submit figpack_nwb_raster_plot -p nwb_url=https://example.org/session.nwb"
    " -p units_path=/units --wait": "test_commands.py: def test_figures",
    "devaria submit figpack_nwb_pose_estimation -p nwb_url=https://example.org/session.nwb"
    " -p path=/processing/behavior/PoseEstimation --wait": "test_commands.py: def test_figures",
    "devaria submit figpack_nwb_video_preview -p nwb_url=https://example.org/session.nwb"
    " -p image_series_path=/acquisition/TwoPhotonSeries --wait": (
        "test_commands.py: def test_figures"
    ),
    'pip install ".[worker]"\ndevaria worker': "test_commands.py: def env",
    "devaria submit hello_world -p name=Alice -p processing_time=1\ndevaria runner --burst\n"
    "devaria submit hello_world -p name=Alice -p processing_time=1 --wait": (
        "test_commands.py: def test_a_job_from_end_to_end"
    ),
    'devaria run count_words --handlers count_words:CountWords -p text="to be or not to be"\n'
    "devaria runner --handlers count_words:CountWords --types count_words": (
        "test_readme.py: def test_the_handler"
    ),
    "devaria run count_words --handlers count_words:CountWords -p url=https://example.org": (
        "test_commands.py: def test_the_handler"
    ),
    "devaria runner --handlers count_words:CountWords --types count_words": (
        "test_commands.py: def test_the_handler"
    ),
    'eval "$(_DEVARIA_COMPLETE=bash_source devaria)"': "test_commands.py: def test_completion",
}
#: Run by hand: they measure, for minutes.
BENCHES = (
    "benchmarks/raster.py",
    "benchmarks/runner.py",
    "benchmarks/pickup.py",
    "benchmarks/pose.py",
    "benchmarks/video.py",
    "benchmarks/upload.py",
    "benchmarks/job_trace.py",
)

#: The paper that explains a command's options.
EXPLAINED_IN: Dict[str, Path] = {
    "runner": README,
    "doctor": README,
    "status": DOCS / "operations.md",
    "submit": DOCS / "operations.md",
    "rerun": DOCS / "operations.md",
    "jobs": DOCS / "operations.md",
    "job": DOCS / "operations.md",
    "runners": DOCS / "operations.md",
    "run": DOCS / "handlers.md",
    "handlers": DOCS / "handlers.md",
    "worker": DOCS / "local-worker.md",
    "demo": DOCS / "local-worker.md",
}
#: What `doctor`, `handlers` and others have of other commands, and the paper that explains it.
SHARED_OPTIONS = {"--json": DOCS / "operations.md", "--params": DOCS / "operations.md"}


@pytest.fixture(params=PAPERS, ids=name_of)
def paper(request: pytest.FixtureRequest) -> Path:
    """Each paper in turn."""
    assert isinstance(request.param, Path)
    return request.param


def test_the_readme_is_short() -> None:
    """What does not fit belongs to docs/."""
    assert len(text_of_paper(README).splitlines()) <= MAX_README_LINES


@pytest.mark.parametrize(
    "line", ['pip install ".[all]" && devaria demo', 'pip install -e ".[dev]" && pytest']
)
def test_the_two_commands_stand_in_the_readme(line: str) -> None:
    """.ci/run types them from there."""
    assert line in fenced(README, "bash")


def test_every_block_of_commands_is_run_somewhere() -> None:
    """A new block must be run by a test or by .ci/run, and the list names none that is gone."""
    found = {
        text: papers
        for text, papers in commands().items()
        if not any(f"python {bench}" in text for bench in BENCHES)
    }
    not_run = {text: papers for text, papers in found.items() if text not in RUN_IN}
    assert not not_run
    assert set(RUN_IN) <= set(found)


@pytest.mark.parametrize("where", sorted(set(RUN_IN.values())))
def test_what_runs_a_block_is_there(where: str) -> None:
    """The list of `RUN_IN` is true."""
    file, _, text = where.partition(": ")
    path = ROOT / file if file.startswith(".ci") else Path(__file__).with_name(file)
    assert text in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("bench", BENCHES)
def test_every_bench_is_there(bench: str) -> None:
    """Those that are too long to be run here."""
    assert (ROOT / bench).is_file()


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_and_option_is_explained(name: str) -> None:
    """What --help offers, the papers explain, in the place that a reader looks at."""
    command = main.commands[name]
    text = text_of_paper(EXPLAINED_IN[name])
    assert f"`devaria {name}" in text_of_paper(README)
    assert f"devaria {name}" in text
    for option in command.params:
        if isinstance(option, click.Option):
            longest = max(option.opts, key=len)
            where = text_of_paper(SHARED_OPTIONS[longest]) if longest in SHARED_OPTIONS else text
            assert re.search(rf"[`\[ ]{re.escape(longest)}\b", where), f"{longest} of {name}"
            assert not option.envvar or any(
                str(option.envvar) in text_of_paper(each) for each in (README, EXPLAINED_IN[name])
            )


def test_every_help_ends_in_two_examples_that_parse() -> None:
    """Examples show a real use: each parses as a command line."""
    for command in (main, *main.commands.values()):
        lines = (command.epilog or "").splitlines()
        examples = [line.split() for line in lines if line.startswith("  devaria")]
        assert len(examples) == 2, command.name
        for _, name, *_rest in examples:
            assert name in main.commands


def test_every_link_leads_somewhere(paper: Path) -> None:
    """Relative links name files that are there, and their anchors headings in them."""
    for link in links(paper):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = (paper.parent / path).resolve() if path else paper
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_paper_can_be_reached() -> None:
    """From the README, by links."""
    reached: Set[Path] = set()
    left = {README}
    while left:
        paper = left.pop()
        reached.add(paper)
        targets = {(paper.parent / link.partition("#")[0]).resolve() for link in links(paper)}
        left |= {target for target in targets if target.suffix == ".md"} - reached
    assert set(PAPERS) <= reached


def test_every_path_that_is_named_exists(paper: Path) -> None:
    """Modules, tests and benches move; the papers move with them."""
    for path in re.findall(r"`((?:devaria|tests|benchmarks)/[\w./-]*)`", text_of_paper(paper)):
        inside = path.partition("/")[2]
        there = PACKAGE / inside if path.startswith("devaria/") else ROOT / path
        assert path == "devaria/jobs/NAME.py" or there.exists(), path


def test_every_room_and_every_module_of_a_small_room_stands_in_the_architecture() -> None:
    """A new module of these rooms gets a line in their tables."""
    text = text_of_paper(DOCS / "architecture.md")
    rooms = [each for each in PACKAGE.iterdir() if each.is_dir() and each.name != "__pycache__"]
    for room in rooms:
        assert f"| `{room.name}` |" in text
    for name in ("runner", "execution", "client", "common"):
        for module in (PACKAGE / name).glob("[!_]*.py"):
            assert f"`devaria/{name}/{module.name}`" in text, module


def test_cells_of_tables_are_short(paper: Path) -> None:
    """A cell is a sentence or two."""
    for line in text_of_paper(paper).splitlines():
        if line.startswith("|"):
            for cell in re.split(r"(?<!\\)\|", line):
                assert len(cell) <= 220, cell
