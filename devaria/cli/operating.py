"""The commands for those who keep runners going: `doctor`, `status`."""

import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, List, Optional, Tuple

import click

from devaria.cli.options import (
    age,
    directory_option,
    examples,
    handlers_option,
    insecure_option,
    json_option,
    listed,
    print_json,
    print_table,
    worker_url_option,
)
from devaria.errors import EXIT_CONFIG, EXIT_FAILED, EXIT_OK, EXIT_SILENT

if TYPE_CHECKING:
    from devaria.status import RunnerStatus


@click.command(epilog=examples("devaria doctor", "devaria doctor --json"))
@worker_url_option
@directory_option
@handlers_option
@insecure_option
@json_option
@click.pass_context
def doctor(
    ctx: click.Context,
    worker_url: str,
    directory: str,
    handlers: Optional[str],
    insecure: bool,
    as_json: bool,
) -> None:
    """Check all that a runner needs, and say what to do; exits 0 only if one would work."""
    from devaria import doctor as the_doctor
    from devaria.jobs.loading import find_handlers

    patient = the_doctor.Patient(
        worker_url=worker_url,
        insecure=insecure,
        directory=Path(directory),
        environ=os.environ,
        handlers=list(find_handlers(listed(handlers)).values()),
    )
    checks = the_doctor.examine(patient)
    settings = _sources(ctx)
    if as_json:
        print_json({"checks": [asdict(check) for check in checks], "settings": settings})
    else:
        rows = [(check.name, check.state, check.found, check.advice) for check in checks]
        print_table(("check", "state", "found", "what to do"), rows)
        click.echo()
        print_table(("setting", "value", "from"), [tuple(each.values()) for each in settings])
    works = all(check.state != the_doctor.FAILURE for check in checks)
    sys.exit(EXIT_OK if works else EXIT_CONFIG)


@click.command(epilog=examples("devaria status", "devaria status --dir runner1 --json"))
@directory_option
@json_option
def status(directory: str, as_json: bool) -> None:
    """Say what the runner in a directory is doing.

    Exits 0 if it is healthy, 1 if none is running, 2 if its worker has been silent for 5 minutes.
    """
    from devaria.directory import is_locked
    from devaria.status import RunnerStatus

    is_running = is_locked(Path(directory))
    found = RunnerStatus.load(Path(directory))
    if as_json:
        print_json({"is_running": is_running, "status": None if found is None else asdict(found)})
    elif found is None:
        click.echo(f"{'A runner' if is_running else 'No runner'} is running in {directory}")
    else:
        print_table(("runner", "running" if is_running else "not running"), _lines(found))
    if not is_running:
        sys.exit(EXIT_FAILED)
    sys.exit(EXIT_OK if found is None or found.is_in_contact else EXIT_SILENT)


def _sources(ctx: click.Context) -> "list[dict[str, str]]":
    """Say of each setting where it came from."""
    names = {"COMMANDLINE": "option", "ENVIRONMENT": "environment"}
    settings = []
    for name, value in ctx.params.items():
        source = ctx.get_parameter_source(name)
        origin = names.get(source.name if source else "", "default")
        settings.append({"setting": name, "value": str(value), "from": origin})
    return settings


def _lines(found: "RunnerStatus") -> List[Tuple[str, str]]:
    now_ms = time.time() * 1000

    def ago(moment: Optional[float]) -> str:
        return "never" if moment is None else f"{age(moment * 1000, now_ms)} ago"

    lines = [
        ("name", f"{found.runner_name} (id {found.runner_id})"),
        ("worker", found.worker_url),
        ("process", f"{found.pid}, started {ago(found.started_at)}"),
        ("last contact", ago(found.last_contact_at)),
        ("jobs", f"{found.jobs_completed} completed, {found.jobs_failed} failed"),
    ]
    if found.job_id is not None:
        started = f"started {ago(found.job_started_at)}"
        what = "ended; its report is owed" if found.owes_report else started
        lines.append(("job", f"{found.job_id} ({found.job_type}), {what}{_percent(found)}"))
    return lines


def _percent(found: "RunnerStatus") -> str:
    if found.progress_current is None or not found.progress_total:
        return ""
    return f", {100 * found.progress_current / found.progress_total:.0f} %"
