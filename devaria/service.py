"""What a command keeps running: a runner or a worker as a process, with lock, log and signals."""

import os
import queue
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Callable, Dict, Optional, Type

from devaria.client import WorkerClient
from devaria.config import RunnerSettings, directory_lock, prepare_directory
from devaria.errors import BadSetting
from devaria.jobs import JobHandler
from devaria.jobs.loading import load_handlers
from devaria.log import set_up_logging
from devaria.runner import JobRunner
from devaria.stop import StopRequest
from devaria.wakeup import Wakeup

#: The part of the machine's memory that one job may use where the operator sets no bound.
_DEFAULT_MEMORY_PART = 0.9


def run_runner(settings: RunnerSettings, *, verbose: bool) -> int:
    """Run a runner in this process until it ends.

    Args:
        settings: The operator's choices.
        verbose: Log also what happens below the events.

    Returns:
        The exit code.

    Raises:
        DevariaError: The runner cannot start, or the worker refuses it.
    """
    wakeup = Wakeup()
    stop = StopRequest(wakeup)
    prepare_directory(settings.directory)
    with directory_lock(settings.directory):
        set_up_logging(settings.directory, verbose=verbose, secrets=settings.secrets)
        stop.listen()
        client = WorkerClient(settings.worker_url, settings.api_key)
        try:
            return JobRunner(settings, client, _handlers(settings), wakeup, stop).run()
        finally:
            _leave_closed_streams()


def _handlers(settings: RunnerSettings) -> Dict[str, Type[JobHandler]]:
    try:
        return load_handlers(settings.handlers)
    except Exception as error:  # importing a handler's module runs anybody's code
        raise BadSetting(f"cannot load --handlers: {type(error).__name__}: {error}") from None


def _leave_closed_streams() -> None:
    """Let no terminal that was closed meanwhile turn a good end into Python's exit code 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def memory_bound_bytes(gigabytes: Optional[float]) -> float:
    """Tell how much memory a job may use.

    Args:
        gigabytes: The operator's choice, in 10^9 bytes; None for 90 % of the machine's.

    Returns:
        The bound in bytes.
    """
    if gigabytes is not None:
        return gigabytes * 1e9
    import psutil

    return float(psutil.virtual_memory().total * _DEFAULT_MEMORY_PART)


def run_worker(
    data_dir: Path, host: str, port: int, *, rate_limit: bool, say: Callable[[str], None]
) -> None:
    """Serve a local worker in this process until SIGINT or SIGTERM.

    Args:
        data_dir: Where jobs, figures and keys are kept.
        host: The address to listen on.
        port: The port; 0 for a free one.
        rate_limit: Whether to limit requests as the contract does.
        say: Prints a line for the operator.

    Raises:
        BadSetting: A package is missing, the data directory cannot be used, or the port is taken.
    """
    try:
        from devaria.worker.keys import WorkerKeys
        from devaria.worker.server import LocalWorker
    except ImportError as error:
        raise BadSetting(
            f"{error}; install what the worker needs: pip install 'devaria[worker]'"
        ) from None

    ended: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: ended.put(number))
    try:
        keys = WorkerKeys.load_or_create(data_dir, os.environ)
        local_worker = LocalWorker(data_dir, host=host, port=port, keys=keys, rate_limit=rate_limit)
        local_worker.start()
    except (OSError, ValueError, sqlite3.Error) as error:
        raise BadSetting(f"cannot serve a worker: {error}") from None
    try:
        for line in keys.export_lines():
            say(line)
        say(f"export DEVARIA_WORKER_URL={local_worker.url}")
        say(f"export FIGPACK_API_BASE_URL={local_worker.figpack_api_url}")
        say(f"export FIGPACK_API_KEY={keys.runner}")
        say(f"Serving on {local_worker.url}, data in {data_dir}; Ctrl-C to end")
        ended.get()
    finally:
        local_worker.stop()
