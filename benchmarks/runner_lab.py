"""Set up the benchmarks of the runner: a local worker, delaying proxies, runners of two kinds."""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
from processes import running

from devaria.worker.store.database import Database
from devaria.worker.store.jobs import JobStore

_HERE = Path(__file__).parent
_PATIENCE_SEC = 300.0
_LOOK_SEC = 0.2

POLL_PATH = "/api/runner/jobs/available"

#: Runs the predecessor without its pause after each job.
_WITHOUT_PAUSE = (
    "import runpack.runner; runpack.runner.MIN_POLL_INTERVAL = 0; "
    "from runpack.cli import main; main()"
)


class Request(NamedTuple):
    """A request as `delay_proxy.py` records it; times in seconds, None without an answer."""

    sent_at: float
    method: str
    path: str
    progress: Optional[float]
    status: Optional[int]
    answered_at: Optional[float]

    @property
    def is_poll(self) -> bool:
        """Whether it asks for pending jobs."""
        return self.path.startswith(POLL_PATH)

    @property
    def is_done_report(self) -> bool:
        """Whether it reported a result and the runner has the answer."""
        answered = self.answered_at is not None and self.answered_at <= time.monotonic()
        return self.path.endswith("/complete") and self.status == 200 and answered


@dataclass
class Run:
    """The requests between a runner and its worker, from the runner's start on."""

    started_at: float
    pid: int
    cpu_sec: float = 0.0
    connections: int = 0
    requests: List[Request] = field(default_factory=list)

    @property
    def polls(self) -> List[Request]:
        """The requests for pending jobs."""
        return [each for each in self.requests if each.is_poll]

    @property
    def reports(self) -> List[Request]:
        """The results that were acknowledged."""
        return [each for each in self.requests if each.is_done_report]

    @property
    def first_poll_sec(self) -> float:
        """Seconds from the start of the process to its first poll."""
        return self.polls[0].sent_at - self.started_at

    @property
    def drained_sec(self) -> float:
        """Seconds from the start of the process to the answer to the last report."""
        return float(self.reports[-1].answered_at or 0) - self.started_at

    @property
    def per_job_ms(self) -> float:
        """Milliseconds per job, from the first poll to the answer to the last report."""
        return 1000 * (self.drained_sec - self.first_poll_sec) / len(self.reports)

    @property
    def draining(self) -> List[Request]:
        """The requests from the first poll to the last report."""
        return [
            each
            for each in self.requests
            if self.polls[0].sent_at <= each.sent_at <= self.reports[-1].sent_at
        ]


class Kind(NamedTuple):
    """A kind of runner: its command, and the environment variables for its worker."""

    command: List[str]
    url_variable: str
    key_variable: str


DEVARIA = Kind(
    [sys.executable, "-m", "devaria", "runner", "--handlers", "moments=runner_moments:Moments"],
    "DEVARIA_WORKER_URL",
    "DEVARIA_RUNNER_API_KEY",
)


def predecessor(python: str, *, pauses: bool) -> Kind:
    """Return the public predecessor as a kind of runner.

    Args:
        python: A Python that has its package.
        pauses: Whether it pauses for 6 s after each job, as its package does.
    """
    how = ["-m", "runpack.cli"] if pauses else ["-c", _WITHOUT_PAUSE]
    return Kind([python, *how, "runner"], "RUNPACK_WORKER_URL", "RUNPACK_RUNNER_API_KEY")


class Lab:
    """A running local worker with the contract's rate limits, and runners to measure.

    Args:
        folder: The folder for all files.
        exports: The variables that the worker printed.
        worker_pid: The worker's process id.
    """

    def __init__(self, folder: Path, exports: Dict[str, str], worker_pid: int) -> None:
        self.worker_pid = worker_pid
        self.folder = folder
        self._exports = exports
        database = Database(folder / "data" / "jobs.sqlite3")
        self.store = JobStore(database, lambda: int(1000 * time.time()))
        self._number = 0

    @property
    def variables(self) -> Dict[str, str]:
        """The environment variables by which a runner finds the worker."""
        return dict(self._exports)

    def submit(self, count: int, processing_time: float = 0) -> None:
        """Queue hello_world jobs that take so many seconds.

        They go into the store directly, since the route takes only 10 a minute.
        """
        for _ in range(count):
            self._number += 1
            params = {"name": f"job {self._number}", "processing_time": processing_time}
            self.store.submit("hello_world", params)

    def submit_moments(self) -> None:
        """Queue a job of `runner_moments.py`."""
        self.store.submit("moments", {})

    def moments(self) -> List[float]:
        """Return the times at which that job sent its progress; it must have ended."""
        job = self.store.find("moments", {})
        assert job is not None
        return list(json.loads(job["output_data"])["called_at"])

    @contextlib.contextmanager
    def running(self, kind: Kind, delay_ms: float = 0.0) -> Iterator[Callable[[], Run]]:
        """Run a runner in a directory of its own; yield a function that returns its run so far."""
        self._number += 1
        place = self.folder / f"runner-{self._number}"
        place.mkdir()
        with delayed(self._exports["DEVARIA_WORKER_URL"], delay_ms) as url:
            key = self._exports["DEVARIA_RUNNER_API_KEY"]
            env = {**plain_environment(), kind.url_variable: url, kind.key_variable: key}
            started_at = time.monotonic()
            with running(kind.command, place, env, place / "output") as process:
                run = Run(started_at, process.pid)

                yield lambda: _looked_at(run, url)

    def drain(self, kind: Kind, jobs: int, delay_ms: float = 0.0) -> Run:
        """Queue jobs, and let a runner run them all."""
        self.submit(jobs)
        with self.running(kind, delay_ms) as look:
            run = wait_for(look, lambda run: len(run.reports) == jobs)
            times = psutil.Process(run.pid).cpu_times()
            run.cpu_sec = sum(times[:4])  # user and system time, its own and its children's
            return run


def wait_for(look: Callable[[], Run], condition: Callable[[Run], bool]) -> Run:
    """Wait until a condition holds for a run."""
    runs: List[Run] = []

    def holds() -> bool:
        runs[:] = [look()]
        return condition(runs[0])

    wait_until(holds, "a runner")
    return runs[0]


def cpu_sec_of(pid: int) -> float:
    """Return the CPU time of a process so far, with that of threads that have ended."""
    # The id of another process's clock, as clock_getcpuclockid(3) computes it on Linux.
    return time.clock_gettime((~pid << 3) | 2)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds, at most five minutes."""
    deadline = time.monotonic() + _PATIENCE_SEC
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} hangs")
        time.sleep(_LOOK_SEC)


@contextlib.contextmanager
def lab(folder: Path, *options: str) -> Iterator[Lab]:
    """Start a local worker in a folder, with further options of its command."""
    output = folder / "worker.out"
    command = [sys.executable, "-m", "devaria", "worker", "--data", "data", "--port", "0"]
    with running([*command, *options], folder, plain_environment(), output) as process:
        wait_until(lambda: "Serving on" in output.read_text(encoding="utf-8"), "the worker")
        exports = dict(re.findall(r"export (\w+)=(\S+)", output.read_text()))
        yield Lab(folder, exports, process.pid)


@contextlib.contextmanager
def delayed(url: str, delay_ms: float) -> Iterator[str]:
    """Run a proxy that delays what goes to a URL and comes from it; yield the URL of the proxy."""
    port = url.rpartition(":")[2]
    command = [sys.executable, str(_HERE / "delay_proxy.py"), port, "--delay-ms", str(delay_ms)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="ascii") as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.kill()


def plain_environment() -> Dict[str, str]:
    """Return this environment without what concerns either runner."""
    # Bytecode is written, as for an installed package; settings of either runner are left out.
    own = ("DEVARIA_", "RUNPACK_", "NOTIFY_RELAY_", "FIGPACK_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return {**kept, "PYTHONPATH": f"{_HERE.parent}{os.pathsep}{_HERE}"}


def _looked_at(run: Run, url: str) -> Run:
    with urllib.request.urlopen(f"{url}/seen") as answer:
        seen = json.load(answer)
    run.connections = seen["connections"]
    run.requests = [Request(*each) for each in seen["requests"]]
    return run
