"""Run the demo: a worker, a runner, a file server and some jobs on this machine."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Dict, Iterator, Mapping, Optional

import requests

from devaria.client.client import WorkerClient
from devaria.client.http import JsonObject
from devaria.common.child_process import end_group, own_group
from devaria.common.errors import EXIT_FAILED, EXIT_OK, BadSetting
from devaria.common.folders import temporary_folder
from devaria.jobs import JOB_HANDLERS
from devaria.runner.log import LOG_FILE

if TYPE_CHECKING:
    from devaria.worker.server import LocalWorker

#: Shows a job until it ends; takes a client and a job id, and returns the exit code.
Show = Callable[[WorkerClient, str], int]

#: Prints a line.
Say = Callable[[str], None]


def run_demo(*, serve_on: bool, say: Say, show: Show) -> int:
    """Run the demo.

    Args:
        serve_on: Whether to go on serving the figures after the jobs have ended, until Ctrl-C.
        say: Prints a line.
        show: Shows a job until it ends.

    Returns:
        0 if all jobs completed and the figures can be fetched, else 1.

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
        folder = stack.enter_context(temporary_folder("devaria-demo-"))
        (folder / "data").mkdir()
        worker = stack.enter_context(LocalWorker(folder / "worker", port=0))
        stack.enter_context(_runner(folder / "runner", worker))  # it starts meanwhile
        say("Making a small NWB file: 60 units, a walking animal, a calcium movie")
        spikes = write_synthetic_nwb(folder / "data" / "demo.nwb", pose_sec=60, movie_sec=100)
        files_url = stack.enter_context(file_server(folder / "data"))
        say(f"Serving the file ({spikes:,} spikes), and a worker at {worker.url}")
        client = WorkerClient(worker.url, worker.keys.submit)
        stack.callback(client.close)
        figure_urls = _run_jobs(client, _jobs(f"{files_url}/demo.nwb", say), say, show)
        if figure_urls is None:
            say((folder / "runner" / LOG_FILE).read_text(encoding="utf-8"))
            return EXIT_FAILED
        for job_type, figure_url in figure_urls.items():
            say(f"The figure: {figure_url} ({job_type})")
        if serve_on:
            say("Open them in a browser; Ctrl-C ends the demo")
            _wait_for_ctrl_c()
    return EXIT_OK


def _jobs(nwb_url: str, say: Say) -> Dict[str, JsonObject]:
    """Return the parameters of the jobs that can run here; say why others are left out."""
    from devaria.figures.api_key import KEY_MISSING
    from devaria.nwb.synthetic import MOVIE_PATH, POSE_PATH, UNITS_PATH

    figures: Dict[str, JsonObject] = {
        "figpack_nwb_raster_plot": {"units_path": UNITS_PATH},
        "figpack_nwb_pose_estimation": {"path": POSE_PATH},
        "figpack_nwb_video_preview": {"image_series_path": MOVIE_PATH},
    }
    jobs: Dict[str, JsonObject] = {"hello_world": {"name": "Alice", "processing_time": 1}}
    for job_type, params in figures.items():
        reasons = JOB_HANDLERS[job_type].missing_requirements()
        # The runner has a key of the demo's own.
        reasons = [reason for reason in reasons if reason != KEY_MISSING]
        if reasons:
            say(f"{job_type} is left out: {'; '.join(reasons)}")
        else:
            jobs[job_type] = {"nwb_url": nwb_url, **params}
    return jobs


def _run_jobs(
    client: WorkerClient, jobs: Mapping[str, JsonObject], say: Say, show: Show
) -> Optional[Dict[str, str]]:
    """Run the jobs; return the URLs of the figures, or None if anything failed."""
    submitted = {name: client.submit(name, params).job_id for name, params in jobs.items()}
    for name, job_id in submitted.items():
        say(f"{name}:")
        if show(client, job_id) != EXIT_OK:
            return None
    results = {name: client.job(job_id).output_data for name, job_id in submitted.items()}
    urls = {
        name: str(result["figpack_url"])
        for name, result in results.items()
        if "figpack_url" in result
    }
    return urls if all(map(_is_page, urls.values())) else None


def _is_page(url: str) -> bool:
    with requests.Session() as session:
        session.trust_env = False  # a proxy could not reach this machine's loopback
        answer = session.get(url, timeout=10)
    return answer.ok and "<html" in answer.text.lower()


@contextlib.contextmanager
def _runner(directory: Path, worker: "LocalWorker") -> Iterator[None]:
    """Run a runner process, as an operator would start it."""
    environ = {
        **os.environ,
        "DEVARIA_RUNNER_API_KEY": worker.keys.runner,
        "FIGPACK_API_KEY": worker.keys.figure,
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
