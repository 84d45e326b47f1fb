"""Compare the upload of a finished figure with figpack's own: seconds, connections, requests.

    python benchmarks/upload.py [--spikes 1e6] [--delay-ms 50] [--repeat 5]

A figure API and a store answer on loopback, over TLS, behind proxies that delay each direction.
Once the API stores the files itself, as devaria's local worker does; once another host does, as the
public service has it. Both routes run in turn, each time in a new process, and upload the same
raster plot. Devaria opens its connections 0.4 s before, while a job would read the file. "Upload"
lasts from the first step after figpack has written the figure to the last. "Publish" lasts from the
call of `publish` (or figpack's `show`) to the figure's URL, which includes writing the figure.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List

#: How long a job with this figure reads the file meanwhile, in seconds.
_READING_SEC = 0.4

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "support"))


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--spikes", type=float, default=1e6, help="spikes of the raster plot")
    parser.add_argument("--delay-ms", type=float, default=50.0, help="delay in each direction")
    parser.add_argument("--repeat", type=int, default=5, help="runs of each route")
    options = parser.parse_args()
    print("| store | route | upload | publish | connections | requests |")
    print("|---|---|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        for store in ("the API's", "another host's"):
            runs: Dict[str, List[Dict[str, float]]] = {"figpack": [], "devaria": []}
            with _servers(Path(folder), options.delay_ms, store == "the API's") as servers:
                for _ in range(options.repeat):
                    for route, taken in runs.items():
                        taken.append(servers.run(route, int(options.spikes)))
            for route, taken in runs.items():
                print(f"| {store} | {route} | {_cells(taken)} |", flush=True)


def _cells(taken: List[Dict[str, float]]) -> str:
    def middle(name: str) -> float:
        return statistics.median(each[name] for each in taken)

    worst = max(each["upload"] for each in taken)
    return (
        f"{middle('upload'):.2f} s (worst {worst:.2f}) | {middle('publish'):.2f} s | "
        f"{middle('connections'):.0f} | {middle('requests'):.0f}"
    )


class Servers:
    """A figure API and its store.

    Args:
        servers: The servers, one or two; the first is the API.
        environ: The environment of an upload.
    """

    def __init__(self, servers: List[Any], environ: Dict[str, str]) -> None:
        self._servers = servers
        self._environ = environ

    def run(self, route: str, spikes: int) -> Dict[str, float]:
        """Upload once, in a new process; return the seconds and the counts."""
        before = self._counts()
        done = subprocess.run(
            [sys.executable, __file__, "--route", route, str(spikes)],
            env=self._environ,
            stdout=subprocess.PIPE,
            check=True,
        )
        seconds: Dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        after = self._counts()
        counts = {name: after[name] - before[name] for name in after}
        return {**seconds, **counts}

    def _counts(self) -> Dict[str, int]:
        return {
            "connections": sum(server.connections for server in self._servers),
            "requests": sum(len(server.asked) for server in self._servers),
        }


@contextlib.contextmanager
def _servers(folder: Path, delay_ms: float, is_one: bool) -> Iterator[Servers]:
    from certificates import server_context
    from figure_api import FigureApi

    tls = server_context(folder)
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(FigureApi(tls)) for _ in range(1 if is_one else 2)]
        urls = [stack.enter_context(_delayed(server.port, delay_ms)) for server in servers]
        servers[0].url, servers[0].put_url = urls[0], urls[-1]
        if not is_one:
            servers[0].figures_url = "https://figures.example"
        environ = {
            **os.environ,
            "PYTHONPATH": str(HERE.parent),
            "FIGPACK_API_BASE_URL": urls[0],
            "FIGPACK_API_KEY": "none",
            "REQUESTS_CA_BUNDLE": str(folder / "loopback.pem"),
            "XDG_CACHE_HOME": str(folder),
        }
        yield Servers(servers, environ)


@contextlib.contextmanager
def _delayed(port: int, delay_ms: float) -> Iterator[str]:
    command = [sys.executable, str(HERE / "delay_proxy.py"), str(port), "--delay-ms", str(delay_ms)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="ascii") as process:
        assert process.stdout is not None
        yield f"https://127.0.0.1:{process.stdout.readline().strip()}"
        process.kill()


def upload(route: str, spikes: int) -> None:
    """Upload a figure by one route, and print the seconds."""
    import figpack.core._show_view as figpack_show
    import numpy as np

    from devaria.figures.raster import UnitsRasterPlot
    from devaria.figures.upload import opened_connections, publish
    from devaria.nwb.units.table import UnitsTable

    seconds: Dict[str, float] = {}
    steps = figpack_show._upload_bundle

    def timed(*args: Any, **options: Any) -> str:
        start = time.perf_counter()
        try:
            url: str = steps(*args, **options)
            return url
        finally:
            seconds["upload"] = time.perf_counter() - start

    figpack_show._upload_bundle = timed
    connections = opened_connections() if route == "devaria" else None
    time.sleep(_READING_SEC)
    times = np.sort(np.random.default_rng(0).uniform(0, 1000, spikes).astype(np.float32))
    table = UnitsTable(
        unit_ids=["0"],
        unit_rows=np.arange(1),
        spike_times_sec=times,
        unit_stops=np.array([spikes]),
        start_time_sec=0.0,
        end_time_sec=1000.0,
        num_rows=1,
        num_dropped=0,
    )
    view = UnitsRasterPlot(table)
    start = time.perf_counter()
    if route == "devaria":
        with connections:
            publish(view, title="T", connections=connections)
    else:
        view.show(title="T", upload=True, wait_for_input=False, open_in_browser=False)
    seconds["publish"] = time.perf_counter() - start
    print(json.dumps(seconds))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--route"]:
        upload(sys.argv[2], int(sys.argv[3]))
    else:
        main()
