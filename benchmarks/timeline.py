"""Print who waits for whom while a units table is read, as a time line of all requests.

    python benchmarks/timeline.py FILE [--runs 5]

FILE is a file of ``nwb_sessions.py``. The line is that of ``range_line.py``. The program reads in
this process what the reading child would read, and prints the fastest of the runs: each request
with its head and its body, each wait of the reader, and each step of the reading.

A request's columns are milliseconds: when it began, when its head was there, when its body was
there. A wait's columns are its begin and its end. Waits under a millisecond are added up only.
"""

import argparse
import functools
import os
import resource
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Tuple

from range_line import running_line
from raster_routes import ours_read

from devaria.nwb.decoding.pipeline import DecodingPipeline
from devaria.nwb.hdf5.chunk_index import ChunkIndex
from devaria.nwb.hdf5.chunked import ChunkedReader
from devaria.nwb.hdf5.metadata import MetadataPrefetcher
from devaria.nwb.http.block_file import BlockFile
from devaria.nwb.http.plan import Plan
from devaria.nwb.http.ranges import HttpRanges
from devaria.nwb.http.session import HttpSession
from devaria.nwb.http.tail import FileTail
from devaria.nwb.sandbox import server
from devaria.nwb.units import reader

#: Shorter waits are only added up, in seconds.
_SHORT_SEC = 0.001


class Event(NamedTuple):
    """A request, a wait or a step."""

    start_sec: float
    head_sec: float
    end_sec: float
    thread: str
    what: str


#: The functions to watch: their class or module, their name, and what they are called here.
_WATCHED: List[Tuple[Any, str, str]] = [
    (HttpRanges, "__init__", "step: first request"),
    (FileTail, "peek", "wait: tail"),
    (BlockFile, "_load", "wait: block"),
    (MetadataPrefetcher, "peek", "wait: metadata"),
    (MetadataPrefetcher, "wait_for", "wait: index"),
    (Plan, "wait_for", "wait: part"),
    (DecodingPipeline, "put", "wait: decoding"),
    (DecodingPipeline, "finish", "wait: decoding at the end"),
    (ChunkIndex, "first", "step: survey"),
    (ChunkedReader, "read_all", "step: read all"),
    (reader, "read_units_table", "step: read the table"),
    (reader, "safe_column", "step: open a column"),
    (reader, "_read_stops", "step: read the index"),
    (reader, "_read_ids", "step: read the ids"),
    (server, "save_table", "step: save"),
]


class Timeline:
    """Watches functions of the reading process."""

    def __init__(self) -> None:
        self.events: List[Event] = []
        self._heads: Dict[int, Tuple[float, float, str]] = {}
        for owner, name, what in _WATCHED:
            setattr(owner, name, self._watched(getattr(owner, name), what))
        server.read_units_table = reader.read_units_table
        HttpSession.get = self._get(HttpSession.get)  # type: ignore[method-assign]
        HttpSession.pieces = self._pieces(HttpSession.pieces)  # type: ignore[method-assign]

    def _note(self, start: float, head: float, what: str) -> None:
        thread = threading.current_thread().name
        self.events.append(Event(start, head, time.perf_counter(), thread, what))

    def _watched(self, function: Callable[..., Any], what: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def watching(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self._note(start, start, what)

        return watching

    def _get(self, get: Callable[..., Any]) -> Callable[..., Any]:
        def getting(session: HttpSession, url: str, span: str) -> Any:
            start = time.perf_counter()
            response = get(session, url, span)
            self._heads[id(response)] = (start, time.perf_counter(), span)
            return response

        return getting

    def _pieces(self, pieces: Callable[..., Any]) -> Callable[..., Any]:
        def reading(session: HttpSession, response: Any) -> Any:
            start, head, span = self._heads[id(response)]
            try:
                yield from pieces(session, response)
            finally:
                self._note(start, head, f"request: {span}")

        return reading

    def show(self, start_sec: float) -> None:
        """Print the events since a time, and what the short waits add up to."""
        short: Dict[str, Tuple[int, float]] = {}
        for event in sorted(self.events):
            lasted = event.end_sec - event.start_sec
            if lasted < _SHORT_SEC and event.what.startswith("wait"):
                count, seconds = short.get(event.what, (0, 0.0))
                short[event.what] = (count + 1, seconds + lasted)
                continue
            times = (event.start_sec, event.head_sec, event.end_sec)
            columns = [f"{(each - start_sec) * 1e3:6.0f}" for each in times]
            if not event.what.startswith("request"):
                columns[1] = " " * 6
            print(*columns, f"{event.thread[:22]:22}", event.what)
        for what, (count, seconds) in short.items():
            print(f"{count:6} short: {seconds * 1e3:.0f} ms  {what}")


def main() -> None:
    """Read the file some times, and print the fastest run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    timeline = Timeline()
    best = (float("inf"), 0.0, 0.0, timeline.events)
    with running_line(options.file.resolve().parent) as line:
        for _ in range(options.runs):
            timeline.events = []
            cpu_sec, start = _cpu_sec(), time.perf_counter()
            ours_read({"url": f"{line}/{options.file.name}"})
            took = (time.perf_counter() - start, _cpu_sec() - cpu_sec)
            print(f"{took[0]:.3f} s, {took[1]:.3f} s of CPU", file=sys.stderr)
            best = min(best, (took[0], start, took[1], timeline.events), key=lambda run: run[0])
    timeline.events = best[3]
    timeline.show(best[1])
    print(f"{best[0]:.3f} s, {best[2]:.3f} s of CPU")


def _cpu_sec() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    os.environ.setdefault("DEVARIA_ALLOW_HOSTS", "127.0.0.1")
    main()
