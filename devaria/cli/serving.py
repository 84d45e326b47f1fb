"""The commands that keep something running: `runner`, `worker`, `demo`."""

import os
import sys
from pathlib import Path
from typing import Optional

import click

from devaria.cli.options import (
    Amount,
    directory_option,
    examples,
    handlers_option,
    insecure_option,
    key,
    listed,
    shown_to_its_end,
    worker_url_option,
)

DEFAULT_WORKER_PORT = 8787


@click.command(epilog=examples("devaria runner", "devaria runner --types hello_world --burst"))
@worker_url_option
@directory_option
@click.option(
    "--types",
    envvar="DEVARIA_TYPES",
    show_envvar=True,
    metavar="A,B",
    help="The job types to run. [default: all that can run here]",
)
@click.option(
    "--poll-interval",
    envvar="DEVARIA_POLL_INTERVAL",
    show_envvar=True,
    type=Amount(min=0.1, max=86_400),
    default=30.0,
    show_default=True,
    metavar="SEC",
    help="Seconds between two polls that found nothing.",
)
@click.option(
    "--burst",
    envvar="DEVARIA_BURST",
    show_envvar=True,
    is_flag=True,
    help="Exit when nothing is left to do.",
)
@click.option(
    "--max-jobs",
    envvar="DEVARIA_MAX_JOBS",
    show_envvar=True,
    type=click.IntRange(min=1),
    metavar="N",
    help="Exit after N jobs.",
)
@click.option(
    "--max-idle",
    envvar="DEVARIA_MAX_IDLE",
    show_envvar=True,
    type=Amount(min=0),
    metavar="SEC",
    help="Exit after so many seconds in which no job was to be had.",
)
@click.option(
    "--max-time",
    envvar="DEVARIA_MAX_TIME",
    show_envvar=True,
    type=Amount(min=0),
    metavar="SEC",
    help="Claim no job after so many seconds; exit when the one in hand is reported.",
)
@click.option(
    "--job-timeout",
    envvar="DEVARIA_JOB_TIMEOUT",
    show_envvar=True,
    type=Amount(min=1),
    default=21_600.0,
    show_default=True,
    metavar="SEC",
    help="Running time of a job, in seconds, where its handler sets none.",
)
@click.option(
    "--max-job-memory",
    envvar="DEVARIA_MAX_JOB_MEMORY",
    show_envvar=True,
    type=Amount(min=0, min_open=True),
    metavar="GB",
    help="Memory of a job and all that it starts. [default: 90 % of the machine's]",
)
@handlers_option
@insecure_option
@click.option(
    "-v",
    "--verbose",
    envvar="DEVARIA_VERBOSE",
    show_envvar=True,
    is_flag=True,
    help="Log also what happens below the events.",
)
def runner(
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
    from devaria import config, service
    from devaria.directory import filled_in

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
        max_job_memory_bytes=service.memory_bound_bytes(max_job_memory),
        handlers=listed(handlers),
        environ=os.environ,
    )
    sys.exit(service.run_runner(settings, verbose=verbose))


@click.command(epilog=examples("devaria worker", "devaria worker --data /srv/devaria --port 9000"))
@click.option(
    "--data",
    envvar="DEVARIA_WORKER_DATA",
    show_envvar=True,
    type=click.Path(path_type=Path),
    default=Path("devaria_worker_data"),
    show_default=True,
    metavar="DIR",
    help="Where jobs, figures and keys are kept.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_WORKER_PORT,
    show_default=True,
    help="The port to listen on; 0 for a free one.",
)
@click.option("--no-rate-limit", is_flag=True, help="Do not limit requests as the contract does.")
@click.option(
    "--requeue-after",
    envvar="DEVARIA_REQUEUE_AFTER",
    show_envvar=True,
    type=Amount(min=0, max=31_536_000),
    default=600.0,
    show_default=True,
    metavar="SEC",
    help="Give a job to another runner when its own has been silent so long; 0 for never.",
)
@handlers_option
def worker(
    data: Path,
    host: str,
    port: int,
    no_rate_limit: bool,
    requeue_after: float,
    handlers: Optional[str],
) -> None:
    """Serve a worker and a figure store on this machine, until SIGINT or SIGTERM.

    Keys are taken from DEVARIA_RUNNER_API_KEY, DEVARIA_SUBMIT_API_KEY and DEVARIA_ADMIN_API_KEY;
    those that are not set are made at the first start, and kept in the data directory.
    """
    from devaria import service

    service.run_worker(
        data,
        host,
        port,
        rate_limit=not no_rate_limit,
        requeue_after_sec=requeue_after,
        handlers=listed(handlers),
        say=click.echo,
    )


@click.command(epilog=examples("devaria demo", "devaria demo --exit"))
@click.option("--exit", "exit_at_end", is_flag=True, help="Exit when both jobs have ended.")
def demo(exit_at_end: bool) -> None:
    """Show it all on this machine: a worker, a runner, two jobs, and the figure that comes out.

    Needs no internet and no keys, and leaves no files.
    """
    from devaria import demo as the_demo

    sys.exit(the_demo.run(serve_on=not exit_at_end, say=click.echo, show=shown_to_its_end))
