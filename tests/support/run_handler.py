"""Run one figure job in a process of its own: figpack reads its settings when it is imported.

As a script, it takes the handler as `module:Class` and the job's parameters as JSON, and prints the
outcome as its last line.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List


@dataclass(frozen=True)
class Outcome:
    """How one job ended: its result or its error ("<type>: <text>"), and the files it left."""

    result: Dict[str, Any]
    error: str
    progress: List[Any]
    console: str
    left_behind: List[str]


RASTER = "devaria.jobs.figpack_nwb_raster_plot:FigpackNwbRasterPlotHandler"


def run_handler(
    input_params: Dict[str, Any], *, api_url: str, api_key: str, handler: str = RASTER
) -> Outcome:
    """Run a job that uploads to the figure store at ``api_url``."""
    env = {**os.environ, "FIGPACK_API_BASE_URL": api_url, "FIGPACK_API_KEY": api_key}
    env["DEVARIA_ALLOW_HOSTS"] = "127.0.0.1"
    env["PYTHONPATH"] = os.pathsep.join(sys.path)
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run(
            [sys.executable, __file__, handler, json.dumps(input_params)],
            env={**env, "TMPDIR": scratch},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        left_behind = [each.name for each in Path(scratch).iterdir()]
    console, _, last = done.stdout.rstrip("\n").rpartition("\n")
    assert done.returncode == 0, done.stdout
    return Outcome(console=console, left_behind=left_behind, **json.loads(last))


def main() -> None:
    """Run the job that the command line gives."""
    module, _, name = sys.argv[1].partition(":")
    handler = getattr(importlib.import_module(module), name)()
    told: List[Any] = []
    outcome = {"result": {}, "error": "", "progress": told}

    def heartbeat(progress_current=None, progress_total=None, console_output=None):
        assert console_output is None
        told.append([progress_current, progress_total])

    try:
        with tempfile.TemporaryDirectory() as run_dir:
            outcome["result"] = handler.run(json.loads(sys.argv[2]), heartbeat, Path(run_dir))
    except Exception as error:  # noqa: BLE001,RUF100 - any error is an outcome
        outcome["error"] = f"{type(error).__name__}: {error}"
    print(json.dumps(outcome))


if __name__ == "__main__":
    main()
