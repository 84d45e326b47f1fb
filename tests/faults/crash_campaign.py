"""The crash campaign: a runner is killed again and again while the network drops its answers.

Half of the kills hit a named crash point, each of the launcher's in turn; the others hit at a
random moment. After each the runner is started again, in the same directory. In the end every job
must have come to its own outcome.
"""

import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Dict, List

import bad_answers
import fault_proxy
from fault_proxy import ANY
from faults_launcher import CRASH_POINTS
from lab import QUICK_HEARTBEATS
from waiting import wait_until

#: The part of all requests that goes wrong, unless a campaign is told another.
FAULT_RATE = 0.12
_FAULTS = (
    fault_proxy.cut_before,
    fault_proxy.cut_after,
    fault_proxy.cut_after,
    fault_proxy.server_error,
    fault_proxy.acted_but(fault_proxy.server_error),
    fault_proxy.html_page,
    fault_proxy.acted_but(fault_proxy.html_page),
    fault_proxy.not_successful,
    fault_proxy.acted_but(fault_proxy.not_successful),
    fault_proxy.delayed(0.3),
    fault_proxy.rate_limited(0.2),
    fault_proxy.answered(502, "<html>bad gateway</html>", "text/html"),
    fault_proxy.answered(403, "<html>blocked</html>", "text/html"),
    *bad_answers.QUICK.values(),
    *bad_answers.LONG.values(),
)

#: Waits that are made for days, at a pace for minutes.
TIMING = {
    **QUICK_HEARTBEATS,
    "read_timeout_sec": 2.0,
    "answer_sec": 2.0,
    "heartbeat_answer_sec": 1.0,
    # Jobs that are set aside come back within the campaign.
    "set_aside_sec": 1.0,
    "backoff_base_sec": 0.05,
    "backoff_max_sec": 0.5,
}

_GIVEN_UP = "the job was started 2 times, and the runner or its machine died each time"
_POINT_BOUND_SEC = 60.0


@dataclass
class Figures:
    """What a campaign came to.

    Args:
        seed: What its random numbers came from.
        kills: How often the runner was killed.
        states: How many of them left which states in the journal; none where it was idle.
        at_points: How many of them at each crash point.
        jobs: How many jobs there were.
        outcomes: How many of them came to each right outcome.
        faults: How many requests met a fault.
        seconds: How long it took.
        stuck: Jobs that came to no outcome.
        lost: Jobs whose result stood in the journal, and came to another outcome.
        wrong: Jobs that came to an outcome that is not their own, or to two.
        left: What remained in the journal.
    """

    seed: int
    kills: int = 0
    states: "Counter[str]" = field(default_factory=Counter)
    at_points: "Counter[str]" = field(default_factory=Counter)
    jobs: int = 0
    outcomes: "Counter[str]" = field(default_factory=Counter)
    faults: int = 0
    seconds: float = 0.0
    stuck: List[str] = field(default_factory=list)
    lost: List[str] = field(default_factory=list)
    wrong: List[str] = field(default_factory=list)
    left: List[str] = field(default_factory=list)

    def __str__(self):
        outcomes = ", ".join(f"{count} {name}" for name, count in sorted(self.outcomes.items()))
        states = ", ".join(f"{count} {name}" for name, count in sorted(self.states.items()))
        return (
            f"crash campaign (seed {self.seed}): {self.kills} kills "
            f"({sum(self.at_points.values())} at {len(self.at_points)} crash points; {states}), "
            f"{self.faults} faulty requests, {self.jobs} jobs ({outcomes}), {self.seconds:.0f} s; "
            f"stuck {len(self.stuck)}, lost {len(self.lost)}, wrong {len(self.wrong)}, "
            f"left in the journal {len(self.left)}"
        )


class Campaign:
    """One campaign in one lab.

    Args:
        lab: Where it takes place.
        kills: How often to kill.
        seed: For all that is random.
        waits: Whether polls wait for a job.
        fault_rate: The part of all requests that goes wrong.
    """

    def __init__(self, lab, kills, seed, *, waits, fault_rate=FAULT_RATE):
        self._lab = lab
        self._kills = kills
        self._options = ("--poll-interval", "0.1", *(() if waits else ("--no-wait",)))
        self._random = random.Random(seed)
        self._figures = Figures(seed)
        self._faults = fault_proxy.at_rate(fault_rate, _FAULTS, seed + 1, self._count_fault)
        self._expected: Dict[str, Dict] = {}
        #: How often the runner died while a job ran, by job, as the journal tells.
        self._killed_running: Counter = Counter()
        #: The outcomes that the journal held when the runner died, by job.
        self._done: Dict[str, Dict] = {}

    def run(self):
        """Kill, and then let the queue drain; return the figures."""
        started = time.monotonic()
        rule = self._lab.proxy.on(ANY, self._faults)
        for nth in range(self._kills):
            self._fill_queue()
            runner = self._killed_at_a_point(nth // 2) if nth % 2 else self._killed_at_random()
            self._figures.kills += 1
            self._look_at_journal()
            runner.check_sanity()
        self._drain()
        rule.lift()
        self._judge()
        self._figures.seconds = time.monotonic() - started
        return self._figures

    # --- killing ---------------------------------------------------------------------------

    def _count_fault(self):
        self._figures.faults += 1

    def _fill_queue(self):
        """Keep some jobs of each kind before the runner."""
        waiting = sum(not self._lab.job(job_id).is_final for job_id in list(self._expected)[-12:])
        for _ in range(max(0, 6 - waiting)):
            self._submit()

    def _submit(self):
        kind = self._random.choice(("good", "naps", "naps", "value", "dies"))
        if kind == "good":
            job_id = self._lab.submit("good")
            expected = {"output": lambda n: {"twice": 2 * n}}
        elif kind == "naps":
            job_id = self._lab.submit("naps", seconds=self._random.choice((0.05, 0.2, 0.4)))
            expected = {"output": lambda n: {"napped": n}}
        elif kind == "value":
            job_id = self._lab.submit("raises", what="value")
            expected = {"error": "Invalid parameters: n must be even"}
        else:
            job_id = self._lab.submit("dies", how="exit")
            expected = {"error": "ended with exit code 7"}
        self._expected[job_id] = {"kind": kind, **expected}

    def _start(self, **settings):
        return self._lab.runner(*self._options, timing=TIMING, **settings)

    def _killed_at_random(self):
        runner = self._start()
        # From before its first request to several jobs later.
        time.sleep(self._random.uniform(0.1, 1.0))
        assert runner.is_alive, runner.output()
        runner.kill()
        return runner

    def _killed_at_a_point(self, nth):
        point = CRASH_POINTS[nth % len(CRASH_POINTS)]
        runner = self._start(crash_at=f"{point} {self._random.choice((1, 1, 2))}")
        deadline = time.monotonic() + _POINT_BOUND_SEC
        while runner.is_alive:
            assert time.monotonic() < deadline, f"never came by {point}:\n{runner.output()}"
            time.sleep(0.05)
            self._fill_queue()
        assert runner.wait() == -9, runner.output()
        self._figures.at_points[point] += 1
        return runner

    def _look_at_journal(self):
        entries = self._lab.journal()
        self._figures.states["+".join(entry["state"] for entry in entries) or "idle"] += 1
        for entry in entries:
            if entry["state"] == "running":
                self._killed_running[entry["job_id"]] += 1
            if entry["state"] == "done":
                self._done[entry["job_id"]] = entry["outcome"]

    def _drain(self):
        """Let a runner work on, under the same faults, until all is settled."""
        runner = self._start()
        bound_sec = 30 + self._kills

        def is_drained():
            ids = list(self._expected)
            return all(self._lab.job(job_id).is_final for job_id in ids) and not self._lab.journal()

        try:
            wait_until(is_drained, "the end of all jobs", bound_sec)
        except AssertionError as error:
            print(error)  # what is stuck or left is counted below
        runner.end()

    # --- judging ---------------------------------------------------------------------------

    def _judge(self):
        figures = self._figures
        figures.jobs = len(self._expected)
        for job_id in self._expected:
            self._judge_job(job_id)
        folder = self._lab.directory / ".devaria_jobs"
        figures.left = [str(path) for path in folder.iterdir()]

    def _judge_job(self, job_id):
        job = self._lab.job(job_id)
        figures = self._figures
        if not job.is_final:
            figures.stuck.append(job_id)
            return
        done = self._done.get(job_id)
        if done and (job.output_data, job.error) != (done["output_data"], done["error_message"]):
            figures.lost.append(job_id)
        if job.status == "failed" and _GIVEN_UP in job.error:
            name = "given up after two kills"
            is_right = self._killed_running[job_id] >= 2
        else:
            name = self._expected[job_id]["kind"]
            is_right = self._is_own(job, self._expected[job_id])
        if is_right and self._is_reported_once(job_id):
            figures.outcomes[name] += 1
        else:
            figures.wrong.append(f"{job_id}: {job}")

    def _is_own(self, job, expected):
        if "error" in expected:
            return job.status == "failed" and expected["error"] in job.error
        return job.status == "completed" and job.output_data == expected["output"](
            job.input_params["n"]
        )

    def _is_reported_once(self, job_id):
        """Check that the worker took one report, and was never told another result."""
        passed = self._lab.proxy.passed
        completes = [e for e in passed("complete") if e.job_id == job_id]
        errors = [e for e in passed("error") if e.job_id == job_id]
        taken = [e for e in completes + errors if e.worker_status == 200]
        outputs = {str(e.body["output_data"]) for e in completes}
        messages = {e.body["error_message"] for e in errors}
        return len(taken) == 1 and len(outputs) + len(messages) == 1
