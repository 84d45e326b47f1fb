"""Count the files that take part in one `hello_world` job, and the switches between them.

    python benchmarks/job_trace.py [--package-dir /path/to/another/checkout] [--repeats 7]

Starts a local worker in a process of its own and submits jobs that take no time. For each job it
starts a runner process and traces all its threads with `sys.setprofile`. A trace begins with the
call of `WorkerClient.available` that finds the job. It ends with the return of
`WorkerClient.complete` that reports the result. It holds the calls and returns of functions in
files of the package. The job's own process is not traced.

Prints the number of files, the number of switches between them, and the calls into each file. A
switch is a call or a return in another file than the call or return before it in the same thread.
A job's console arrives in a varying number of pieces, and each piece adds switches. So the table
has the median, and the least and the most in brackets.

With `--package-dir`, another checkout is traced too and printed beside this one.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any, Dict, List, NamedTuple, Tuple

_HERE = Path(__file__).resolve()
_FIRST, _LAST = "available", "complete"
_TRACE_TIMEOUT_SEC = 120.0

#: One call or return: the thread, "call" or "return", and the file within the package.
Event = Tuple[int, str, str]


class Trace(NamedTuple):
    """The counts of one job's trace.

    Args:
        calls: The number of calls into each file.
        switches: The number of switches between files.
    """

    calls: Dict[str, int]
    switches: int


# --- in the traced process ---------------------------------------------------------------------


class Tracer:
    """Records one job's calls and returns.

    Args:
        package: The folder of the package.
        output: Where the events are written as JSON.
    """

    def __init__(self, package: Path, output: Path) -> None:
        self._prefix = f"{package}{os.sep}"
        self._output = output
        self._events: List[Event] = []
        self._begun = self._ended = False

    def profile(self, frame: FrameType, event: str, _arg: Any) -> None:
        """Take an event, as `sys.setprofile` asks for."""
        file = frame.f_code.co_filename
        if self._ended or event not in ("call", "return") or not file.startswith(self._prefix):
            return
        if event == "call" and _is_method(frame, _FIRST):
            self._events, self._begun = [], True  # an earlier poll found nothing
        if self._begun:
            name = file[len(self._prefix) :]
            self._events.append((threading.get_ident(), event, Path(name).as_posix()))
        if event == "return" and _is_method(frame, _LAST):
            self._ended = True
            self._output.write_text(json.dumps(self._events), encoding="ascii")


def _is_method(frame: FrameType, name: str) -> bool:
    if frame.f_code.co_name != name:
        return False
    return type(frame.f_locals.get("self")).__name__ == "WorkerClient"


def run_traced(package_dir: Path, output: Path) -> None:
    """Run `devaria runner` in this process, and write the trace of its last job."""
    tracer = Tracer(package_dir / "devaria", output)
    threading.setprofile(tracer.profile)
    sys.setprofile(tracer.profile)
    from devaria.cli import main as devaria

    devaria(["runner", "--burst", "--types", "hello_world"])


# --- in this process ---------------------------------------------------------------------------


def traced(package_dir: Path, folder: Path, variables: Dict[str, str]) -> Trace:
    """Let a runner of a checkout run the job that is pending."""
    output = folder / "trace.json"
    output.unlink(missing_ok=True)
    done = subprocess.run(
        [
            sys.executable,
            str(_HERE),
            "--run-traced",
            str(output),
            "--package-dir",
            str(package_dir),
        ],
        cwd=folder,
        env={**os.environ, **variables, "PYTHONPATH": str(package_dir)},
        capture_output=True,
        text=True,
        timeout=_TRACE_TIMEOUT_SEC,
        check=False,
    )
    if not output.exists():
        raise SystemExit(f"no job was completed:\n{done.stdout}{done.stderr}")
    events: List[Event] = json.loads(output.read_text(encoding="ascii"))
    calls = Counter(file for _, event, file in events if event == "call")
    return Trace(dict(calls), _switches(events))


def _switches(events: List[Event]) -> int:
    count = 0
    latest: Dict[int, str] = {}
    for thread, _, file in events:
        count += latest.get(thread, file) != file
        latest[thread] = file
    return count


def main() -> None:
    """Trace, and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--package-dir", type=Path, help="another checkout, to be printed beside")
    parser.add_argument("--repeats", type=int, default=7, help="jobs for each checkout")
    parser.add_argument("--run-traced", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run_traced:
        run_traced(options.package_dir, options.run_traced)
        return
    from runner_lab import lab  # here, since the traced process may have another checkout's devaria

    checkouts = [_HERE.parents[1]]
    if options.package_dir:
        checkouts.append(options.package_dir.resolve())
    traces: List[List[Trace]] = [[] for _ in checkouts]
    with tempfile.TemporaryDirectory() as name, lab(Path(name)) as the_lab:
        for _ in range(options.repeats):
            for checkout, its_traces in zip(checkouts, traces):
                the_lab.submit(1)
                its_traces.append(traced(checkout, Path(name), the_lab.variables))
    _print(checkouts, traces)


def _print(checkouts: List[Path], traces: List[List[Trace]]) -> None:
    print("| | " + " | ".join(str(each) for each in checkouts) + " |")
    print("|---" * (1 + len(checkouts)) + "|")
    _print_row("files", [[len(each.calls) for each in its_traces] for its_traces in traces])
    _print_row("switches", [[each.switches for each in its_traces] for its_traces in traces])
    for checkout, its_traces in zip(checkouts, traces):
        files = {file for each in its_traces for file in each.calls}
        middle = {
            file: statistics.median(each.calls.get(file, 0) for each in its_traces)
            for file in files
        }
        print(f"\nCalls into each file of {checkout}, medians:\n")
        for file in sorted(files, key=lambda file: (-middle[file], file)):
            print(f"{middle[file]:5.0f}  {file}")


def _print_row(name: str, counts: List[List[int]]) -> None:
    cells = [f"{statistics.median(each):.0f} ({min(each)} to {max(each)})" for each in counts]
    print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
