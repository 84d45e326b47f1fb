"""The command `runner`, and its options, which `doctor` takes too."""

import os
import sys
from typing import Any, Callable, Mapping, Optional, TypeVar

import click

from devaria.cli.options import (
    Amount,
    directory_option,
    examples,
    handlers_option,
    insecure_option,
    key,
    listed,
    worker_url_option,
)
from devaria.common.config import (
    DEFAULT_JOB_DISK_GB,
    DEFAULT_JOB_TIMEOUT_SEC,
    DEFAULT_POLL_INTERVAL_SEC,
)

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    worker_url_option,
    directory_option,
    click.option(
        "--types",
        envvar="DEVARIA_TYPES",
        show_envvar=True,
        metavar="A,B",
        help="The job types to run. [default: all that can run here]",
    ),
    click.option(
        "--poll-interval",
        envvar="DEVARIA_POLL_INTERVAL",
        show_envvar=True,
        type=Amount(min=0.1, max=86_400),
        default=DEFAULT_POLL_INTERVAL_SEC,
        show_default=True,
        metavar="SEC",
        help="Seconds to wait after a poll that found no job.",
    ),
    click.option(
        "--no-wait",
        envvar="DEVARIA_NO_WAIT",
        show_envvar=True,
        is_flag=True,
        help="Do not ask the worker to hold a poll until there is a job.",
    ),
    click.option(
        "--burst",
        envvar="DEVARIA_BURST",
        show_envvar=True,
        is_flag=True,
        help="Exit when nothing is left to do.",
    ),
    click.option(
        "--max-jobs",
        envvar="DEVARIA_MAX_JOBS",
        show_envvar=True,
        type=click.IntRange(min=1),
        metavar="N",
        help="Exit after N jobs.",
    ),
    click.option(
        "--max-idle",
        envvar="DEVARIA_MAX_IDLE",
        show_envvar=True,
        type=Amount(min=0),
        metavar="SEC",
        help="Exit after SEC seconds without a job.",
    ),
    click.option(
        "--max-time",
        envvar="DEVARIA_MAX_TIME",
        show_envvar=True,
        type=Amount(min=0),
        metavar="SEC",
        help="Claim no more jobs after SEC seconds; exit when the current job is reported.",
    ),
    click.option(
        "--job-timeout",
        envvar="DEVARIA_JOB_TIMEOUT",
        show_envvar=True,
        type=Amount(min=1),
        default=DEFAULT_JOB_TIMEOUT_SEC,
        show_default=True,
        metavar="SEC",
        help="The longest time that a job may run, in seconds, if its handler sets none.",
    ),
    click.option(
        "--max-job-memory",
        envvar="DEVARIA_MAX_JOB_MEMORY",
        show_envvar=True,
        type=Amount(min=0, min_open=True),
        metavar="GB",
        help="Memory for a job and its processes. [default: 90 % of the machine's]",
    ),
    click.option(
        "--max-job-disk",
        envvar="DEVARIA_MAX_JOB_DISK",
        show_envvar=True,
        type=Amount(min=0, min_open=True),
        default=DEFAULT_JOB_DISK_GB,
        show_default=True,
        metavar="GB",
        help="Disk space for a job's temporary files.",
    ),
    handlers_option,
    click.option(
        "--no-preload",
        envvar="DEVARIA_NO_PRELOAD",
        show_envvar=True,
        is_flag=True,
        help="Import nothing ahead while idle; saves memory.",
    ),
    insecure_option,
    click.option(
        "-v",
        "--verbose",
        envvar="DEVARIA_VERBOSE",
        show_envvar=True,
        is_flag=True,
        help="Log details too.",
    ),
)


def runner_options(command: Command) -> Command:
    """Add the options of a runner to a command, as a decorator."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command(epilog=examples("devaria runner", "devaria runner --types hello_world --burst"))
@runner_options
@click.pass_obj
def runner(
    overrides: "Optional[Mapping[str, Any]]",
    worker_url: str,
    directory: str,
    types: Optional[str],
    poll_interval: float,
    no_wait: bool,
    burst: bool,
    max_jobs: Optional[int],
    max_idle: Optional[float],
    max_time: Optional[float],
    job_timeout: float,
    max_job_memory: Optional[float],
    max_job_disk: float,
    handlers: Optional[str],
    no_preload: bool,
    insecure: bool,
    verbose: bool,
) -> None:
    """Poll the worker for jobs and run them, until SIGINT or SIGTERM.

    Needs the runner key in DEVARIA_RUNNER_API_KEY. After the first signal the runner finishes
    its job; a second signal ends the job.
    """
    from devaria.common import config
    from devaria.common.files import filled_in
    from devaria.execution.limits import memory_bound_bytes
    from devaria.runner.main import run_runner

    settings = config.RunnerSettings(
        worker_url=config.checked_worker_url(worker_url, insecure=insecure),
        api_key=key(config.RUNNER_KEY_VARIABLE),
        directory=filled_in(directory),
        job_types=listed(types) or None,
        poll_interval_sec=poll_interval,
        no_wait=no_wait,
        burst=burst,
        max_jobs=max_jobs,
        max_idle_sec=max_idle,
        max_time_sec=max_time,
        job_timeout_sec=job_timeout,
        max_job_memory_bytes=memory_bound_bytes(max_job_memory),
        max_job_disk_bytes=max_job_disk * 1e9,
        handlers=listed(handlers),
        insecure=insecure,
        preload=not no_preload,
        environ=os.environ,
        **(overrides or {}),
    )
    sys.exit(run_runner(settings, verbose=verbose))
