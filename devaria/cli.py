"""The `devaria` command: parses, calls, prints, exits. What it calls is imported when called."""

import json
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Tuple

import click

from devaria import __version__
from devaria.errors import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    BadSetting,
    DevariaError,
    MissingKey,
)

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

    from devaria.client import JobState, WorkerClient

DEFAULT_WORKER_PORT = 8787


class _Commands(click.Group):
    """Shows an error as its text, never as a traceback, and exits with its code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except DevariaError as error:
            from devaria.log import printable  # a worker's text may be in it

            click.echo(f"Error: {printable(str(error))}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("Interrupted", err=True)
            ctx.exit(EXIT_INTERRUPTED)


class _Amount(click.FloatRange):
    """A number within a range; NaN, which compares with no bound, is in none."""

    def convert(
        self, value: Any, param: Optional[click.Parameter], ctx: Optional[click.Context]
    ) -> Any:
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is no number.", param, ctx)
        return number


def _examples(*lines: str) -> str:
    """Write the end of a help text, under a mark that keeps click from filling its lines."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


_worker_url_option = click.option(
    "--worker-url",
    envvar="DEVARIA_WORKER_URL",
    show_envvar=True,
    default="https://devaria-worker.neurosift.app",
    show_default=True,
    help="The worker that has the jobs.",
)
_insecure_option = click.option(
    "--insecure",
    envvar="DEVARIA_INSECURE",
    show_envvar=True,
    is_flag=True,
    help="Accept a worker URL of plain http that is not this machine.",
)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_examples("devaria demo", "devaria runner --burst"),
)
@click.version_option(__version__, prog_name="devaria")
def main() -> None:
    """Run jobs for a Devaria worker, or try it all on this machine."""


@main.command(epilog=_examples("devaria runner", "devaria runner --types hello_world --burst"))
@_worker_url_option
@click.option(
    "--dir",
    "directory",
    envvar="DEVARIA_DIR",
    show_envvar=True,
    type=click.Path(path_type=Path),
    default=Path(),
    help="Where the runner keeps its files: its id, its log, its journal. [default: here]",
)
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
    type=_Amount(min=0.1, max=86_400),
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
    "--job-timeout",
    envvar="DEVARIA_JOB_TIMEOUT",
    show_envvar=True,
    type=_Amount(min=1),
    default=21_600.0,
    show_default=True,
    metavar="SEC",
    help="Running time of a job, in seconds, where its handler sets none.",
)
@click.option(
    "--max-job-memory",
    envvar="DEVARIA_MAX_JOB_MEMORY",
    show_envvar=True,
    type=_Amount(min=0, min_open=True),
    metavar="GB",
    help="Memory of a job and all that it starts. [default: 90 % of the machine's]",
)
@click.option(
    "--handlers",
    envvar="DEVARIA_HANDLERS",
    show_envvar=True,
    metavar="TYPE=MODULE:CLASS,...",
    help="Handlers under development, beside those that are installed.",
)
@_insecure_option
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
    directory: Path,
    types: Optional[str],
    poll_interval: float,
    burst: bool,
    max_jobs: Optional[int],
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

    settings = config.RunnerSettings(
        worker_url=config.checked_worker_url(worker_url, insecure=insecure),
        api_key=_key(config.RUNNER_KEY_VARIABLE),
        directory=directory,
        job_types=_listed(types) or None,
        poll_interval_sec=poll_interval,
        burst=burst,
        max_jobs=max_jobs,
        job_timeout_sec=job_timeout,
        max_job_memory_bytes=service.memory_bound_bytes(max_job_memory),
        handlers=_listed(handlers),
        environ=os.environ,
    )
    sys.exit(service.run_runner(settings, verbose=verbose))


@main.command(
    epilog=_examples(
        "devaria submit hello_world -p name=Alice -p processing_time=3 --wait",
        'devaria submit hello_world --params \'{"name": "Alice", "processing_time": 3}\'',
    )
)
@click.argument("job_type", metavar="TYPE")
@click.option("-p", "pairs", multiple=True, metavar="NAME=VALUE", help="A parameter.")
@click.option("--params", "text", metavar="JSON|@FILE", help="Parameters as a JSON object.")
@click.option("--wait", is_flag=True, help="Wait for the end, and print the result as JSON.")
@_worker_url_option
@_insecure_option
def submit(
    job_type: str,
    pairs: Tuple[str, ...],
    text: Optional[str],
    wait: bool,
    worker_url: str,
    insecure: bool,
) -> None:
    """Submit a job.

    Needs the submit key in DEVARIA_SUBMIT_API_KEY. A VALUE is JSON where it parses as JSON, else
    a string.
    """
    from devaria import config, submission
    from devaria.client import WorkerClient

    params = submission.parsed_params(pairs, text)
    url = config.checked_worker_url(worker_url, insecure=insecure)
    client = WorkerClient(url, _key(config.SUBMIT_KEY_VARIABLE))
    job = client.submit(job_type, params)
    click.echo(f"Job {job.job_id}: {job.status}", err=wait)
    if wait:
        sys.exit(_shown_to_its_end(client, job.job_id))


@main.command(epilog=_examples("devaria worker", "devaria worker --data /srv/devaria --port 9000"))
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
def worker(data: Path, host: str, port: int, no_rate_limit: bool) -> None:
    """Serve a worker and a figure store on this machine, until SIGINT or SIGTERM.

    Keys are taken from DEVARIA_RUNNER_API_KEY, DEVARIA_SUBMIT_API_KEY and DEVARIA_ADMIN_API_KEY;
    those that are not set are made at the first start, and kept in the data directory.
    """
    from devaria import service

    service.run_worker(data, host, port, rate_limit=not no_rate_limit, say=click.echo)


@main.command(epilog=_examples("devaria demo", "devaria demo --exit"))
@click.option("--exit", "exit_at_end", is_flag=True, help="Exit when both jobs have ended.")
def demo(exit_at_end: bool) -> None:
    """Show it all on this machine: a worker, a runner, two jobs, and the figure that comes out.

    Needs no internet and no keys, and leaves no files.
    """
    from devaria import demo as the_demo

    sys.exit(the_demo.run(serve_on=not exit_at_end, say=click.echo, show=_shown_to_its_end))


def _shown_to_its_end(client: "WorkerClient", job_id: str) -> int:
    """Show a job's progress until it ends, then its result as JSON, or its error."""
    from devaria.log import printable
    from devaria.submission import wait_for

    with click.progressbar(length=1000, file=sys.stderr, show_eta=False, label="waiting") as bar:
        job = wait_for(client, job_id, lambda seen: _show_progress(bar, seen))
    if job.status == "completed":
        click.echo(json.dumps(job.output_data, indent=2))
        return EXIT_OK
    click.echo(f"Job {job_id} {job.status}: {printable(job.error or 'no reason given')}", err=True)
    return EXIT_FAILED


def _show_progress(bar: "ProgressBar[int]", job: "JobState") -> None:
    bar.label = f"{job.status:11}"
    part = 1.0 if job.status == "completed" else _part_done(job)
    bar.update(max(int(part * 1000) - bar.pos, 0))
    bar.render_progress()


def _part_done(job: "JobState") -> float:
    if not job.progress_total or job.progress_current is None:
        return 0.0
    return min(max(job.progress_current / job.progress_total, 0.0), 1.0)


def _key(variable: str) -> str:
    key = os.environ.get(variable, "").strip()
    if not key:
        raise MissingKey(variable)
    if not (key.isascii() and key.isprintable()):
        raise BadSetting(f"{variable} holds characters that no key has; set it anew")
    return key


def _listed(text: Optional[str]) -> Tuple[str, ...]:
    return tuple(item.strip() for item in (text or "").split(",") if item.strip())
