"""Run the demo: a worker, a runner, a file server and two jobs on this machine."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Dict, Iterator, Optional

import requests

from devaria.client.client import WorkerClient
from devaria.client.http import JsonObject
from devaria.common.child_process import end_group, own_group
from devaria.common.errors import EXIT_FAILED, EXIT_OK, BadSetting
from devaria.runner.log import LOG_FILE

if TYPE_CHECKING:
    from devaria.worker.server import LocalWorker

#: Shows a job until it ends; takes a client and a job id, and returns the exit code.
Show = Callable[[WorkerClient, str], int]


def run_demo(*, serve_on: bool, say: Callable[[str], None], show: Show) -> int:
    """Run the demo.

    Args:
        serve_on: Whether to go on serving the figure after the jobs have ended, until Ctrl-C.
        say: Prints a line.
        show: Shows a job until it ends.

    Returns:
        0 if both jobs completed and the figure can be fetched, else 1.

    Raises:
        BadSetting: A package that the demo needs is missing.
    """
    try:
        from devaria.nwb.synthetic import write_synthetic_nwb
        from devaria.worker.server import LocalWorker
    except ImportError as error:
        raise BadSetting(
            f"{error}; install what the demo needs: pip install 'devaria[all]'"
        ) from None

    # SIGTERM ends the demo as Ctrl-C does, so that all processes it started end too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="devaria-demo-")))
        (folder / "data").mkdir()
        say("Making a small NWB file: 60 units, 10 minutes")
        spikes = write_synthetic_nwb(folder / "data" / "demo.nwb")
        files_url = stack.enter_context(file_server(folder / "data"))
        worker = stack.enter_context(LocalWorker(folder / "worker", port=0))
        say(f"Serving the file ({spikes:,} spikes), and a worker at {worker.url}")
        stack.enter_context(_runner(folder / "runner", worker))
        client = WorkerClient(worker.url, worker.keys.submit)
        stack.callback(client.close)
        figure_url = _run_jobs(client, f"{files_url}/demo.nwb", say, show)
        if figure_url is None:
            say((folder / "runner" / LOG_FILE).read_text(encoding="utf-8"))
            return EXIT_FAILED
        say(f"The figure: {figure_url}")
        if serve_on:
            say("Open it in a browser; Ctrl-C ends the demo")
            _wait_for_ctrl_c()
    return EXIT_OK


def _run_jobs(
    client: WorkerClient, nwb_url: str, say: Callable[[str], None], show: Show
) -> Optional[str]:
    """Run both jobs; return the figure's URL, or None if anything failed."""
    jobs: Dict[str, JsonObject] = {
        "hello_world": {"name": "Alice", "processing_time": 3},
        "figpack_nwb_raster_plot": {"nwb_url": nwb_url, "units_path": "/units"},
    }
    submitted = {name: client.submit(name, params).job_id for name, params in jobs.items()}
    for name, job_id in submitted.items():
        say(f"{name}:")
        if show(client, job_id) != EXIT_OK:
            return None
    result = client.job(submitted["figpack_nwb_raster_plot"]).output_data
    figure_url = str(result["figpack_url"])
    with requests.Session() as session:
        session.trust_env = False  # a proxy could not reach this machine's loopback
        answer = session.get(figure_url, timeout=10)
    return figure_url if answer.ok and "<html" in answer.text.lower() else None


@contextlib.contextmanager
def _runner(directory: Path, worker: "LocalWorker") -> Iterator[None]:
    """Run a runner process, as an operator would start it."""
    environ = {
        **os.environ,
        "DEVARIA_RUNNER_API_KEY": worker.keys.runner,
        "FIGPACK_API_KEY": worker.keys.runner,
        "FIGPACK_API_BASE_URL": worker.figpack_api_url,
        "DEVARIA_ALLOW_HOSTS": "127.0.0.1",  # the demo's file is served there
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    options = ["--worker-url", worker.url, "--dir", str(directory), "--poll-interval", "0.5"]
    process = subprocess.Popen(
        [sys.executable, "-m", "devaria", "runner", *options],
        env=environ,
        stdout=subprocess.DEVNULL,
        **own_group(),
    )
    try:
        yield
    finally:
        end_group(process)


@contextlib.contextmanager
def file_server(folder: Path) -> Iterator[str]:
    """Serve a folder over HTTP, with range requests, which reading remote NWB files needs."""
    from flask import Flask, Response, send_from_directory
    from werkzeug.serving import make_server

    app = Flask(__name__)

    @app.get("/<path:name>")
    def send(name: str) -> Response:
        return send_from_directory(folder, name, conditional=True)

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, name="demo-files", daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        server.server_close()


def _wait_for_ctrl_c() -> None:
    with contextlib.suppress(KeyboardInterrupt):
        # In short sleeps: on Windows, Ctrl-C does not interrupt a wait without a time-out.
        while True:
            time.sleep(0.5)
