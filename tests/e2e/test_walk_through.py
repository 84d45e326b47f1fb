"""docs/first-handler.md is true: its files are saved, its commands run, in its order."""

import contextlib
import json
import re
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple

import pytest
import requests
from processes import environment, running, text_of
from terminal import as_seen, on_terminal
from waiting import wait_until

WALK_THROUGH = Path(__file__).parents[2] / "docs" / "first-handler.md"

#: Run in a fresh environment by .ci/run; here it is installed already.
INSTALL = (
    "python3 -m venv ../word-count/.venv && . ../word-count/.venv/bin/activate"
    ' && pip install ".[worker]" pytest'
)

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(r"\[\d\d:\d\d:\d\d\]")
#: Python 3.12 and later add it to an AttributeError.
_SUGGESTION = re.compile(r"\. Did you mean: .*")


class Block(NamedTuple):
    """A fenced block: its language, its text, the paragraph before it, the heading above."""

    language: str
    text: str
    before: str
    heading: str


def blocks() -> Iterator[Block]:
    """The fenced blocks of the walk-through."""
    heading, before = "", ""
    parts = re.split(r"^```(\w+)\n(.*?)^```\n", text_of(WALK_THROUGH), flags=re.M | re.S)
    for at in range(0, len(parts) - 1, 3):
        heading = (re.findall(r"^## (.*)$", parts[at], re.M) or [heading])[-1]
        before = parts[at].strip().rpartition("\n\n")[2]
        yield Block(parts[at + 1], parts[at + 2], before, heading)


class Walk:
    """Somebody who does what the walk-through says.

    Four terminals in one folder; what keeps running in another one runs beside.
    """

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        self.stack = stack
        self.env = environment(PYTHONUNBUFFERED="1", PYTHONDONTWRITEBYTECODE="1")
        self.port = "8000"
        self.seen = ""
        self.failed_id = ""
        self.dashboard = ""
        self.done: List[str] = []

    def take(self, block: Block) -> None:
        """Do what one block is for."""
        name = re.search(r"`([\w-]+\.\w+)`:$", block.before)
        if block.language in ("python", "text") and name is not None:
            (self.folder / name.group(1)).write_text(block.text, encoding="utf-8")
        elif block.language == "diff":
            self.edit(block.text)
        elif block.language == "bash":
            for line in block.text.splitlines():
                self.type_in(line, fails=bool(re.search(r"\bfails\b", block.before)))
        elif block.language == "json":
            result = self.seen[self.seen.index("{") :]
            assert json.loads(result) == json.loads(self.adapted(block.text))
        else:
            self.check_seen(block.text)

    def adapted(self, text: str) -> str:
        """Put in what differs: the port, and the id of the job that failed."""
        return re.sub(r"\bID\b", self.failed_id, text).replace(":8000", f":{self.port}")

    def type_in(self, line: str, *, fails: bool) -> None:
        """Run a command; one that is left running in another terminal goes on beside."""
        self.done.append(line)
        if line == INSTALL:
            (self.folder.parent / "word-count").mkdir()
        elif line.startswith("cd "):
            self.folder = (self.folder / line[len("cd ") :]).resolve(strict=True)
        elif line.startswith("python3 -m http.server"):
            out = self.beside(line.replace("8000", "0"), "Serving HTTP on")
            (self.port,) = re.findall(r"port (\d+)", out)
        elif line.startswith("devaria worker"):
            out = self.beside(f"{line} --port 0", "Serving on")
            self.env.update(re.findall(r"^export (\w+)=(\S+)$", out, re.M))
            (self.dashboard,) = re.findall(r"^Dashboard: (\S+)$", out, re.M)
        elif line.startswith("devaria runner"):
            self.beside(line, "Polling every")
        else:
            command = ["bash", "-c", self.adapted(line)]
            code, written = on_terminal(command, self.folder, self.env)
            self.seen = as_seen(written)
            assert code == (1 if fails else 0), f"{line}\n{self.seen}"
            if fails and "submit" in line and not self.failed_id:
                (self.failed_id,) = set(_ID.findall(self.seen))

    def beside(self, line: str, ready: str) -> str:
        """Start what goes on in another terminal; return what it has printed when it is ready."""
        output = self.folder.parent / f"terminal-{len(self.done)}"
        self.stack.enter_context(running(line.split(), self.folder, self.env, output))
        wait_until(lambda: ready in text_of(output), f"{line} prints {ready!r}")
        return text_of(output)

    def edit(self, diff: str) -> None:
        """Change the handler's file."""
        old, new = re.findall(r"^[-+](.*)$", diff, re.M)
        path = self.folder / "word_count.py"
        code = path.read_text(encoding="utf-8")
        assert code.count(f"{old}\n") == 1
        path.write_text(code.replace(f"{old}\n", f"{new}\n"), encoding="utf-8")

    def check_seen(self, text: str) -> None:
        """Hold each line that the walk-through shows against what the last command wrote."""
        seen = [_comparable(line) for line in self.seen.splitlines()]
        for line in self.adapted(text).splitlines():
            assert _comparable(line) in seen, self.seen

    def look_at_dashboard(self) -> Dict[str, str]:
        """Open the dashboard's link, and the page of its first job."""
        with requests.Session() as browser:
            opened = browser.get(self.dashboard)
            overview, base = opened.text, opened.url
            job_id = _ID.findall(overview)[0]
            job = browser.get(f"{base}/jobs/{job_id}").text
            form = browser.get(f"{base}/submit?type=word_count").text
        return {"overview": overview, "job": job, "form": form}


def _comparable(line: str) -> str:
    line = _SUGGESTION.sub("", _TIME.sub("[time]", line))
    return " ".join(line.split())


@pytest.fixture
def walk(tmp_path: Path) -> Iterator[Walk]:
    """Somebody in a checkout."""
    with contextlib.ExitStack() as stack:
        (tmp_path / "checkout").mkdir()
        yield Walk(tmp_path / "checkout", stack)


def test_the_walk_through_from_end_to_end(walk: Walk) -> None:
    """Written, tested, tried, served, submitted, seen, broken, understood, mended, rerun."""
    for block in blocks():
        if block.heading.startswith("8.") and not walk.failed_id and block.language == "diff":
            pages = walk.look_at_dashboard()
            assert "word_count" in pages["overview"]
            assert "completed" in pages["overview"]
            assert "It has 18 words" in pages["job"]
            assert "an http or https URL of a text" in pages["form"]
        walk.take(block)
    typed = " ".join(walk.done)
    for each in ("pytest", "run", "worker", "runner", "status", "submit", "jobs", "job", "rerun"):
        assert f" {each} " in f" {typed} ".replace("devaria ", " "), each
    assert re.search(r'"words": 8', walk.seen)
