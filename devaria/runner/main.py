"""Run a runner as a process: with its lock, its log and its signals."""

import logging
import os
import sys

from devaria.client.client import WorkerClient
from devaria.common.config import RunnerSettings
from devaria.common.errors import DevariaError, OutOfResources, out_of_resources
from devaria.common.files import directory_lock, prepare_directory
from devaria.common.redaction import MIN_KEY_CHARACTERS, is_too_short
from devaria.execution.keeper import adopt_orphans
from devaria.execution.signals import StopRequest, Wakeup
from devaria.jobs.loading import find_handlers
from devaria.runner.log import set_up_logging
from devaria.runner.runner import JobRunner, text_of_shortage

_log = logging.getLogger(__name__)


def run_runner(settings: RunnerSettings, *, verbose: bool) -> int:
    """Run a runner in this process until it ends.

    Args:
        settings: The operator's choices.
        verbose: Log details, too: requests, waits, heartbeats.

    Returns:
        The exit code.

    Raises:
        DevariaError: The runner cannot start, or the worker refuses it.
    """
    wakeup = Wakeup()
    stop = StopRequest(wakeup)
    prepare_directory(settings.directory)
    with directory_lock(settings.directory) as aside:
        aside += set_up_logging(
            settings.directory,
            verbose=verbose,
            secrets=settings.secrets,
            file_bytes=settings.log_file_bytes,
        )
        for path in aside:
            _log.warning("no file of a runner; it is set aside as %s", path)
        _warn_of_short_keys(settings)
        stop.listen()
        adopt_orphans()
        client = WorkerClient(settings.worker_url, settings.api_key, settings.timing)
        try:
            return JobRunner(settings, client, find_handlers(settings.handlers), wakeup, stop).run()
        except DevariaError as error:
            _log.error("Ended: %s", error)  # a service may have no stderr to show it
            raise
        except Exception as error:
            if out_of_resources(error):
                _log.error("Ended: %s", text_of_shortage(error))
                raise OutOfResources(text_of_shortage(error)) from None
            _log.critical("Ended by an unexpected error", exc_info=True)
            raise
        finally:
            _replace_closed_streams()


def _warn_of_short_keys(settings: RunnerSettings) -> None:
    for variable, key in settings.keys.items():
        if is_too_short(key):
            _log.warning(
                "%s has fewer than %d characters, so it is not cut out of texts; use a longer key",
                variable,
                MIN_KEY_CHARACTERS,
            )


def _replace_closed_streams() -> None:
    """Replace streams of a closed terminal: Python exits with 120 if it cannot flush one."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
