"""The command `worker`."""

from pathlib import Path
from typing import TYPE_CHECKING, Dict, Optional, Sequence

import click

from devaria.cli.options import Amount, examples, handlers_option, listed
from devaria.common.errors import BadSetting

if TYPE_CHECKING:
    from devaria.worker.dashboard.job_forms import ParamForm

DEFAULT_WORKER_PORT = 8787

#: The dashboard's names for the types of parameters.
_FORM_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}


@click.command(epilog=examples("devaria worker", "devaria worker --data /srv/devaria --port 9000"))
@click.option(
    "--data",
    envvar="DEVARIA_WORKER_DATA",
    show_envvar=True,
    type=click.Path(path_type=Path),
    default=Path("devaria_worker_data"),
    show_default=True,
    metavar="DIR",
    help="The directory for jobs, figures and keys.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_WORKER_PORT,
    show_default=True,
    help="The port to listen on; 0 takes a free one.",
)
@click.option("--no-rate-limit", is_flag=True, help="Do not limit the rate of requests.")
@click.option(
    "--requeue-after",
    envvar="DEVARIA_REQUEUE_AFTER",
    show_envvar=True,
    type=Amount(min=0, max=31_536_000),
    default=600.0,
    show_default=True,
    metavar="SEC",
    help="Give a job to another runner after its runner was silent for this long; 0: never.",
)
@click.option(
    "--figures-quota",
    envvar="DEVARIA_FIGURES_QUOTA",
    show_envvar=True,
    type=Amount(min=0, max=1_000_000),
    default=20.0,
    show_default=True,
    metavar="GB",
    help="Refuse uploads when the figures take this much; 0: never.",
)
@handlers_option
def worker(
    data: Path,
    host: str,
    port: int,
    no_rate_limit: bool,
    requeue_after: float,
    figures_quota: float,
    handlers: Optional[str],
) -> None:
    """Serve a worker and a figure store on this machine.

    Ends at SIGINT or SIGTERM. Takes the keys from DEVARIA_RUNNER_API_KEY,
    DEVARIA_SUBMIT_API_KEY and DEVARIA_ADMIN_API_KEY. For those that are not set, the first
    start makes keys and keeps them in the data directory.
    """
    try:
        from devaria.worker.main import run_worker
    except ImportError as error:
        raise BadSetting(
            f"{error}; install what the worker needs: pip install 'devaria[worker]'"
        ) from None

    run_worker(
        data,
        host,
        port,
        rate_limit=not no_rate_limit,
        requeue_after_sec=requeue_after,
        figures_quota_bytes=round(figures_quota * 10**9),
        job_forms=_job_forms(listed(handlers)),
        say=click.echo,
    )


def _job_forms(handlers: Sequence[str]) -> "Dict[str, Dict[str, ParamForm]]":
    """Return the parameters that the dashboard's forms ask for, by job type and name."""
    from devaria.jobs.loading import find_handlers
    from devaria.worker.dashboard.job_forms import ParamForm

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
