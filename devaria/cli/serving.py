"""The commands that keep something running: `runner`, `worker`, `demo`."""

import os
import sys
from pathlib import Path
from typing import Optional

import click

from devaria.cli.options import (
    Amount,
    examples,
    handlers_option,
    key,
    listed,
    shown_to_its_end,
)
from devaria.cli.runner_options import runner_options

DEFAULT_WORKER_PORT = 8787


@click.command(epilog=examples("devaria runner", "devaria runner --types hello_world --burst"))
@runner_options
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
