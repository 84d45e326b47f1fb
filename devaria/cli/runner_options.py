"""The options of a runner, which `devaria runner` works by and `devaria doctor` looks at."""

from typing import Any, Callable, TypeVar

import click

from devaria.cli.options import (
    Amount,
    directory_option,
    handlers_option,
    insecure_option,
    worker_url_option,
)
from devaria.config import DEFAULT_JOB_TIMEOUT_SEC, DEFAULT_POLL_INTERVAL_SEC

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
