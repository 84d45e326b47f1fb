"""Serve a local worker in this process until a signal ends it."""

import os
import queue
import signal
import sqlite3
from pathlib import Path
from typing import Callable

from devaria.common.errors import BadSetting
from devaria.worker.connections import MAX_CONNECTIONS
from devaria.worker.dashboard.job_forms import JobForms
from devaria.worker.keys import WorkerKeys
from devaria.worker.server import LocalWorker
from devaria.worker.store.database import DatabaseBusy

#: Files beside the connections that a worker may have open.
_OTHER_FILES = 100


def run_worker(
    data_dir: Path,
    host: str,
    port: int,
    *,
    rate_limit: bool,
    requeue_after_sec: float,
    figures_quota_bytes: int,
    job_forms: JobForms,
    say: Callable[[str], None],
) -> None:
    """Serve a local worker in this process until SIGINT or SIGTERM.

    Args:
        data_dir: The directory for jobs, figures and keys.
        host: The address to listen on.
        port: The port; 0 for a free one.
        rate_limit: Whether to limit requests as the contract does.
        requeue_after_sec: Seconds of a runner's silence after which its job goes to another
            runner; 0 for never.
        figures_quota_bytes: How much the figures may take; 0 for no limit.
        job_forms: The parameters that the dashboard asks for.
        say: Prints a line for the operator.

    Raises:
        BadSetting: The data directory cannot be used, or the port is taken.
    """
    # A connection may have a file for a large body beside its socket.
    allow_open_files(2 * MAX_CONNECTIONS + _OTHER_FILES)
    signals: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: signals.put(number))
    try:
        keys = WorkerKeys.load_or_create(data_dir, os.environ)
        local_worker = LocalWorker(
            data_dir,
            host=host,
            port=port,
            keys=keys,
            rate_limit=rate_limit,
            requeue_after_sec=requeue_after_sec,
            job_forms=job_forms,
            allow_hosts=os.environ.get("DEVARIA_ALLOW_HOSTS", "").split(","),
            figures_quota_bytes=figures_quota_bytes,
        )
        local_worker.start()
    except (OSError, ValueError, sqlite3.Error, DatabaseBusy) as error:
        raise BadSetting(f"cannot serve a worker: {error}") from None
    try:
        for line in keys.export_lines():
            say(line)
        say(f"export DEVARIA_WORKER_URL={local_worker.url}")
        say(f"export FIGPACK_API_BASE_URL={local_worker.figpack_api_url}")
        say(f"export FIGPACK_API_KEY={keys.figure}")
        say(f"Dashboard: {local_worker.dashboard_url}")
        say(f"Serving on {local_worker.url}, data in {data_dir}; Ctrl-C to end")
        signals.get()
    finally:
        local_worker.stop()


def allow_open_files(number: int) -> None:
    """Let this process open at least so many files, if the system lets it; macOS has 256."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number if hard == resource.RLIM_INFINITY else min(number, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
