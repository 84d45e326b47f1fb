"""The commands that submit jobs to a worker: `submit`, `rerun`."""

import json
import shlex
import sys
from typing import TYPE_CHECKING, List, Optional, Tuple

import click

from devaria.cli.jobs import AN_ID, admin_client
from devaria.cli.options import (
    examples,
    insecure_option,
    key,
    pairs_option,
    params_option,
    shown_to_its_end,
    worker_url_option,
)
from devaria.cli.output import clean_text

if TYPE_CHECKING:
    from devaria.client.models import JobState


@click.command(
    epilog=examples(
        "devaria submit hello_world -p name=Alice -p processing_time=3 --wait",
        'devaria submit hello_world --params \'{"name": "Alice", "processing_time": 3}\'',
    )
)
@click.argument("job_type", metavar="TYPE")
@pairs_option
@params_option
@click.option("--wait", is_flag=True, help="Wait until the job ends, and print the result as JSON.")
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

    Needs the submit key in DEVARIA_SUBMIT_API_KEY. A VALUE that parses as JSON is taken as JSON,
    any other as a string.
    """
    from devaria.cli.job_params import parsed_params
    from devaria.client.client import WorkerClient
    from devaria.common import config

    params = parsed_params(pairs, text)
    url = config.checked_worker_url(worker_url, insecure=insecure)
    client = WorkerClient(url, key(config.SUBMIT_KEY_VARIABLE))
    submitted = client.submit(job_type, params)
    click.echo(clean_text(f"Job {submitted.job_id}: {submitted.status}"), err=wait)
    if wait:
        sys.exit(shown_to_its_end(client, submitted.job_id))


@click.command(epilog=examples(f"devaria rerun {AN_ID}", f"devaria rerun {AN_ID} --wait"))
@click.argument("job_id", metavar="ID")
@click.option("--wait", is_flag=True, help="Wait until the job ends, and print the result as JSON.")
@worker_url_option
@insecure_option
def rerun(job_id: str, wait: bool, worker_url: str, insecure: bool) -> None:
    """Delete a job and submit it again.

    This is for a job whose failure is cached. Needs the submit key in DEVARIA_SUBMIT_API_KEY,
    and the admin or the runner key as `devaria jobs` does. If the job is running, it is ended.
    """
    from devaria.client import follow as following
    from devaria.client.client import WorkerClient
    from devaria.common import config

    url = config.checked_worker_url(worker_url, insecure=insecure)
    client = WorkerClient(url, key(config.SUBMIT_KEY_VARIABLE))
    deleted: List[JobState] = []
    try:
        new = following.rerun(client, admin_client(worker_url, insecure), job_id, deleted.append)
    except BaseException:
        for old in deleted:
            _say_how_to_submit(old)
        raise
    click.echo(clean_text(f"Job {new.job_id}: {new.status}"), err=wait)
    if wait:
        sys.exit(shown_to_its_end(client, new.job_id))


def _say_how_to_submit(old: "JobState") -> None:
    command = f"devaria submit {shlex.quote(old.job_type)} --params"
    params = shlex.quote(json.dumps(old.input_params))
    text = (
        f"The old job is deleted, and the new one is perhaps not submitted. Submit it with:\n\n"
        f"    {command} {params}"
    )
    click.echo(f"{clean_text(text)}\n", err=True)
