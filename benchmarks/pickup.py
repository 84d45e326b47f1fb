"""Measure how soon a runner picks up a job, and what it costs the local worker that runners wait.

    python benchmarks/pickup.py [--jobs 100] [--waiting 100] [--idle-sec 60] [--runners 30]

Needs Linux. Starts the local worker, and runners as an operator would start them, side by side with
and without `--no-wait`. A runner that does not wait is measured with a poll every 2 s; a job then
waits for half of that on average, and with the 30 s that are the default for 15 times as long.

1. Submit hello_world jobs to an idle runner, one after the other: from the submission to the claim,
   by the worker's clock.
2. Let `--waiting` polls wait: the worker's CPU and memory while nothing happens, and how long a
   submission and a heartbeat take then.
3. Let `--runners` runners drain 600 jobs with `--burst`: the part of all claims that another runner
   won. Such runners do not wait, but the worker keeps them apart unless they have `--no-wait`.
"""

import argparse
import contextlib
import http.client
import json
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Tuple
from urllib.parse import urlsplit

import psutil
from runner_lab import DEVARIA, Lab, cpu_sec_of, lab, plain_environment, wait_until

from devaria.common.config import DEFAULT_POLL_INTERVAL_SEC

#: How a runner that does not wait is measured.
SHORT_POLL_SEC = 2.0
NO_WAIT = ("--no-wait", "--poll-interval", str(SHORT_POLL_SEC))
#: A job in this many is enough for it.
NO_WAIT_PART = 5
QUEUE = 600
#: How long the jobs take that many runners drain, in seconds.
JOB_SEC = (2.0, 0.0)


class Calls:
    """Requests to the worker over one connection.

    Args:
        the_lab: Where the worker runs.
        key: The variable that has the key.
        headers: Sent with each request.
    """

    def __init__(self, the_lab: Lab, key: str, **headers: str) -> None:
        parts = urlsplit(the_lab.variables["DEVARIA_WORKER_URL"])
        self._connection = http.client.HTTPConnection(str(parts.hostname), parts.port)
        self._headers = {"Authorization": f"Bearer {the_lab.variables[key]}", **headers}

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Dict[str, Any]:
        """Send one request; return the JSON object of its answer."""
        data = None if body is None else json.dumps(body)
        self._connection.request(method, path, data, {**self._headers, **headers})
        answer: Dict[str, Any] = json.loads(self._connection.getresponse().read())
        return answer

    def submit(self, job_type: str, **params: Any) -> str:
        """Submit a job; return its id."""
        body = {"job_type": job_type, "input_params": params}
        return str(self("POST", "/api/jobs/submit", body)["job_id"])

    def register(self, job_type: str) -> str:
        """Register a runner; return its id."""
        body = {"name": "bench", "capabilities": [job_type]}
        return str(self("POST", "/api/runner/register", body)["runner_id"])


@contextlib.contextmanager
def runners(the_lab: Lab, number: int, *options: str) -> Iterator[List[Path]]:
    """Run runners; yield their logs once all of them poll."""
    logs = [the_lab.folder / f"runner-{time.monotonic_ns()}-{nth}" for nth in range(number)]
    command = [*DEVARIA.command, "--types", "hello_world", *options]
    processes = []
    try:
        for folder in logs:
            folder.mkdir()
            env = {**plain_environment(), **the_lab.variables}
            with (folder / "output").open("wb") as output:
                process = psutil.Popen(command, cwd=folder, env=env, stdout=output, stderr=output)
            processes.append(process)
        paths = [folder / "output" for folder in logs]
        wait_until(lambda: all("Polling" in path.read_text() for path in paths), "a runner")
        yield paths
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(60)


def claim_delays(the_lab: Lab, jobs: int, *options: str) -> List[float]:
    """Return how long jobs wait for an idle runner, each in milliseconds."""
    submitter, anyone = Calls(the_lab, "DEVARIA_SUBMIT_API_KEY"), Calls(the_lab, "FIGPACK_API_KEY")
    delays = []
    with runners(the_lab, 1, *options):
        for nth in range(jobs + 1):
            time.sleep(0.1 + SHORT_POLL_SEC * (nth % 7) / 7)  # at no fixed time between two polls
            job_id = submitter.submit("hello_world", name=f"{options} {nth}", processing_time=0)
            path = f"/api/admin/jobs/{job_id}"
            wait_until(lambda: anyone("GET", path)["status"] == "completed", "a job")  # noqa: B023
            job = anyone("GET", path)
            delays.append(float(job["claimed_at"] - job["created_at"]))
    return delays[1:]  # for its first job, a runner loads some modules


class Cost(NamedTuple):
    """What it costs a worker that polls wait.

    Args:
        cpu_percent: Of one core.
        megabytes: The worker's resident memory.
        threads: The worker's threads.
        submits_ms: How long submissions took.
        heartbeats_ms: How long heartbeats took.
    """

    cpu_percent: float
    megabytes: float
    threads: int
    submits_ms: List[float]
    heartbeats_ms: List[float]


def cost_of_waiting(the_lab: Lab, waiting: int, idle_sec: float) -> Cost:
    """Let polls wait, and measure the worker."""
    process = psutil.Process(the_lab.worker_pid)
    over = threading.Event()
    threads = [threading.Thread(target=_wait, args=(the_lab, over)) for _ in range(waiting)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(2)  # they have registered, and wait
        cpu_sec = cpu_sec_of(process.pid)
        time.sleep(idle_sec)
        percent = 100 * (cpu_sec_of(process.pid) - cpu_sec) / idle_sec
        submits, heartbeats = _latencies(the_lab)
        memory = process.memory_info().rss / 1e6
        return Cost(percent, memory, process.num_threads(), submits, heartbeats)
    finally:
        over.set()
        submitter = Calls(the_lab, "DEVARIA_SUBMIT_API_KEY")
        for nth in range(waiting):
            submitter.submit("waited for", n=nth)
        for thread in threads:
            thread.join()


def _wait(the_lab: Lab, over: threading.Event) -> None:
    """Poll as a runner does that waits."""
    calls = Calls(the_lab, "DEVARIA_RUNNER_API_KEY")
    runner_id = {"X-Runner-ID": calls.register("waited for")}
    while not over.is_set():
        path = "/api/runner/jobs/available?types%5B%5D=waited%20for"
        calls("GET", path, None, Prefer="wait=25", **runner_id)


def _latencies(the_lab: Lab) -> Tuple[List[float], List[float]]:
    """Return how long 100 submissions and 100 heartbeats take, in milliseconds."""
    submitter = Calls(the_lab, "DEVARIA_SUBMIT_API_KEY")
    calls = Calls(the_lab, "DEVARIA_RUNNER_API_KEY")
    runner_id = {"X-Runner-ID": calls.register("other")}
    submits, heartbeats = [], []
    beat = {"progress_current": 1, "progress_total": 2, "console_output": "working\n"}
    for nth in range(100):
        started = time.perf_counter()
        job_id = submitter.submit("other", n=nth)
        submits.append(1000 * (time.perf_counter() - started))
        calls("POST", f"/api/runner/jobs/{job_id}/claim", {}, **runner_id)
        started = time.perf_counter()
        answer = calls("POST", f"/api/runner/jobs/{job_id}/heartbeat", beat, **runner_id)
        heartbeats.append(1000 * (time.perf_counter() - started))
        assert answer["success"]
        time.sleep(0.02)
    return submits, heartbeats


def lost_claims(the_lab: Lab, number: int, job_sec: float, *options: str) -> Tuple[float, float]:
    """Let runners drain the queue; return the lost claims in percent, and how long it took."""
    the_lab.submit(QUEUE, processing_time=job_sec)
    started = time.monotonic()
    with runners(the_lab, number, "--burst", "-v", *options) as logs:

        def in_logs(text: str) -> int:
            return sum(path.read_text().count(text) for path in logs)

        wait_until(lambda: in_logs("reported as completed") >= QUEUE, "the queue")
        lost = in_logs("is another runner's")
        return 100 * lost / (lost + QUEUE), time.monotonic() - started


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=100, help="jobs for an idle runner")
    parser.add_argument("--waiting", type=int, default=100, help="polls that wait")
    parser.add_argument("--idle-sec", type=float, default=60, help="how long to measure waiting")
    parser.add_argument("--runners", type=int, default=30, help="runners that drain a queue")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        with lab(Path(folder), "--no-rate-limit") as the_lab:
            _print_delays(the_lab, options.jobs)
            _print_cost(cost_of_waiting(the_lab, options.waiting, options.idle_sec), options)
        print("\n| claims lost to another runner | it waits | `--no-wait` |\n|---|--:|--:|")
        for job_sec in JOB_SEC:
            cells = [f"{options.runners} runners, {QUEUE} jobs of {job_sec:g} s"]
            for how in ((), ("--no-wait",)):
                with tempfile.TemporaryDirectory(dir=folder) as place, lab(Path(place)) as the_lab:
                    percent, seconds = lost_claims(the_lab, options.runners, job_sec, *how)
                cells.append(f"{percent:.1f} % ({seconds:.0f} s)")
            print(f"| {' | '.join(cells)} |", flush=True)


def _print_delays(the_lab: Lab, jobs: int) -> None:
    waits = claim_delays(the_lab, jobs)
    polls = claim_delays(the_lab, max(jobs // NO_WAIT_PART, 1), *NO_WAIT)
    times = DEFAULT_POLL_INTERVAL_SEC / SHORT_POLL_SEC
    print("| submit → claimed | median | worst |\n|---|--:|--:|")
    print(f"| it waits | {statistics.median(waits):.0f} ms | {max(waits):.0f} ms |")
    median, worst = statistics.median(polls) / 1000, max(polls) / 1000
    print(f"| `--no-wait`, a poll every {SHORT_POLL_SEC:g} s | {median:.1f} s | {worst:.1f} s |")
    print(
        f"| `--no-wait`, every {DEFAULT_POLL_INTERVAL_SEC:g} s: {times:g} times that "
        f"| {times * median:.0f} s | {times * worst:.0f} s |",
        flush=True,
    )


def _print_cost(cost: Cost, options: argparse.Namespace) -> None:
    print(f"\n| {options.waiting} polls wait at one worker | |\n|---|--:|")
    print(f"| CPU of the worker | {cost.cpu_percent:.2f} % |")
    print(f"| its memory, resident | {cost.megabytes:.0f} MB |")
    print(f"| its threads | {cost.threads} |")
    for what, times in (("submission", cost.submits_ms), ("heartbeat", cost.heartbeats_ms)):
        median, worst = statistics.median(times), max(times)
        print(f"| a {what}, median and worst of {len(times)} | {median:.1f} ms, {worst:.0f} ms |")


if __name__ == "__main__":
    main()
