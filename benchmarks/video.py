"""Compare the video job with the route that came before: the whole job, upload aside.

    python benchmarks/video.py [--frames 2000,20000] [--cache FOLDER] [--repeat 5]

A short form takes a minute: ``--frames 2000 --repeat 1``. The larger file has 4 GB.

For Linux. The files have frames of 512 x 512 pixels, uint16, as of a microscope, a chunk a frame
(gzip). A server process serves them with the latency and bandwidth of a distant server
(``range_line.py``). The routes run in turn, each time in a new process (``video_routes.py``). The
first 1,000 frames of the smaller file are compared; of the larger file, ours shows 1,000 frames
spread over it, which the earlier route cannot do. The table shows medians. Memory is that of a
process and its children together.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Dict, Iterator, List

import h5py
import numpy as np
import numpy.typing as npt
from pose import Run, median
from process_tree import watch
from range_line import running_line
from video_routes import MOVIE_PATH

ROUTES = Path(__file__).resolve().parent / "video_routes.py"

_SIDE = 512
_RATE_HZ = 30.0

#: So many frames differ. Then they come again: compressing them anew would take minutes.
_DIFFERENT = 500


def frames(count: int) -> Iterator["npt.NDArray[np.uint16]"]:
    """Make frames with cells that flash, and with the noise of a detector."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:_SIDE, :_SIDE]
    places = rng.uniform(10, _SIDE - 10, (60, 2))
    cells = np.array([np.exp(-((rows - r) ** 2 + (columns - c) ** 2) / 60) for r, c in places])
    cells = cells.reshape(len(places), -1).astype(np.float32)
    phases = rng.uniform(0, 6, len(places))
    for number in range(count):
        flashes = (np.maximum(0, np.sin(number / 19 + phases)) ** 6 * 300).astype(np.float32)
        light = 30 + flashes @ cells
        yield rng.poisson(light).astype(np.uint16).reshape(_SIDE, _SIDE)


def write_file(path: Path, count: int) -> None:
    """Write a movie.

    Args:
        path: The file.
        count: Number of frames.
    """
    packed = [zlib.compress(frame.tobytes(), 4) for frame in frames(min(count, _DIFFERENT))]
    with h5py.File(path, "w") as file:
        series = file.create_group(MOVIE_PATH)
        series.attrs["neurodata_type"] = "TwoPhotonSeries"
        series["starting_time"] = 0.0
        series["starting_time"].attrs["rate"] = _RATE_HZ
        shape, chunk = (count, _SIDE, _SIDE), (1, _SIDE, _SIDE)
        stored = {"chunks": chunk, "compression": "gzip"}
        data = series.create_dataset("data", shape, np.uint16, **stored)
        for number in range(count):
            data.id.write_direct_chunk((number, 0, 0), packed[number % len(packed)])


def run(route: str, url: str, mode: str) -> Run:
    """Run a route once, in a new process."""
    process = subprocess.Popen(
        [sys.executable, str(ROUTES), route, url, mode], stdout=subprocess.PIPE, text=True
    )
    peak_bytes, cpu_sec = watch(process.pid)
    assert process.stdout is not None
    with process.stdout as pipe:
        inner_sec = json.loads(pipe.read().splitlines()[-1])["inner_sec"]
    return Run(inner_sec, cpu_sec, peak_bytes)


def compare(url: str, num_frames: int, repeat: int) -> None:
    """Run the routes for one file in turn, and print their lines of the table."""
    mode = "start" if num_frames <= 2 * 1000 else "whole"
    routes = ("stock", "ours") if mode == "start" else ("ours",)
    runs: Dict[str, List[Run]] = {route: [] for route in routes}
    for _ in range(repeat):
        for route, taken in runs.items():
            taken.append(run(route, url, mode))
    medians = {route: median(taken) for route, taken in runs.items()}
    for route, each in medians.items():
        print(
            f"{num_frames:6} {mode:5} {route:5} {each.sec:12.2f} {each.cpu_sec:6.2f} "
            f"{each.peak_bytes / 1e6:8.0f}"
        )
    if "stock" in medians:
        print(f"ratio {medians['stock'].sec / medians['ours'].sec:24.1f}")


def main() -> None:
    """Run the measurements that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", default="2000,20000", help="frames of each file")
    parser.add_argument(
        "--cache", type=Path, help="folder in which the files are kept (default: they are deleted)"
    )
    parser.add_argument("--repeat", type=int, default=5, help="runs of each route")
    options = parser.parse_args()
    os.environ.setdefault("DEVARIA_ALLOW_HOSTS", "127.0.0.1")
    with tempfile.TemporaryDirectory() as name:
        cache = options.cache or Path(name)
        cache.mkdir(parents=True, exist_ok=True)
        print("frames mode  route  whole job s  CPU s  peak MB")
        with running_line(cache) as server:
            for num_frames in map(int, options.frames.split(",")):
                path = cache / f"video_{num_frames}.nwb"
                if not path.exists():
                    write_file(path, num_frames)
                compare(f"{server}/{path.name}", num_frames, options.repeat)


if __name__ == "__main__":
    main()
