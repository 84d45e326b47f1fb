"""Find or register the id of this runner at its worker."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Sequence, Tuple

from devaria.common.config import RunnerConfig, new_runner_name
from devaria.runner.retrying import Caller

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Registration:
    """How the worker knows this runner.

    Args:
        runner_id: The id that the worker gave.
        runner_name: The name that the runner was registered under.
        job_types: The job types that it offers.
    """

    runner_id: str
    runner_name: str
    job_types: Tuple[str, ...]


def identify(
    caller: Caller, directory: Path, job_types: Sequence[str], patience_sec: float
) -> Registration:
    """Use the id from `.devaria_runner.json` if the worker knows it; else register.

    Args:
        caller: Makes the requests.
        directory: The runner's directory.
        job_types: The job types that the runner can run.
        patience_sec: How long to wait for a worker that does not answer, in seconds.

    Raises:
        AbandonedError: The operator ends the runner.
        WorkerGivenUp: The worker did not answer in this time.
        WorkerError: It refuses the key, or fails in a way that is not transient.
        BadSetting: The file cannot be read or written.
    """
    give_up_at = time.monotonic() + patience_sec
    config, set_aside = RunnerConfig.load(directory)
    if set_aside is not None:
        _log.warning("the runner's file was corrupt; it is set aside as %s", set_aside.name)
    if config is not None and _is_known(caller, config, give_up_at):
        _log.info("Verified as %s (id %s)", config.runner_name, config.runner_id)
        return Registration(config.runner_id, config.runner_name, tuple(job_types))
    return register(caller, directory, job_types, give_up_at)


def register(
    caller: Caller,
    directory: Path,
    job_types: Sequence[str],
    give_up_at: Optional[float] = None,
) -> Registration:
    """Register as a new runner, and keep the id in `.devaria_runner.json`.

    Args:
        caller: Makes the request.
        directory: The runner's directory.
        job_types: The job types that the runner can run.
        give_up_at: When to give up, on the monotonic clock in seconds; None for never.

    Raises:
        AbandonedError: The operator ends the runner.
        WorkerGivenUp: The worker did not answer before `give_up_at`.
        WorkerError: The worker refuses the key, or fails in a way that is not transient.
        BadSetting: The file cannot be written.
    """
    name = new_runner_name()
    runner_id = caller.until_answered(
        lambda client: client.register(name, job_types), give_up_at=give_up_at
    )
    RunnerConfig(runner_id, name).save(directory)
    _log.info("Registered as %s (id %s)", name, runner_id)
    return Registration(runner_id, name, tuple(job_types))


def _is_known(caller: Caller, config: RunnerConfig, give_up_at: float) -> bool:
    known_as: Optional[str] = caller.until_answered(
        lambda client: client.verify(config.runner_id), give_up_at=give_up_at
    )
    if known_as is None:
        _log.warning("the worker does not know runner id %s (any more)", config.runner_id)
    return known_as is not None
