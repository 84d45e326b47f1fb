"""Measure how soon a runner claims a job that NotifyRelay announces.

    python benchmarks/push.py [--jobs 20] [--delay-ms 50]

A local worker stands for the hosted one: the runner polls it once an hour, without waiting polls.
Beside it is the tests' own NotifyRelay server. Proxies on loopback delay what the runner sends and
gets, of both, in each direction. The submission is delayed once. When the worker has the job, the
script publishes it, as the hosted worker does.

A job is submitted every few seconds, so that the runner is idle. The time is that from the
submission to the claim's arrival at the worker. At least it is five delays: the submission, the
message, the poll there and back, the claim.
"""

import argparse
import contextlib
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import List

from runner_lab import DEVARIA, Lab, delayed, lab, plain_environment

from processes import running  # isort: skip - runner_lab makes the tests' folder known
from relay_server import RelayServer  # isort: skip

#: Longer than a server keeps an idle connection, in seconds.
_PAUSE_SEC = 6.0
_LOOK_SEC = 0.001


def main(jobs: int, delay_ms: float) -> None:
    """Measure, and print the table."""
    with contextlib.ExitStack() as stack:
        the_lab = stack.enter_context(lab(Path(stack.enter_context(TemporaryDirectory()))))
        relay = stack.enter_context(RelayServer())
        seconds = sorted(claim_delays(the_lab, relay, jobs, delay_ms))
    print(f"submit → claimed by push, {delay_ms:g} ms each way, {jobs} jobs")
    print(f"median {statistics.median(seconds):.3f} s (target 0.5 s)")
    print(f"{seconds[0]:.3f} to {seconds[-1]:.3f} s")


def claim_delays(the_lab: Lab, relay: RelayServer, jobs: int, delay_ms: float) -> List[float]:
    """Return the time from submission to claim of each job, in seconds."""
    place = the_lab.folder / "pushed"
    place.mkdir()
    command = [*DEVARIA.command, "--no-wait", "--poll-interval", "3600"]
    url = the_lab.variables["DEVARIA_WORKER_URL"]
    with delayed(url, delay_ms) as worker_url, delayed(relay.url, delay_ms) as relay_url:
        variables = {**the_lab.variables, **relay.environ}
        variables.update(DEVARIA_WORKER_URL=worker_url, NOTIFY_RELAY_BASE_URL=relay_url)
        env = {**plain_environment(), **variables}
        with running(command, place, env, place / "output"):
            seconds = []
            for nth in range(jobs + 1):
                relay.wait_for_poll()
                time.sleep(_PAUSE_SEC)
                seconds.append(delay_ms / 1000 + claim_delay(the_lab, relay, f"pushed {nth}"))
    return seconds[1:]  # for its first job, a runner loads some modules


def claim_delay(the_lab: Lab, relay: RelayServer, name: str) -> float:
    """Submit a job where the worker keeps it, publish it, and wait for its claim."""
    params = {"name": name, "processing_time": 0}
    started = time.monotonic()
    the_lab.store.submit("hello_world", params)
    relay.new_job(job_type="hello_world")
    while (the_lab.store.find("hello_world", params) or {})["status"] == "pending":
        time.sleep(_LOOK_SEC)
    return time.monotonic() - started


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--delay-ms", type=float, default=50.0)
    options = parser.parse_args()
    main(options.jobs, options.delay_ms)
