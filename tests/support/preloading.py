"""Handlers that import ahead, as files that a test may edit, and the processes that run them."""

import os
import textwrap
from pathlib import Path
from typing import Any, Dict, List, Optional

from core_fixtures import environment
from waiting import wait_until

from devaria.common.child_process import Sentinel
from devaria.common.timing import Timing
from devaria.execution.limits import JobLimits
from devaria.execution.outcome import JobOutcome
from devaria.execution.preloaded import PreloadedProcess
from devaria.execution.process import JobProcess
from devaria.execution.signals import Wakeup

_HANDLER = """\
import sys

WAS_THERE = "colorsys" in sys.modules

import ctypes
import faulthandler
import os
import time

import helper_of_{name}
from devaria.jobs import JobHandler


class {name}(JobHandler):
    @classmethod
    def preload(cls):
        {preload}

    def execute(self, input_params, heartbeat_callback):
        found = "colorsys" in sys.modules
        print("working")
        return {{"found": found, "answer": {answer}, "pid": os.getpid(), **helper_of_{name}.FACTS}}
"""

NO_LIMITS = JobLimits(timeout_sec=60.0, memory_bytes=float("inf"))


def option(name: str) -> str:
    """Return the value of `--handlers` for a handler of `write_handler`."""
    return f"{name}={name}_handler:{name}"


def write_handler(
    folder: Path, name: str = "ahead", preload: str = "import colorsys", answer: int = 1
) -> Path:
    """Write the module of a handler, in the place of an earlier one, and a module that it imports.

    Args:
        folder: Where.
        name: The job type, and the name of the class.
        preload: The body of its `preload`.
        answer: What its jobs return.

    Returns:
        The module's file.
    """
    helper = folder / f"helper_of_{name}.py"
    if not helper.exists():
        helper.write_text("FACTS = {}\n")
    path = folder / f"{name}_handler.py"
    body = textwrap.indent(textwrap.dedent(preload), " " * 8).lstrip()
    _replace(path, _HANDLER.format(name=name, preload=body, answer=answer))
    return path


def _replace(path: Path, text: str) -> None:
    """Write a file as editors do. Python's bytecode cache tells files apart by whole seconds."""
    new = path.with_suffix(".new")
    new.write_text(text)
    if path.exists():
        later_ns = path.stat().st_mtime_ns + 1_000_000_000
        os.utime(new, ns=(later_ns, later_ns))
    new.replace(path)


class Waiting:
    """Starts processes that import ahead, for handlers in one folder."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.environ: Dict[str, str] = environment(**variables)
        self.environ["PYTHONPATH"] += os.pathsep + str(folder)
        self._sentinel = Sentinel()
        self._made: List[JobProcess] = []

    def start(self, *names: str, **timing: Any) -> PreloadedProcess:
        """Start a process for the handlers of these names."""
        handlers = [option(name) for name in names]
        process = PreloadedProcess(
            names, Wakeup(), self.environ, handlers, self._sentinel, "r", Timing(**timing)
        )
        self._made.append(process)
        return process

    def ready(self, *names: str, **timing: Any) -> PreloadedProcess:
        """Start a process, and wait until its imports are done."""
        process = self.start(*names, **timing)
        wait_until(lambda: process.is_ready, "a process that is ready", context=process.console.end)
        return process

    def problem(self, *names: str, **timing: Any) -> Optional[str]:
        """Start a process whose imports fail; return what it says."""
        process = self.start(*names, **timing)
        return wait_until(lambda: process.problem, "a problem")

    def run(self, process: JobProcess, name: str = "ahead", **limits: float) -> JobOutcome:
        """Run a job in a process."""
        process.hand_over(name, {}, lambda *_news: None)
        bounds = JobLimits(**{**vars(NO_LIMITS), **limits})
        return process.wait(bounds, lambda: None)

    def close(self) -> None:
        """End all processes."""
        for process in self._made:
            process.close()
