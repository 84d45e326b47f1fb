"""Who this runner is at its worker: the id it has, or a new one; and what it can offer."""

import logging
import time
from pathlib import Path
from typing import Optional, Sequence

from devaria.common.config import RunnerConfig, new_runner_name
from devaria.runner.retrying import Caller

#: How long a worker that cannot be reached at start is waited for, in seconds.
START_PATIENCE_SEC = 300.0

_log = logging.getLogger(__name__)


def identify(caller: Caller, directory: Path, job_types: Sequence[str]) -> RunnerConfig:
    """Use the id from `.devaria_runner.json` where the worker knows it; else register.

    Args:
        caller: Makes the requests; its client gets the id.
        directory: The runner's directory.
        job_types: The job types that the runner can run.

    Returns:
        The runner's id and name.

    Raises:
        AbandonedError: The operator ends the runner.
        WorkerGivenUp: The worker did not answer for 5 minutes.
        WorkerError: It refuses the key, or answers what cannot be tried again.
        BadSetting: The file cannot be read or written.
    """
    give_up_at = time.monotonic() + START_PATIENCE_SEC
    config, set_aside = RunnerConfig.load(directory)
    if set_aside is not None:
        _log.warning("the runner's file was corrupt; it is set aside as %s", set_aside.name)
    if config is not None and _is_known(caller, config, give_up_at):
        _log.info("Verified as %s (id %s)", config.runner_name, config.runner_id)
        return config
    return register(caller, directory, job_types, give_up_at)


def register(
    caller: Caller,
    directory: Path,
    job_types: Sequence[str],
    give_up_at: Optional[float] = None,
) -> RunnerConfig:
    """Register as a new runner, and keep the id in `.devaria_runner.json`.

    Args:
        caller: Makes the request; its client gets the id.
        directory: The runner's directory.
        job_types: The job types that the runner can run.
        give_up_at: When to give up, on the monotonic clock in seconds; None for never.

    Returns:
        The new id and name.

    Raises:
        AbandonedError: The operator ends the runner.
        WorkerGivenUp: The time was over.
        WorkerError: The worker refuses the key, or answers what cannot be tried again.
        BadSetting: The file cannot be written.
    """
    name = new_runner_name()
    runner_id = caller.until_answered(
        lambda client: client.register(name, job_types), give_up_at=give_up_at
    )
    config = RunnerConfig(runner_id, name)
    config.save(directory)
    caller.client.runner_id = runner_id
    _log.info("Registered as %s (id %s)", name, runner_id)
    return config


def _is_known(caller: Caller, config: RunnerConfig, give_up_at: float) -> bool:
    caller.client.runner_id = config.runner_id
    known_as: Optional[str] = caller.until_answered(
        lambda client: client.verify(), give_up_at=give_up_at
    )
    if known_as is None:
        _log.warning("the worker does not know runner id %s (any more)", config.runner_id)
    return known_as is not None
