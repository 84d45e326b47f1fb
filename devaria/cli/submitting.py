"""The commands about jobs at a worker: `submit`, `jobs`, `job`, `rerun`, `runners`."""

import json
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, List, Optional, Tuple

import click

from devaria.cli.options import (
    age,
    examples,
    insecure_option,
    json_option,
    key,
    pairs_option,
    params_option,
    print_json,
    print_table,
    shown_to_its_end,
    worker_url_option,
)

if TYPE_CHECKING:
    from devaria.admin_client import AdminClient
    from devaria.answers import JobState
    from devaria.client import WorkerClient

_ADMIN_KEYS = ("DEVARIA_ADMIN_API_KEY", "DEVARIA_RUNNER_API_KEY")
_STATUSES = ("pending", "claimed", "in_progress", "completed", "failed")
#: Time between two looks at a job that is followed, in seconds.
_FOLLOW_EVERY_SEC = 2.0


@click.command(
    epilog=examples(
        "devaria submit hello_world -p name=Alice -p processing_time=3 --wait",
        'devaria submit hello_world --params \'{"name": "Alice", "processing_time": 3}\'',
    )
)
@click.argument("job_type", metavar="TYPE")
@pairs_option
@params_option
@click.option("--wait", is_flag=True, help="Wait for the end, and print the result as JSON.")
@worker_url_option
@insecure_option
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
    client = WorkerClient(url, key(config.SUBMIT_KEY_VARIABLE))
    submitted = client.submit(job_type, params)
    click.echo(f"Job {submitted.job_id}: {submitted.status}", err=wait)
    if wait:
        sys.exit(shown_to_its_end(client, submitted.job_id))


@click.command(epilog=examples("devaria jobs", "devaria jobs --status failed --limit 10"))
@click.option("--status", type=click.Choice(_STATUSES), help="Only jobs of this status.")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=100,
    show_default=True,
    metavar="N",
    help="At most so many, the newest first.",
)
@json_option
@worker_url_option
@insecure_option
def jobs(status: Optional[str], limit: int, as_json: bool, worker_url: str, insecure: bool) -> None:
    """List the jobs at the worker.

    Needs the admin key in DEVARIA_ADMIN_API_KEY, or the runner key in DEVARIA_RUNNER_API_KEY.
    """
    found = _admin(worker_url, insecure).jobs(status, limit)
    if as_json:
        print_json([asdict(each) for each in found])
        return
    now_ms = time.time() * 1000
    rows = [
        (
            each.job_id,
            each.job_type,
            each.status,
            age(each.created_at_ms, now_ms),
            each.claimed_by or "",
        )
        for each in found
    ]
    print_table(("job", "type", "status", "age", "runner"), rows)


@click.command(epilog=examples("devaria job 4064b204 --console", "devaria job 4064b204 --follow"))
@click.argument("job_id", metavar="ID")
@click.option("--follow", is_flag=True, help="Print the console as it grows, until the job ends.")
@click.option("--console", is_flag=True, help="Print the console, and nothing else.")
@json_option
@worker_url_option
@insecure_option
def job(
    job_id: str, follow: bool, console: bool, as_json: bool, worker_url: str, insecure: bool
) -> None:
    """Show a job: its status, parameters, result or error. Needs no key."""
    from devaria import config
    from devaria.client import WorkerClient
    from devaria.log import printable

    client = WorkerClient(config.checked_worker_url(worker_url, insecure=insecure))
    found = client.job_detail(job_id)
    if follow:
        found = _followed(client, found)
    elif console:
        click.echo(printable(found.console_output or ""), nl=False)
    if console or follow:
        return
    if as_json:
        print_json(asdict(found))
    else:
        print_table(("field", "value"), _fields(found))


@click.command(epilog=examples("devaria rerun 4064b204", "devaria rerun 4064b204 --wait"))
@click.argument("job_id", metavar="ID")
@click.option("--wait", is_flag=True, help="Wait for the end, and print the result as JSON.")
@worker_url_option
@insecure_option
def rerun(job_id: str, wait: bool, worker_url: str, insecure: bool) -> None:
    """Delete a job and submit it again, such as one whose failure is cached.

    Needs the submit key in DEVARIA_SUBMIT_API_KEY, and the admin or the runner key.
    """
    from devaria import config
    from devaria.client import WorkerClient

    url = config.checked_worker_url(worker_url, insecure=insecure)
    client = WorkerClient(url, key(config.SUBMIT_KEY_VARIABLE))
    admin = _admin(worker_url, insecure)
    old = client.job_detail(job_id)
    admin.delete_job(job_id)
    new = client.submit(old.job_type, old.input_params or {})
    click.echo(f"Job {new.job_id}: {new.status}", err=wait)
    if wait:
        sys.exit(shown_to_its_end(client, new.job_id))


@click.command(epilog=examples("devaria runners", "devaria runners --json"))
@json_option
@worker_url_option
@insecure_option
def runners(as_json: bool, worker_url: str, insecure: bool) -> None:
    """List the runners that have registered with the worker.

    Needs the admin key in DEVARIA_ADMIN_API_KEY, or the runner key in DEVARIA_RUNNER_API_KEY.
    """
    found = _admin(worker_url, insecure).runners()
    if as_json:
        print_json([asdict(each) for each in found])
        return
    now_ms = time.time() * 1000
    rows = [
        (
            each.name,
            "active" if each.is_active else "silent",
            age(each.last_seen_ms, now_ms),
            ", ".join(each.job_types),
            each.runner_id,
        )
        for each in found
    ]
    print_table(("runner", "state", "last seen", "job types", "id"), rows)


def _admin(worker_url: str, insecure: bool) -> "AdminClient":
    from devaria import config
    from devaria.admin_client import AdminClient

    return AdminClient(config.checked_worker_url(worker_url, insecure=insecure), key(*_ADMIN_KEYS))


def _followed(client: "WorkerClient", seen: "JobState") -> "JobState":
    """Print a job's console as it grows, until the job ends."""
    from devaria.log import printable

    printed = ""
    while True:
        console = seen.console_output or ""
        # The console is replaced as a whole; where it does not go on, it is begun anew.
        news = console[len(printed) :] if console.startswith(printed) else f"\n{console}"
        click.echo(printable(news), nl=False)
        printed = console
        if seen.is_final:
            click.echo(f"Job {seen.job_id}: {seen.status}", err=True)
            return seen
        time.sleep(_FOLLOW_EVERY_SEC)
        seen = client.job_detail(seen.job_id)


def _fields(job: "JobState") -> List[Tuple[str, str]]:
    fields = {
        "job": job.job_id,
        "type": job.job_type,
        "status": job.status,
        "age": age(job.created_at_ms, time.time() * 1000),
        "runner": job.claimed_by,
        "parameters": json.dumps(job.input_params),
        "progress": _progress_text(job),
        "result": None if job.output_data is None else json.dumps(job.output_data),
        "error": job.error,
    }
    return [(name, value) for name, value in fields.items() if value]


def _progress_text(job: "JobState") -> str:
    if job.progress_current is None:
        return ""
    of = "" if job.progress_total is None else f" of {job.progress_total:g}"
    return f"{job.progress_current:g}{of}"
