"""Compare the raster job with figpack's own code: reading, building and saving, and both together.

    python benchmarks/raster.py [--sizes 1e5,1e6,1e7] [--full] [--parts read,build,whole,warm]
                                [--cache FOLDER] [--stock-python PATH] [--repeat 5]

A short form takes about a minute: ``--sizes 1e5,1e6 --repeat 3``.

For Linux. pynwb writes the files (gzip level 4; h5py's small default chunks, and large ones). A
server process serves them with the latency and bandwidth of a distant server (``range_line.py``).
The two routes run in turn, each time in a new process. "Stock" is figpack, "ours" is devaria. The
table shows medians, and the ratio of stock to ours. The ratios are similar on other machines; the
seconds are not.

figpack reads with lindi, which needs zarr 2. --stock-python names a Python that has both, and
figpack and figpack-spike-sorting. Without lindi, figpack reads with h5py from a plain HTTP file.
Building uses this Python, and its zarr, for both routes.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

from process_tree import watch
from range_line import running_line

from devaria.nwb.sandbox.parent import reading_environ

HERE = Path(__file__).resolve().parent
ROUTES = HERE / "raster_routes.py"


@dataclass(frozen=True)
class Run:
    """Time, memory and traffic of one run of one route."""

    process_sec: float
    inner_sec: float
    cpu_sec: float
    peak_bytes: float
    extra_bytes: float
    requests: float
    bytes: float


@dataclass(frozen=True)
class Case:
    """One line of the table: the part, the file, and the number of runs."""

    part: str
    label: str
    num_spikes: int
    parameters: Dict[str, Any]
    repeat: int


class Bench:
    """Runs the routes and prints the table."""

    def __init__(self, server: str, stock_python: str) -> None:
        self.server = server
        self._stock_python = stock_python
        self.ways: Dict[str, int] = {}

    def run(self, route: str, part: str, parameters: Dict[str, Any]) -> Run:
        """Run a route once, in a new process."""
        python = self._stock_python if route == "stock" and part != "build" else sys.executable
        is_child = (route, part) == ("ours", "read")
        self._counts()
        start = time.perf_counter()
        process = subprocess.Popen(
            [python, str(ROUTES), route, part, json.dumps(parameters)],
            stdout=subprocess.PIPE,
            text=True,
            env=reading_environ(os.environ, Path(tempfile.gettempdir())) if is_child else None,
        )
        peak, cpu_sec = watch(process.pid)
        process_sec = time.perf_counter() - start
        assert process.stdout is not None
        with process.stdout as pipe:
            figures = json.loads(pipe.read().splitlines()[-1])
        counts = self._counts()
        self.ways[figures["way"]] = 1
        return Run(
            process_sec=process_sec,
            inner_sec=figures["inner_sec"],
            cpu_sec=cpu_sec,
            peak_bytes=peak,
            extra_bytes=peak - figures["before_bytes"],
            requests=counts["requests"],
            bytes=counts["bytes"],
        )

    def compare(self, case: Case) -> Tuple[Run, Run]:
        """Run both routes in turn, print a line, and return the medians."""
        runs: Dict[str, List[Run]] = {"stock": [], "ours": []}
        for _ in range(case.repeat):
            for route, taken in runs.items():
                taken.append(self.run(route, case.part, case.parameters))
        stock, ours = (_median(taken) for taken in runs.values())
        _print_line(case, stock, ours)
        return stock, ours

    def _counts(self) -> Dict[str, float]:
        with urllib.request.urlopen(self.server + "/counts", timeout=10) as answer:
            counts: Dict[str, float] = json.load(answer)
            return counts


def _median(runs: List[Run]) -> Run:
    names = Run.__dataclass_fields__
    return Run(**{name: statistics.median(getattr(run, name) for run in runs) for name in names})


_HEAD = (
    "part   spikes chunks     | wall s: stock   ours  ratio | process s           ratio "
    "| CPU s: stock   ours | peak MB     | extra B/spike | requests | MB fetched"
)


def _print_line(case: Case, stock: Run, ours: Run) -> None:
    per_spike = [run.extra_bytes / case.num_spikes for run in (stock, ours)]
    print(
        f"{case.part:6} {case.num_spikes:6.0e} {case.label:10} "
        f"| {stock.inner_sec:13.2f} {ours.inner_sec:6.2f} {stock.inner_sec / ours.inner_sec:6.1f} "
        f"| {stock.process_sec:6.2f} {ours.process_sec:6.2f} "
        f"{stock.process_sec / ours.process_sec:10.1f} "
        f"| {stock.cpu_sec:12.2f} {ours.cpu_sec:6.2f} "
        f"| {stock.peak_bytes / 1e6:5.0f} {ours.peak_bytes / 1e6:5.0f} "
        f"| {per_spike[0]:6.1f} {per_spike[1]:6.1f} "
        f"| {stock.requests:3.0f} {ours.requests:4.0f} "
        f"| {stock.bytes / 1e6:5.1f} {ours.bytes / 1e6:5.1f}",
        flush=True,
    )


def _cases(size: int, cache: Path, server: str) -> Iterator[Tuple[str, str, str, Dict[str, str]]]:
    """Yield the part, label, needed file and parameters of each line of the table."""
    for layout in ("auto", "large", "tiny", "scattered") if size == 10**7 else ("auto",):
        url = f"/{size}_{layout}.nwb"
        yield "read", layout, layout, {"url": server + url}
        if layout not in ("auto", "large"):
            continue
        if layout == "auto":
            yield "build", "-", "table", {"table": f"{cache}/{size}_table"}
            yield "whole", "redirected", layout, {"url": f"{server}/to{url}"}
        yield "whole", layout, layout, {"url": server + url}
        yield "warm", layout, layout, {"url": server + url}


def _make(cache: Path, size: int, what: str) -> None:
    # In a new process: a child's peak memory includes that of its parent at the start.
    making = [sys.executable, str(HERE / "nwb_sessions.py"), str(cache), str(size), what]
    subprocess.run(making, check=True)


Done = Dict[Tuple[str, str, int], Tuple[Run, Run]]


def _sums(done: Done) -> None:
    """Print the sum of reading and building, without imports and without starting a child."""
    for (part, label, size), (stock, ours) in done.items():
        built = done.get(("build", "-", size))
        if part == "read" and built:
            sums = [r.inner_sec + b.inner_sec for r, b in zip((stock, ours), built)]
            print(
                f"{size:.0e} {label}: reading, building and saving, without imports: "
                f"stock {sums[0]:.2f} s, ours {sums[1]:.2f} s, ratio {sums[0] / sums[1]:.1f}"
            )


def _growth(done: Done) -> None:
    for part, label in (("read", "auto"), ("build", "-"), ("whole", "auto")):
        small, large = done.get((part, label, 10**6)), done.get((part, label, 10**7))
        if small and large:
            time_growth = large[1].inner_sec / small[1].inner_sec / 10
            memory_growth = large[1].extra_bytes / small[1].extra_bytes / 10
            print(
                f"{part}: per spike, ours takes {time_growth:.2f} times as long at 10^7 spikes "
                f"as at 10^6, and {memory_growth:.2f} times the memory"
            )


def main() -> None:
    """Run the measurements that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="1e5,1e6,1e7", help="numbers of spikes")
    parser.add_argument(
        "--full", action="store_true", help="also 1e8 spikes (14 GB of memory, minutes)"
    )
    parser.add_argument("--parts", default="read,build,whole,warm", help="parts to measure")
    parser.add_argument(
        "--cache", type=Path, help="folder in which the files are kept (default: they are deleted)"
    )
    parser.add_argument(
        "--stock-python", default=sys.executable, help="a Python with lindi, for figpack's reading"
    )
    parser.add_argument("--repeat", type=int, default=5, help="runs of each route")
    options = parser.parse_args()
    sizes = [int(float(size)) for size in options.sizes.split(",")] + [10**8] * options.full
    os.environ.setdefault("DEVARIA_ALLOW_HOSTS", "127.0.0.1")
    with tempfile.TemporaryDirectory() as name:
        cache = options.cache or Path(name)
        cache.mkdir(parents=True, exist_ok=True)
        with running_line(cache) as server:
            bench = Bench(server, options.stock_python)
            print(_HEAD)
            done: Done = {}
            for size in sizes:
                # Runs that take minutes are not repeated.
                repeat = options.repeat if size < 50_000_000 else 1
                for part, label, needed, parameters in _cases(size, cache, server):
                    if part in options.parts.split(","):
                        _make(cache, size, needed)
                        case = Case(part, label, size, parameters, repeat)
                        done[part, label, size] = bench.compare(case)
            _sums(done)
            _growth(done)
            ways = " and ".join(sorted(way for way in bench.ways if way))
            print(f"Stock reads with: {ways or 'nothing was read'}")


if __name__ == "__main__":
    main()
