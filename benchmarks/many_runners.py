"""Simulate up to 10,000 runners at one worker: their polls, claims, races and reports.

    python benchmarks/many_runners.py [--load 0.5] [--job-sec 60] [--trip-sec 0.1] [--seed 1]

Nothing is sent and nothing waits: the clock is simulated, and all rows together take some seconds.
The runner's own `ClaimOrder` decides which job to claim, and the constants are the package's.

Jobs arrive at random. `--load` is the part of the time in which a runner works. A job takes about
`--job-sec` seconds, and a request about `--trip-sec` seconds there and back; both vary by up to
half. `--prepare-sec` is the time between the answer to a poll and a claim, in which a runner writes
its journal and starts the job's process.

The table has a row for each number of runners: the requests that the worker gets in a second, the
time from a job's arrival to its claim (median and 95th percentile), and the part of all claims that
were lost to another runner. The first minutes (`--warm-up`) do not count.
"""

import argparse
import heapq
import itertools
import random
import statistics
from collections import Counter
from typing import Dict, Generator, List, Tuple

from devaria.client.models import Job
from devaria.common import config
from devaria.common.timing import Timing
from devaria.runner import claiming, runner
from devaria.worker.store.pickup import LISTED

#: The numbers of runners; each is a row.
ROWS = (1, 10, 100, 1_000, 10_000)

#: Few runners are simulated for longer than `--minutes`, until this many jobs have arrived.
LEAST_JOBS = 2_000

_HEARTBEAT_SEC = Timing().heartbeat_sec

#: The steps of a runner: each yields how long it takes, in seconds.
Life = Generator[float, None, None]


class Simulation:
    """Simulate some runners, a queue and a clock.

    Args:
        runners: The number of runners.
        options: The parsed command line.
    """

    def __init__(self, runners: int, options: argparse.Namespace) -> None:
        self.now = 0.0
        self.requests: Counter[str] = Counter()
        self.delays: List[float] = []
        self._runners = runners
        self._options = options
        self._jobs_per_sec = options.load * runners / options.job_sec
        self._random = random.Random(options.seed)
        self._pending: Dict[str, Tuple[Job, float]] = {}
        self._counts_from = 60.0 * options.warm_up
        self._ends_at = self._counts_from + max(
            60.0 * options.minutes, LEAST_JOBS / self._jobs_per_sec
        )
        self._numbers = itertools.count()
        self._due: List[Tuple[float, int, Life]] = []
        self._plan(0.0, self._arrivals())
        for _ in range(runners):
            self._plan(self._random.uniform(0, config.DEFAULT_POLL_INTERVAL_SEC), self._runner())

    def run(self) -> None:
        """Run to the end of the simulated time."""
        while self._due[0][0] < self._ends_at:
            self.now, _, life = heapq.heappop(self._due)
            self._plan(next(life), life)

    def row(self) -> str:
        """Return the row of the table."""
        seconds = self._ends_at - self._counts_from
        claims = self.requests["claim"] + self.requests["lost claim"]
        cuts = statistics.quantiles(self.delays, n=20)
        wasted = 100 * self.requests["lost claim"] / claims
        per_sec = sum(self.requests.values()) / seconds
        digits = 0 if per_sec >= 100 else 2
        return (
            f"| {self._runners:,} | {self._jobs_per_sec:.3g} | {per_sec:,.{digits}f} "
            f"| {cuts[9]:.2f} s | {cuts[18]:.2f} s | {wasted:.0f} % |"
        )

    def _plan(self, seconds: float, life: Life) -> None:
        # The number keeps steps of the same time in order.
        heapq.heappush(self._due, (self.now + seconds, next(self._numbers), life))

    def _about(self, seconds: float) -> float:
        # Random, since with equal times, runners that race once would race for ever.
        return seconds * self._random.uniform(0.5, 1.5)

    def _one_way_sec(self) -> float:
        return self._about(self._options.trip_sec / 2)

    def _count(self, request: str) -> None:
        if self.now >= self._counts_from:
            self.requests[request] += 1

    def _arrivals(self) -> Life:
        for number in itertools.count():
            yield self._random.expovariate(self._jobs_per_sec)
            job_id = str(number)
            self._pending[job_id] = Job(job_id, "simulated", {}), self.now

    def _runner(self) -> Life:
        """Do what the loops of `JobRunner` and `Claimer` do."""
        order = claiming.ClaimOrder(lambda: self.now, self._random.randrange)
        fruitless_lists = 0
        while True:
            yield self._one_way_sec()
            self._count("poll")
            jobs = [job for job, _ in itertools.islice(self._pending.values(), LISTED)]
            yield self._one_way_sec()
            order.begin(jobs)
            took_any = False
            job = order.next()
            while job is not None:
                yield self._options.prepare_sec + self._one_way_sec()
                is_mine = self._claim(job)
                yield self._one_way_sec()
                if is_mine:
                    took_any = True
                    order.won()
                    yield from self._work()
                else:
                    order.lost()
                job = order.next()
            fruitless_lists = 0 if took_any else fruitless_lists + 1
            is_race = bool(jobs) and fruitless_lists < runner._MAX_FRUITLESS_LISTS
            if not took_any and not is_race:
                jitter = 1 + runner._POLL_JITTER * self._random.uniform(-1, 1)
                yield config.DEFAULT_POLL_INTERVAL_SEC * jitter

    def _claim(self, job: Job) -> bool:
        found = self._pending.pop(job.job_id, None)
        self._count("lost claim" if found is None else "claim")
        if found is not None and self.now >= self._counts_from:
            self.delays.append(self.now - found[1])
        return found is not None

    def _work(self) -> Life:
        left_sec = self._about(self._options.job_sec)
        while left_sec > _HEARTBEAT_SEC:
            yield _HEARTBEAT_SEC
            self._count("heartbeat")
            left_sec -= _HEARTBEAT_SEC
        yield left_sec + self._one_way_sec()
        self._count("report")
        yield self._one_way_sec()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--load", type=float, default=0.5, help="part of the time that runners work"
    )
    parser.add_argument("--job-sec", type=float, default=60.0, help="how long a job takes")
    parser.add_argument("--trip-sec", type=float, default=0.1, help="a request there and back")
    parser.add_argument("--prepare-sec", type=float, default=0.02, help="from a list to a claim")
    parser.add_argument("--minutes", type=float, default=10.0, help="the simulated time")
    parser.add_argument("--warm-up", type=float, default=5.0, help="minutes that do not count")
    parser.add_argument("--seed", type=int, default=1, help="seed of the random numbers")
    options = parser.parse_args()
    print(
        f"Jobs of {options.job_sec:g} s, runners busy {100 * options.load:g} % of the time, "
        f"requests of {options.trip_sec:g} s, "
        f"a poll every {config.DEFAULT_POLL_INTERVAL_SEC:g} s\n\n"
        "| runners | jobs/s | requests/s | delay, median | delay, 95 % | wasted claims |\n"
        "|--:|--:|--:|--:|--:|--:|"
    )
    for runners in ROWS:
        simulation = Simulation(runners, options)
        simulation.run()
        print(simulation.row(), flush=True)


if __name__ == "__main__":
    main()
