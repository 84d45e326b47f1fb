"""What a command keeps running: a runner or a worker as a process, with lock, log and signals."""

import logging
import os
import queue
import signal
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Dict, Optional, Sequence

from devaria.client import WorkerClient
from devaria.config import RunnerSettings
from devaria.directory import directory_lock, prepare_directory
from devaria.errors import BadSetting, DevariaError
from devaria.jobs.loading import find_handlers
from devaria.log import set_up_logging
from devaria.runner import JobRunner
from devaria.stop import StopRequest
from devaria.wakeup import Wakeup

if TYPE_CHECKING:
    from devaria.worker.job_forms import ParamForm

_log = logging.getLogger(__name__)

#: The part of the machine's memory that one job may use where the operator sets no bound.
_DEFAULT_MEMORY_PART = 0.9


#: What the dashboard's forms call the types of parameters.
_FORM_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}


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
            return JobRunner(settings, client, find_handlers(settings.handlers), wakeup, stop).run()
        except DevariaError as error:
            _log.error("Ended: %s", error)  # where nobody sees stderr, the log tells why
            raise
        except Exception:
            _log.critical("Ended by an unexpected error", exc_info=True)
            raise
        finally:
            _leave_closed_streams()


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
    data_dir: Path,
    host: str,
    port: int,
    *,
    rate_limit: bool,
    requeue_after_sec: float,
    handlers: Sequence[str],
    say: Callable[[str], None],
) -> None:
    """Serve a local worker in this process until SIGINT or SIGTERM.

    Args:
        data_dir: Where jobs, figures and keys are kept.
        host: The address to listen on.
        port: The port; 0 for a free one.
        rate_limit: Whether to limit requests as the contract does.
        requeue_after_sec: How long a runner may be silent before its job goes to another one, in
            seconds; 0 for without end.
        handlers: Handlers beside the installed ones, whose parameters the dashboard asks for.
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
        local_worker = LocalWorker(
            data_dir,
            host=host,
            port=port,
            keys=keys,
            rate_limit=rate_limit,
            requeue_after_sec=requeue_after_sec,
            job_forms=_job_forms(handlers),
        )
        local_worker.start()
    except (OSError, ValueError, sqlite3.Error) as error:
        raise BadSetting(f"cannot serve a worker: {error}") from None
    try:
        for line in keys.export_lines():
            say(line)
        say(f"export DEVARIA_WORKER_URL={local_worker.url}")
        say(f"export FIGPACK_API_BASE_URL={local_worker.figpack_api_url}")
        say(f"export FIGPACK_API_KEY={keys.runner}")
        say(f"Dashboard: {local_worker.dashboard_url}")
        say(f"Serving on {local_worker.url}, data in {data_dir}; Ctrl-C to end")
        ended.get()
    finally:
        local_worker.stop()


def _job_forms(handlers: Sequence[str]) -> "Dict[str, Dict[str, ParamForm]]":
    """Say what parameters the dashboard has to ask for, by job type."""
    from devaria.worker.job_forms import ParamForm

    return {
        job_type: {
            name: ParamForm(
                type=_FORM_TYPES.get(param.type, "json"),
                required=param.is_required,
                default=None if param.is_required else param.default,
                description=f"{param.description}; {param.allowed}",
            )
            for name, param in found.handler.params.items()
        }
        for job_type, found in find_handlers(handlers).items()
        if found.handler is not None and found.handler.params
    }
