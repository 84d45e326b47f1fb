"""Run the `devaria` command as users do, in its own process."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Dict, Iterator, List

from waiting import BOUND_SEC

#: The folder of this Python's `devaria` command.
BIN = str(Path(sys.executable).parent)


def environment(**settings: str) -> Dict[str, str]:
    """Return the environment of a shell in which devaria is installed."""
    return {**os.environ, "PATH": BIN + os.pathsep + os.environ["PATH"], **settings}


#: What Python runs first: a finder of modules that does not find a package.
_HIDES = """
import sys
from importlib.machinery import PathFinder


class Hiding(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] == {package!r}:
            return None
        return PathFinder.find_spec(name, path, target)


sys.meta_path[sys.meta_path.index(PathFinder)] = Hiding
"""


def without(package: str, folder: Path) -> Dict[str, str]:
    """Return settings with which Python does not find a package; makes a folder for them."""
    hiding = folder / f"without-{package}"
    hiding.mkdir()
    (hiding / "sitecustomize.py").write_text(_HIDES.format(package=package), encoding="utf-8")
    return {"PYTHONPATH": str(hiding)}


def shell(script: str, folder: Path, env: Dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run lines of shell; the first that fails ends the run."""
    return finished(["bash", "-e", "-c", script], folder, env)


def finished(
    command: List[str], folder: Path, env: Dict[str, str]
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, and capture its outputs."""
    return subprocess.run(
        command,
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=BOUND_SEC,
        check=False,
    )


@contextlib.contextmanager
def running(
    command: List[str], folder: Path, env: Dict[str, str], output: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a command with its output in a file; end it with SIGTERM."""
    with output.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=folder, env=env, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(BOUND_SEC)


def text_of(path: Path) -> str:
    """Return what a file contains; nothing if it does not exist yet."""
    return path.read_text(encoding="utf-8") if path.exists() else ""
