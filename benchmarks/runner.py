"""Measure what the runner costs per job and while idle, and compare it with its predecessor.

    python benchmarks/runner.py [--predecessor-python PATH] [--idle-min 2] [--repeats 5]

Needs Linux. Starts the local worker with the contract's rate limits, and a proxy on loopback that
counts requests. For some rows the proxy adds 50 ms in each direction, also when a connection is set
up. Runners run hello_world jobs that take no time. Each runner is started as an operator would
start it, in a directory of its own.

PATH is a Python that has the predecessor: `pip install runpack==0.1.0 h5py`. The predecessor pauses
for 6 s after each job. Rows about running jobs are measured without that pause, so that they
compare the work and not the sleep. The two runners are measured in turn.
"""

import argparse
import os
import platform
import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple

from runner_lab import DEVARIA, Kind, Lab, Run, cpu_sec_of, lab, predecessor, wait_for

#: Enough jobs to reach the worker's limit of 120 polls a minute, if each job needs a poll.
QUEUE = 200
#: For shorter runs: as many as the worker lists at once, and fewer with the delay.
SHORT_QUEUE, DELAYED_QUEUE = 50, 20
DELAY_MS = 50.0

#: After this time, start-up and the first poll are over.
_SETTLED_SEC = 2.0
_MEGABYTE = 1_000_000


class Row(NamedTuple):
    """A row of the table.

    Args:
        name: What is measured.
        form: The format of a value.
        target: The goal for devaria, as text.
        bound: The target as a number; None if there is none.
    """

    name: str
    form: str
    target: str = ""
    bound: Optional[float] = None


ROWS = {
    "requests": Row("HTTP requests a job, draining 200 jobs", "{:.2f}", "≤ 2.1", 2.1),
    "connections": Row("TCP connections, draining 200 jobs", "{:.0f}", "≤ 2", 2),
    "queue": Row("200 jobs with rate limits, no delay", "{:.1f} s", "≤ 12 s", 12),
    "limited": Row("429 answers in that run", "{:.0f}", "0", 0),
    "job": Row("per job, no delay", "{:.0f} ms", "≤ 42 ms", 42),
    "delayed": Row("per job, 50 ms each way", "{:.0f} ms", "≤ 250 ms", 250),
    "job cpu": Row("CPU of a job's processes and the runner's, a job", "{:.0f} ms"),
    "first poll": Row("start to first poll, no delay", "{:.2f} s", "≤ 0.5 s", 0.5),
    "rss": Row("memory of the idle runner, resident", "{:.0f} MB", "≤ 45 MB", 45),
    "pss": Row("the same, shared pages divided", "{:.0f} MB"),
    "cpu": Row("CPU while idle, an hour", "{:.2f} s", "≤ 1 s", 1),
    "polls": Row("requests while idle, an hour", "{:.0f}", "≤ 144", 145),
    "progress": Row("progress at the worker after the call, median", "{:.2f} s"),
    "late progress": Row("the same, the latest", "{:.2f} s", "≤ 2.5 s", 2.5),
}

_ABOUT_THE_PREDECESSOR = (
    "The predecessor pauses for 6 s after each job, so 200 jobs take 20 minutes. Rows about "
    "running jobs leave that pause out. While idle, it polls less and less often, down to once a "
    "minute; the rows show its first minutes. Its handlers send their progress every 30 s."
)

#: The values of one kind of runner: for each row, one per repeat.
Figures = Dict[str, List[float]]


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--predecessor-python", help="a Python that has runpack 0.1.0")
    parser.add_argument("--idle-min", type=float, default=2.0, help="how long to measure idling")
    parser.add_argument("--repeats", type=int, default=5, help="runs for rows that are medians")
    options = parser.parse_args()
    kinds = {"devaria": (DEVARIA, DEVARIA)}
    if options.predecessor_python:
        python = options.predecessor_python
        kinds["predecessor"] = (
            predecessor(python, pauses=False),
            predecessor(python, pauses=True),
        )
    figures: Dict[str, Figures] = {name: {} for name in kinds}
    with tempfile.TemporaryDirectory() as folder, lab(Path(folder)) as the_lab:
        for working, _ in kinds.values():  # not measured: bytecode is written, files are cached
            the_lab.drain(working, 1)
        for _ in range(options.repeats):
            for name, (working, _) in kinds.items():
                _drain(the_lab, working, figures[name])
        for name, (working, resting) in kinds.items():
            _drain_long(the_lab, working, figures[name])
            _idle(the_lab, resting, figures[name], 60 * options.idle_min)
        _progress(the_lab, figures["devaria"])
    _print(figures, options)


def _drain(the_lab: Lab, kind: Kind, figures: Figures) -> None:
    run = the_lab.drain(kind, SHORT_QUEUE)
    _note(figures, "job", run.per_job_ms)
    _note(figures, "first poll", run.first_poll_sec)
    _note(figures, "delayed", the_lab.drain(kind, DELAYED_QUEUE, DELAY_MS).per_job_ms)


def _drain_long(the_lab: Lab, kind: Kind, figures: Figures) -> None:
    run = the_lab.drain(kind, QUEUE)
    _note(figures, "requests", len(run.draining) / QUEUE)
    _note(figures, "connections", run.connections)
    _note(figures, "queue", run.drained_sec)
    _note(figures, "job cpu", 1000 * run.cpu_sec / QUEUE)
    _note(figures, "limited", sum(each.status == 429 for each in run.requests))


def _idle(the_lab: Lab, kind: Kind, figures: Figures, seconds: float) -> None:
    with the_lab.running(kind) as look:
        run = wait_for(look, lambda run: len(run.polls) > 0)
        time.sleep(_SETTLED_SEC)
        polls, cpu_sec = len(run.polls), cpu_sec_of(run.pid)
        time.sleep(seconds)
        cpu_sec = cpu_sec_of(run.pid) - cpu_sec
        rss, pss = _memory(run.pid)
        gaps = _gaps(look(), polls)
    _note(figures, "cpu", cpu_sec * 3600 / seconds)
    _note(figures, "rss", rss / _MEGABYTE)
    _note(figures, "pss", pss / _MEGABYTE)
    if gaps:
        _note(figures, "polls", 3600 / statistics.mean(gaps))


def _gaps(run: Run, settled: int) -> List[float]:
    """Return the seconds between two polls, from the last one of the start-up on."""
    sent_at = [each.sent_at for each in run.polls][settled - 1 :]
    return [later - earlier for earlier, later in zip(sent_at, sent_at[1:])]


def _progress(the_lab: Lab, figures: Figures) -> None:
    """Measure how long after a handler's call the worker has that progress, or a newer one."""
    the_lab.submit_moments()
    with the_lab.running(DEVARIA) as look:
        run = wait_for(look, lambda run: len(run.reports) == 1)
    beats = [
        (each.answered_at, each.progress)
        for each in run.requests
        if each.progress is not None and each.answered_at is not None and each.status == 200
    ]
    for called_at in the_lab.moments():
        arrived_at = min(at for at, progress in beats if progress >= called_at)
        _note(figures, "progress", arrived_at - called_at)
    figures["late progress"] = [max(figures["progress"])]


def _note(figures: Figures, row: str, value: float) -> None:
    figures.setdefault(row, []).append(value)


def _memory(pid: int) -> Tuple[int, int]:
    """Return the resident and the proportional set size of a process, in bytes."""
    fields: Dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split()[:2]
        fields[name] = 1024 * int(value)
    return fields["Rss:"], fields["Pss:"]


def _print(figures: Dict[str, Figures], options: argparse.Namespace) -> None:
    has_both = len(figures) == 2
    print("| | devaria | goal | reached |" + " predecessor | ratio |" * has_both)
    print("|---|--:|--:|---|" + "--:|--:|" * has_both)
    for key, row in ROWS.items():
        print(_line(row, *(each.get(key, []) for each in figures.values())))
    print(f"\nMedians of {options.repeats} runs (least to most) where a row says so; {_machine()}.")
    if has_both:
        print(_ABOUT_THE_PREDECESSOR)


def _line(row: Row, ours: List[float], *theirs: List[float]) -> str:
    reached = ""
    if row.bound is not None and ours:
        reached = "yes" if statistics.median(ours) <= row.bound else "no"
    cells = [row.name, _cell(row, ours), row.target, reached]
    for values in theirs:
        ratio = statistics.median(values) / statistics.median(ours) if values and any(ours) else 0
        cells += [_cell(row, values), f"{ratio:.{0 if ratio >= 10 else 1}f}" if ratio else "-"]
    return f"| {' | '.join(cells)} |"


def _cell(row: Row, values: List[float]) -> str:
    if not values:
        return "-"
    middle = row.form.format(statistics.median(values))
    if len(values) == 1:
        return middle
    number = row.form.split(" ")[0]
    return f"{middle} ({number.format(min(values))} to {number.format(max(values))})"


def _machine() -> str:
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    model = found[1] if found else platform.machine()
    return (
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores ({model}), "
        f"Linux {platform.release()}, Python {platform.python_version()}, "
        f"load {os.getloadavg()[0]:.1f} at the end"
    )


if __name__ == "__main__":
    main()
