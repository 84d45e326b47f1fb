"""Compare the pose job with the route that came before: the whole job, upload aside.

    python benchmarks/pose.py [--parts 16] [--frames 500000] [--cache FOLDER] [--repeat 5]

A short form takes half a minute: ``--frames 50000 --repeat 3``.

For Linux. The file has float64 positions and confidence (gzip, h5py's own chunks) and one array of
times. A server process serves it with the latency and bandwidth of a distant server
(``range_line.py``). The two routes run in turn, each time in a new process
(``pose_routes.py``). The table shows medians, and the ratio of the earlier route to ours. Memory is
that of a process and its children together.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, List, NamedTuple

import h5py
import numpy as np
from pose_routes import POSE_PATH
from process_tree import watch
from range_line import running_line

ROUTES = Path(__file__).resolve().parent / "pose_routes.py"

RATE_HZ = 120.0


class Run(NamedTuple):
    """What one run of one route took."""

    sec: float
    cpu_sec: float
    peak_bytes: float


def write_file(path: Path, num_parts: int, num_frames: int) -> None:
    """Write parts that walk about together.

    Args:
        path: The file.
        num_parts: Number of parts.
        num_frames: Number of frames of each.
    """
    rng = np.random.default_rng(0)
    body = 400 + np.cumsum(rng.standard_normal((num_frames, 2)), axis=0) % 300
    with h5py.File(path, "w") as file:
        pose = file.create_group(POSE_PATH)
        pose.attrs["neurodata_type"] = "PoseEstimation"
        for number in range(num_parts):
            series = pose.create_group(f"part_{number:02}")
            series.attrs["neurodata_type"] = "PoseEstimationSeries"
            jitter = rng.standard_normal((num_frames, 2))
            stored = {"chunks": True, "compression": "gzip"}
            series.create_dataset("data", data=body + jitter, **stored)
            certain = rng.beta(20, 1, num_frames)
            series.create_dataset("confidence", data=certain, **stored)
            if number:
                series["timestamps"] = h5py.SoftLink(f"{POSE_PATH}/part_00/timestamps")
            else:
                times = np.arange(num_frames) / RATE_HZ
                series.create_dataset("timestamps", data=times, **stored)


def run(route: str, url: str) -> Run:
    """Run a route once, in a new process."""
    process = subprocess.Popen(
        [sys.executable, str(ROUTES), route, url], stdout=subprocess.PIPE, text=True
    )
    peak_bytes, cpu_sec = watch(process.pid)
    assert process.stdout is not None
    with process.stdout as pipe:
        inner_sec = json.loads(pipe.read().splitlines()[-1])["inner_sec"]
    return Run(inner_sec, cpu_sec, peak_bytes)


def median(runs: List[Run]) -> Run:
    """Return the median of each figure."""
    return Run(*(statistics.median(values) for values in zip(*runs)))


def main() -> None:
    """Run both routes in turn, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", type=int, default=16, help="number of parts")
    parser.add_argument("--frames", type=int, default=500_000, help="frames of each part")
    parser.add_argument(
        "--cache", type=Path, help="folder in which the file is kept (default: it is deleted)"
    )
    parser.add_argument("--repeat", type=int, default=5, help="runs of each route")
    options = parser.parse_args()
    os.environ.setdefault("DEVARIA_ALLOW_HOSTS", "127.0.0.1")
    with tempfile.TemporaryDirectory() as name:
        cache = options.cache or Path(name)
        cache.mkdir(parents=True, exist_ok=True)
        path = cache / f"pose_{options.parts}_{options.frames}.nwb"
        if not path.exists():
            write_file(path, options.parts, options.frames)
        print(
            f"{options.parts} parts, {options.frames:,} frames: {path.stat().st_size / 1e6:.0f} MB"
        )
        runs: Dict[str, List[Run]] = {"stock": [], "ours": []}
        with running_line(cache) as server:
            for _ in range(options.repeat):
                for route, taken in runs.items():
                    taken.append(run(route, f"{server}/{path.name}"))
    stock, ours = (median(taken) for taken in runs.values())
    print("route  whole job s  CPU s  peak MB")
    for route, each in (("stock", stock), ("ours", ours)):
        print(f"{route:5} {each.sec:12.2f} {each.cpu_sec:6.2f} {each.peak_bytes / 1e6:8.0f}")
    print(f"ratio {stock.sec / ours.sec:12.1f}")


if __name__ == "__main__":
    main()
