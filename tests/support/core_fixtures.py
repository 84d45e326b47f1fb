"""What several tests of the core share: conditions, child processes, and a scripted worker."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Dict, List, Optional

from hypothesis import settings
from scripted_server import PATIENCE_SEC, Answer, Request, ScriptedServer, as_json, ok
from waiting import wait_until

KEY = "runner-key-5f1c"
RUNNER_ID = "0b6f7f5e-0000-4000-8000-000000000001"

#: For property tests. Without a deadline, since the machine may be busy.
thorough = settings(deadline=None, max_examples=100)

_HERE = Path(__file__).parent
_REPOSITORY = _HERE.parents[1]


def environment(**variables: str) -> Dict[str, str]:
    """Return this environment without devaria's variables and proxies, and with these variables."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DEVARIA_", "FIGPACK_")) and not name.lower().endswith("_proxy")
    }
    paths = [str(_REPOSITORY), str(_HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), **variables}


def devaria(
    *arguments: str, cwd: Optional[Path] = None, **variables: str
) -> "subprocess.CompletedProcess[str]":
    """Run a `devaria` command to its end, and capture its two outputs."""
    return subprocess.run(
        [sys.executable, "-m", "devaria", *arguments],
        cwd=cwd,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


class Process:
    """A Python process under test; a ``with`` block runs it, and its output is collected."""

    def __init__(self, *arguments: str, cwd: Optional[Path] = None, **options: Any) -> None:
        variables = options.pop("variables", {})
        self._popen = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=cwd,
            env=environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            **options,
        )
        self.lines: List[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._popen.pid

    @property
    def output(self) -> str:
        """What the process has printed so far."""
        return "".join(self.lines)

    @property
    def is_running(self) -> bool:
        """Whether the process is running."""
        return self._popen.poll() is None

    def wait_for_line(self, part: str) -> str:
        """Wait until the process prints a line that contains a text; return that line."""
        return wait_until(
            lambda: next((line for line in list(self.lines) if part in line), None),
            f"a line with {part!r} in {self.lines}",
        )

    def signal(self, number: int) -> None:
        """Send the process a signal."""
        self._popen.send_signal(number)

    def wait(self) -> int:
        """Wait until the process ends; return the exit code."""
        code = self._popen.wait(PATIENCE_SEC)
        self._reader.join(PATIENCE_SEC)
        return code

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_exc: object) -> None:
        if self.is_running:
            self.signal(signal.SIGKILL)
        self._popen.wait()
        self._reader.join(PATIENCE_SEC)
        assert not self._reader.is_alive(), "something keeps the process's output open"
        assert self._popen.stdout is not None
        self._popen.stdout.close()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        self.lines.extend(self._popen.stdout)


def job(job_id: str, job_type: str = "hello_world", **params: Any) -> Dict[str, Any]:
    """Return a job as the worker lists it; by default a hello_world that takes no time."""
    params = params or {"name": "Alice", "processing_time": 0}
    return {
        "job_id": job_id,
        "job_type": job_type,
        "input_params": params,
        "created_at": 1_800_000_000_000,
    }


def script_a_worker(server: ScriptedServer, *lists: List[Dict[str, Any]]) -> None:
    """Let a scripted server answer as a worker without faults.

    Args:
        server: The server.
        lists: The lists of jobs that the polls get, one after the other, then empty lists.
    """
    by_id = {each["job_id"]: each for jobs in lists for each in jobs}
    acknowledged = ok(success=True, message="ok")
    server.on(
        "POST /api/runner/register",
        as_json({"runner_id": RUNNER_ID, "message": "Runner registered"}, 201),
    )
    server.on("GET /api/runner/verify", ok(exists=True, runner_name="runner-x", message="ok"))
    server.on("GET /api/admin/runners/*", ok(runner_id=RUNNER_ID, jobs=[]))
    server.on("GET /api/admin/jobs/*", as_json({"error": "Job not found"}, 404))
    server.on("GET /api/runner/jobs/available", *(ok(jobs=jobs) for jobs in lists), ok(jobs=[]))
    for verb in ("heartbeat", "complete", "error"):
        server.on(f"POST /api/runner/jobs/*/{verb}", acknowledged)

    def claim(request: Request) -> Answer:
        claimed = by_id.get(request.path.split("/")[-2])
        if claimed is None:
            message = "Job already claimed or not found"
            return as_json({"success": False, "message": message}, 409)
        return ok(success=True, message="ok", job=claimed)

    server.on("POST /api/runner/jobs/*/claim", claim)
