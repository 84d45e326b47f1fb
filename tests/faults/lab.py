"""A worker, a fault proxy before it, and runner processes behind that."""

import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import misbehaviour
from fault_proxy import FaultProxy
from waiting import wait_until

from devaria.client.client import WorkerClient
from devaria.common.errors import NotFound
from devaria.common.folders import remove_folder
from devaria.worker.server import LocalWorker

HERE = Path(__file__).parent

#: Heartbeats at a pace that a test can wait for.
QUICK_HEARTBEATS = {
    "heartbeat_sec": 0.3,
    "heartbeat_gap_sec": 0.1,
}

#: Waits after failures, likewise.
QUICK_TRIES = {"backoff_base_sec": 0.1}


class Runner:
    """One `devaria runner` process, as an operator would start it.

    Args:
        lab: Where it works.
        options: Beside worker URL, directory and handlers.
        timing: Fields of `Timing`, for the launcher; with any of its wishes it starts through that.
        settings: Further fields of `RunnerSettings`, likewise.
        crash_at: A crash point and a count, likewise.
        environ: Added to the environment.
        directory: Its directory; the lab's one by default.
        before: Put before the command, such as `nohup`.
        popen: Further options of `subprocess.Popen`.
    """

    def __init__(
        self,
        lab,
        *options,
        timing=None,
        settings=None,
        crash_at=None,
        environ=None,
        directory=None,
        before=(),
        worker_url=None,
        **popen,
    ):
        self.directory = directory or lab.directory
        self.output_path = lab.tmp_path / f"output-{next(lab.numbers)}"
        wishes = {}
        if timing or settings:
            wishes["FAULTS_SETTINGS"] = json.dumps({**(settings or {}), "timing": timing or {}})
        if crash_at:
            wishes["FAULTS_CRASH_AT"] = crash_at
        wishes.update(environ or {})
        launched = any(name.startswith("FAULTS_") for name in wishes)
        start = [str(HERE / "faults_launcher.py")] if launched else ["-m", "devaria"]
        command = [*before, sys.executable, *start, "runner", "--dir", str(self.directory)]
        command += ["--worker-url", worker_url or lab.proxy.url, "--poll-interval", "0.2"]
        command += ["--handlers", misbehaviour.OPTION, *options]
        with self.output_path.open("wb") as output:
            popen = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output, **popen}
            self.process = subprocess.Popen(
                command, env={**lab.environ, **wishes}, start_new_session=True, **popen
            )

    @property
    def pid(self):
        """Its process id."""
        return self.process.pid

    @property
    def is_alive(self):
        """Whether it runs."""
        return self.process.poll() is None

    def output(self):
        """What it printed so far, on both streams."""
        return self.output_path.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, text, bound_sec=15.0):
        """Wait until it has logged a text."""
        wait_until(lambda: text in self.output(), f"{text!r} in", bound_sec, self.output)

    def signal(self, number):
        """Send it a signal."""
        self.process.send_signal(number)

    def kill(self):
        """Kill it with SIGKILL, as a power cut would."""
        if self.is_alive:
            self.process.kill()
        self.process.wait(10)

    def wait(self, bound_sec=15.0):
        """Wait for its end; return its exit code."""
        try:
            return self.process.wait(bound_sec)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {bound_sec} s:\n{self.output()}") from None

    def end(self):
        """End it gracefully; check that it agrees that all went well."""
        self.signal(signal.SIGTERM)
        assert self.wait() == 0, self.output()
        self.check_sanity()

    def check_sanity(self):
        """Nothing in its output was unexpected."""
        assert "\nTraceback" not in f"\n{self.output()}"  # those of jobs are indented
        assert "unexpected error" not in self.output()


class Lab:
    """One worker, one proxy, and any number of runners that end with it."""

    def __init__(self, tmp_path):
        self.tmp_path = tmp_path
        self.directory = tmp_path / "runner"
        self.numbers = itertools.count()
        self.worker = LocalWorker(tmp_path / "worker", port=0, rate_limit=False)
        self.runners = []

    def __enter__(self):
        self.worker.start()
        self.proxy = FaultProxy(self.worker.url).__enter__()
        self.client = WorkerClient(self.worker.url, self.worker.keys.submit)
        names = ("PATH", "HOME", "LANG", "VIRTUAL_ENV")
        self.environ = {name: os.environ[name] for name in names if name in os.environ}
        path = [str(HERE), os.environ.get("PYTHONPATH", "")]
        self.environ["PYTHONPATH"] = os.pathsep.join(filter(None, path))
        # What a killed runner leaves goes with the test's files.
        self.environ["TMPDIR"] = str(self.tmp_path)
        self.environ["DEVARIA_RUNNER_API_KEY"] = self.worker.keys.runner
        return self

    def __exit__(self, *_):
        for runner in self.runners:
            runner.kill()
        for scratch in self.tmp_path.glob("devaria-job-*"):
            remove_folder(scratch)  # pytest cannot remove what is nested deeply
        self.client.close()
        self.proxy.__exit__()
        self.worker.stop()

    @property
    def waiting(self):
        """How many requests the worker holds."""
        waits = self.worker._database.news.waits
        with waits.lock:
            return len(waits._line)

    def runner(self, *options, **settings):
        """Start a runner."""
        runner = Runner(self, *options, **settings)
        self.runners.append(runner)
        return runner

    def submit(self, job_type, **params):
        """Submit a job that is like no other; return its id."""
        return self.client.submit(job_type, {"n": next(self.numbers), **params}).job_id

    def submit_waiting(self):
        """Submit a job that runs until it is let go; return it."""
        return WaitingJob(self)

    def job(self, job_id):
        """Look at a job, past the proxy; None where it is gone."""
        try:
            return self.client.job_detail(job_id)
        except NotFound:
            return None

    def ended(self, job_id, bound_sec=15.0):
        """Wait for a job's end; return its state."""
        what = f"the end of job {job_id}"
        wait_until(lambda: self.job(job_id).is_final, what, bound_sec, self.outputs)
        return self.job(job_id)

    def outputs(self):
        """What all runners printed, for a failed test's text."""
        return "\n".join(runner.output() for runner in self.runners)

    def journal(self):
        """Read the journal's entries from outside."""
        paths = (self.directory / ".devaria_jobs").glob("*/entry.json")
        return [json.loads(path.read_text(encoding="ascii")) for path in paths]

    def runner_client(self):
        """Make a client with the runner key."""
        return WorkerClient(self.worker.url, self.worker.keys.runner)

    def runner_id(self):
        """Read the id of the runner in the lab's directory."""
        return json.loads((self.directory / ".devaria_runner.json").read_text())["runner_id"]


class WaitingJob:
    """A job of type `waits` that the test lets go."""

    def __init__(self, lab):
        self._lab = lab
        number = next(lab.numbers)
        self._go = lab.tmp_path / f"go-{number}"
        self._starts = lab.tmp_path / f"starts-{number}"
        self.job_id = lab.submit("waits", go=str(self._go), starts=str(self._starts))

    @property
    def pids(self):
        """The processes in which it was started, the last one last."""
        return [int(line) for line in self._starts.read_text().split()] if self.starts_exist else []

    @property
    def starts_exist(self):
        """Whether it was started at all."""
        return self._starts.exists()

    def wait_for_start(self, nth=1):
        """Wait until it was started so many times."""
        wait_until(lambda: len(self.pids) >= nth, f"start {nth}", context=self._lab.outputs)

    def let_go(self):
        """Let it end."""
        self._go.touch()


def is_running(pid):
    """Tell whether a process is there, and no zombie."""
    return state_of(pid) not in ("", "Z")


def state_of(pid):
    """Return a process's state, as `ps` shows it, such as T for stopped; empty if it is gone."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return status.rpartition(")")[2].split()[0]
