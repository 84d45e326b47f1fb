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
from devaria.common.config import DEFAULT_JOB_TIMEOUT_SEC, DEFAULT_POLL_INTERVAL_SEC

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
        help="Seconds between two polls that found nothing.",
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
        help="Exit after so many seconds in which no job was to be had.",
    ),
    click.option(
        "--max-time",
        envvar="DEVARIA_MAX_TIME",
        show_envvar=True,
        type=Amount(min=0),
        metavar="SEC",
        help="Claim no job after so many seconds; exit when the one in hand is reported.",
    ),
    click.option(
        "--job-timeout",
        envvar="DEVARIA_JOB_TIMEOUT",
        show_envvar=True,
        type=Amount(min=1),
        default=DEFAULT_JOB_TIMEOUT_SEC,
        show_default=True,
        metavar="SEC",
        help="Running time of a job, in seconds, where its handler sets none.",
    ),
    click.option(
        "--max-job-memory",
        envvar="DEVARIA_MAX_JOB_MEMORY",
        show_envvar=True,
        type=Amount(min=0, min_open=True),
        metavar="GB",
        help="Memory of a job and all that it starts. [default: 90 % of the machine's]",
    ),
    handlers_option,
    insecure_option,
    click.option(
        "-v",
        "--verbose",
        envvar="DEVARIA_VERBOSE",
        show_envvar=True,
        is_flag=True,
        help="Log also what happens below the events.",
    ),
)


def runner_options(command: Command) -> Command:
    """Give a command the options of a runner.

    Args:
        command: What click is to call.

    Returns:
        The same, with the options.
    """
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
    burst: bool,
    max_jobs: Optional[int],
    max_idle: Optional[float],
    max_time: Optional[float],
    job_timeout: float,
    max_job_memory: Optional[float],
    handlers: Optional[str],
    insecure: bool,
    verbose: bool,
) -> None:
    """Poll the worker for jobs and run them, until SIGINT or SIGTERM.

    Needs the runner key in DEVARIA_RUNNER_API_KEY. The first signal lets the job in hand finish,
    a second one ends it.
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
        burst=burst,
        max_jobs=max_jobs,
        max_idle_sec=max_idle,
        max_time_sec=max_time,
        job_timeout_sec=job_timeout,
        max_job_memory_bytes=memory_bound_bytes(max_job_memory),
        handlers=listed(handlers),
        environ=os.environ,
        **(overrides or {}),
    )
    sys.exit(run_runner(settings, verbose=verbose))
