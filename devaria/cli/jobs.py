"""The commands that show what a worker has: `jobs`, `job`, `runners`."""

import json
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple

import click

from devaria.cli.options import (
    examples,
    insecure_option,
    key,
    key_if_set,
    worker_url_option,
)
from devaria.cli.output import (
    age,
    clean_text,
    json_option,
    print_fields,
    print_json,
    print_table,
    wants_json,
)
from devaria.common.errors import EXIT_FAILED, EXIT_OK

if TYPE_CHECKING:
    from devaria.client.client import WorkerClient
    from devaria.client.models import JobState

_ADMIN_KEYS = ("DEVARIA_ADMIN_API_KEY", "DEVARIA_RUNNER_API_KEY")
_STATUSES = ("pending", "claimed", "in_progress", "completed", "failed")
#: A job id for the examples in help texts.
AN_ID = "4064b204-5d0e-4c39-9f0a-27a3d9d8e1b6"


@click.command(epilog=examples("devaria jobs", "devaria jobs --status failed --limit 10"))
@click.option("--status", type=click.Choice(_STATUSES), help="Only jobs of this status.")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=100,
    show_default=True,
    metavar="N",
    help="List at most N jobs, the newest first.",
)
@json_option
@worker_url_option
@insecure_option
def jobs(
    status: Optional[str], limit: int, as_json: Optional[bool], worker_url: str, insecure: bool
) -> None:
    """List the jobs at the worker.

    Needs the admin key in DEVARIA_ADMIN_API_KEY, or the runner key in DEVARIA_RUNNER_API_KEY.
    """
    found = admin_client(worker_url, insecure).jobs(status, limit)
    if wants_json(as_json):
        print_json([_listed_fields(each) for each in found])
        return
    now_ms = time.time() * 1000
    rows = [
        (
            each.job_id,
            each.job_type,
            each.status,
            age(each.created_at_ms, now_ms),
            # The beginning of the id is enough, and the line fits a narrow terminal.
            (each.claimed_by or "")[:8],
        )
        for each in found
    ]
    print_table(("job", "type", "status", "age", "runner"), rows)


@click.command(epilog=examples(f"devaria job {AN_ID}", f"devaria job {AN_ID} --follow"))
@click.argument("job_id", metavar="ID")
@click.option("--follow", is_flag=True, help="Print the console as it grows, until the job ends.")
@click.option("--console", is_flag=True, help="Print only the console.")
@json_option
@worker_url_option
@insecure_option
def job(
    job_id: str,
    follow: bool,
    console: bool,
    as_json: Optional[bool],
    worker_url: str,
    insecure: bool,
) -> None:
    """Show a job: its status, parameters, result or error.

    Needs no key at most workers. If the admin or the runner key is set, it is sent.

    With --follow the exit code is 0 if the job completed, 1 if it failed.
    """
    from devaria.client.client import WorkerClient
    from devaria.common import config

    if as_json is not None and (follow or console):
        raise click.UsageError("--follow and --console print text; leave out --json and --table")
    url = config.checked_worker_url(worker_url, insecure=insecure)
    client = WorkerClient(url, key_if_set(*_ADMIN_KEYS))
    if follow:
        sys.exit(_followed(client, job_id))
    found = client.job_detail(job_id)
    if console:
        click.echo(clean_text(found.console_output or ""), nl=False)
    elif wants_json(as_json):
        print_json(asdict(found))
    else:
        print_fields(_fields(found))


@click.command(epilog=examples("devaria runners", "devaria runners --json"))
@json_option
@worker_url_option
@insecure_option
def runners(as_json: Optional[bool], worker_url: str, insecure: bool) -> None:
    """List the runners that have registered with the worker.

    Needs the admin key in DEVARIA_ADMIN_API_KEY, or the runner key in DEVARIA_RUNNER_API_KEY.
    """
    found = admin_client(worker_url, insecure).runners()
    if wants_json(as_json):
        print_json([asdict(each) for each in found])
        return
    now_ms = time.time() * 1000
    rows = [
        (
            each.name,
            "active" if each.is_active else "silent",
            age(each.last_seen_ms, now_ms),
            each.runner_id,
            ", ".join(each.job_types),
        )
        for each in found
    ]
    titles = ("runner", "state", "last seen", "id", "job types")
    print_table(titles, rows, wrapped=("runner", "job types"))


def admin_client(worker_url: str, insecure: bool) -> "WorkerClient":
    """Make a client with the admin key or, if that is not set, the runner key.

    Args:
        worker_url: The worker's URL, as the operator gave it.
        insecure: Whether plain http to another machine is accepted.

    Raises:
        MissingKey: Neither key is in the environment.
        BadSetting: The URL or the key is not valid.
    """
    from devaria.client.client import WorkerClient
    from devaria.common import config

    return WorkerClient(config.checked_worker_url(worker_url, insecure=insecure), key(*_ADMIN_KEYS))


def _listed_fields(job: "JobState") -> Dict[str, Any]:
    """Return the fields of a job that the worker sends in a list; the others are None."""
    return {name: value for name, value in asdict(job).items() if value is not None}


def _followed(client: "WorkerClient", job_id: str) -> int:
    """Print a job's console as it grows; return the exit code."""
    from devaria.client.follow import follow

    ended = follow(client, job_id, lambda news: click.echo(clean_text(news), nl=False))
    reason = f": {ended.error}" if ended.error else ""
    click.echo(clean_text(f"Job {ended.job_id} {ended.status}{reason}"), err=True)
    return EXIT_OK if ended.status == "completed" else EXIT_FAILED


def _fields(job: "JobState") -> List[Tuple[str, str]]:
    now_ms = time.time() * 1000
    lines = (job.console_output or "").count("\n")
    heard = "" if job.last_heartbeat_ms is None else f"{age(job.last_heartbeat_ms, now_ms)} ago"
    fields = {
        "job": job.job_id,
        "type": job.job_type,
        "status": job.status,
        "age": age(job.created_at_ms, now_ms),
        "runner": job.claimed_by,
        "last heartbeat": heard,
        "progress": _progress_text(job),
        "parameters": json.dumps(job.input_params),
        "console": f"{lines} lines; print them with --console" if lines else "",
        "result": None if job.output_data is None else json.dumps(job.output_data, indent=2),
        "error": job.error,
    }
    return [(name, value) for name, value in fields.items() if value]


def _progress_text(job: "JobState") -> str:
    if job.progress_current is None:
        return ""
    of = "" if job.progress_total is None else f" of {job.progress_total:g}"
    return f"{job.progress_current:g}{of}"
