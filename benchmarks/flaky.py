"""Measure how a runner gets on with a worker of which a part of all answers is bad.

    python benchmarks/flaky.py [--jobs 60] [--rates 0.25 0.4] [--seed 1]

Starts the local worker behind the proxy of `tests/faults/`, and one runner with its usual times.
The jobs take from 0 to 1 s. An answer is bad in one of these ways: the connection breaks before or
after the worker has acted, the answer is cut off, 502, 520 or 403 with a page, 429, 500. Printed is
how long the jobs take from the start of the runner to the last report.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

for room in ("faults", "support"):
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / room))

import bad_answers  # noqa: E402 - it lies beside the tests
import fault_proxy  # noqa: E402
from lab import Lab  # noqa: E402
from waiting import wait_until  # noqa: E402

PAGE = "<html>not now</html>"
FAULTS = (
    fault_proxy.cut_before,
    fault_proxy.cut_after,
    bad_answers.truncated,
    *(fault_proxy.answered(status, PAGE, "text/html") for status in (502, 520, 403)),
    fault_proxy.rate_limited(1.0),
    fault_proxy.server_error,
    fault_proxy.acted_but(fault_proxy.server_error),
)
BOUND_SEC = 300.0


def seconds_for(jobs: int, rate: float, seed: int) -> float:
    """Return how long a runner takes for so many jobs at a rate of bad answers."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder, Lab(Path(folder)) as lab:
        ids = [lab.submit("naps", seconds=draw.random()) for _ in range(jobs)]
        lab.proxy.on(fault_proxy.ANY, fault_proxy.at_rate(rate, FAULTS, seed))
        started = time.monotonic()
        runner = lab.runner()
        for job_id in ids:
            # From the last report on, nothing is left in the journal.
            lab.ended(job_id, BOUND_SEC)
        wait_until(lambda: not lab.journal(), "the last report", BOUND_SEC)
        elapsed_sec = time.monotonic() - started
        assert all(lab.job(job_id).status == "completed" for job_id in ids), runner.output()
        lab.proxy.lift_all()
        runner.end()
    return elapsed_sec


def main() -> None:
    """Measure, and print a line for each rate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=60)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.0, 0.25, 0.4])
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for rate in options.rates:
        elapsed_sec = seconds_for(options.jobs, rate, options.seed)
        print(f"{rate:4.0%} bad answers: {options.jobs} jobs in {elapsed_sec:.0f} s", flush=True)


if __name__ == "__main__":
    main()
