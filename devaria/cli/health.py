"""The commands that check a runner: `doctor`, `status`."""

import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence, Tuple

import click

from devaria.cli.options import directory_option, examples, listed
from devaria.cli.output import age, json_option, print_fields, print_json, print_table, wants_json
from devaria.cli.runner import runner_options
from devaria.common.config import RELAY_KEY_VARIABLE, RELAY_VARIABLES, RUNNER_KEY_VARIABLE
from devaria.common.errors import EXIT_CONFIG, EXIT_FAILED, EXIT_OK, EXIT_SILENT, BadSetting

if TYPE_CHECKING:
    from devaria.runner.status import OwedJob, RunnerStatus

_HEALTHY, _NOT_RUNNING, _SILENT = "healthy", "not running", "silent"
_EXIT_CODES = {_HEALTHY: EXIT_OK, _NOT_RUNNING: EXIT_FAILED, _SILENT: EXIT_SILENT}
_SOURCES = {"COMMANDLINE": "option", "ENVIRONMENT": "environment"}

#: The settings that a runner takes only from the environment, and whether each is secret.
_ONLY_IN_ENVIRONMENT = {
    RUNNER_KEY_VARIABLE: True,
    "FIGPACK_API_KEY": True,
    "FIGPACK_API_BASE_URL": False,
    "DEVARIA_DANDI_API_KEY": True,
    "DEVARIA_DANDI_EMBARGOED": False,
    **{variable: variable == RELAY_KEY_VARIABLE for variable in RELAY_VARIABLES},
}


@click.command(epilog=examples("devaria doctor", "devaria doctor --types hello_world --json"))
@runner_options
@json_option
def doctor(as_json: Optional[bool], **options: Any) -> None:
    """Check everything that a runner needs.

    Says what to do about each problem. Takes the options of `devaria runner`. Exits with 0 if a
    runner with these options would work, else with 7. Changes nothing, neither here nor at the
    worker.
    """
    from devaria.common.files import filled_in
    from devaria.jobs.loading import find_handlers
    from devaria.runner.doctor import FAILURE, CheckContext, examine

    context = CheckContext(
        worker_url=options["worker_url"],
        insecure=options["insecure"],
        directory=filled_in(options["directory"]),
        environ=os.environ,
        handlers=find_handlers(listed(options["handlers"])),
        job_types=listed(options["types"]),
    )
    checks = examine(context)
    works = all(check.state != FAILURE for check in checks)
    settings = _settings(click.get_current_context())
    if wants_json(as_json):
        as_dicts = [asdict(check) for check in checks]
        print_json({"works": works, "checks": as_dicts, "settings": settings})
    else:
        titles = ("check", "state", "found", "what to do")
        rows = [(each.name, each.state, each.found, each.advice) for each in checks]
        print_table(titles, rows, wrapped=("found", "what to do"))
        click.echo()
        rows_of_settings = [tuple(each.values()) for each in settings]
        print_table(("setting", "value", "from"), rows_of_settings, wrapped=("value",))
    sys.exit(EXIT_OK if works else EXIT_CONFIG)


@click.command(epilog=examples("devaria status", "devaria status --dir runner1 --json"))
@directory_option
@json_option
def status(directory: str, as_json: Optional[bool]) -> None:
    """Show what the runner in a directory is doing.

    Shows also which jobs it still has to report. Exits with 0 if the runner is healthy, 1 if
    none is running, 8 if its worker has been silent for 5 minutes.
    """
    from devaria.common.files import is_locked
    from devaria.runner.status import RunnerStatus, owed_jobs

    folder = _folder_of_one_runner(directory)
    is_running = is_locked(folder)
    found = RunnerStatus.load(folder)
    owed = owed_jobs(folder)
    is_silent = found is not None and not found.is_in_contact
    health = _NOT_RUNNING if not is_running else _SILENT if is_silent else _HEALTHY
    if wants_json(as_json):
        content = None if found is None else asdict(found)
        listed_jobs = [asdict(job) for job in owed]
        print_json({"health": health, "status": content, "owed": listed_jobs})
    else:
        print_fields([("runner", f"{health}, in {folder}"), *_lines(found, owed, is_running)])
    sys.exit(_EXIT_CODES[health])


def _settings(ctx: click.Context) -> List[Dict[str, str]]:
    """Return each of a runner's settings and where it comes from; keys are not shown."""
    settings = []
    for option in ctx.command.params:
        name = option.name or ""
        if name in ("as_json", "help"):
            continue
        source = ctx.get_parameter_source(name)
        origin = _SOURCES.get(source.name if source else "", "default")
        value = ctx.params.get(name)
        settings.append(
            {
                "setting": max(option.opts, key=len),
                "value": "" if value is None else str(value),
                "from": origin,
            }
        )
    for variable, is_secret in _ONLY_IN_ENVIRONMENT.items():
        value = os.environ.get(variable, "").strip()
        shown = "(not shown)" if value and is_secret else value
        settings.append(
            {"setting": variable, "value": shown, "from": "environment" if value else "not set"}
        )
    return settings


def _folder_of_one_runner(directory: str) -> Path:
    from devaria.common.files import filled_in
    from devaria.runner.status import unreadable_file

    if "{pid}" in directory:
        raise BadSetting(f"{directory} stands for several directories; name one of them with --dir")
    folder = filled_in(directory)
    unreadable = unreadable_file(folder)
    if unreadable is not None:
        raise BadSetting(
            f"cannot read {unreadable}; run this command as the user that runs the runner"
        )
    return folder


def _lines(
    found: "Optional[RunnerStatus]", owed: "Sequence[OwedJob]", is_running: bool
) -> List[Tuple[str, str]]:
    lines = _lines_of_status(found, is_running) if found is not None else []
    for job in owed:
        if not (is_running and found is not None and job.job_id == found.job_id):
            lines.append(("owed", f"{job.job_id} ({job.job_type}), {job.meaning}"))
    return lines


def _lines_of_status(found: "RunnerStatus", is_running: bool) -> List[Tuple[str, str]]:
    now_ms = time.time() * 1000

    def ago(moment: Optional[float]) -> str:
        return "never" if moment is None else f"{age(moment * 1000, now_ms)} ago"

    lines = [
        ("name", f"{found.runner_name or 'none yet'} (id {found.runner_id or 'none yet'})"),
        ("worker", found.worker_url),
        ("process", f"{found.pid}, started {ago(found.started_at)}"),
        ("last contact", ago(found.last_contact_at)),
        ("jobs", f"{found.jobs_completed} completed, {found.jobs_failed} failed since the start"),
    ]
    if found.job_id is not None and is_running:
        started = f"started {ago(found.job_started_at)}"
        what = "ended; its report is owed" if found.owes_report else started
        lines.append(("job", f"{found.job_id} ({found.job_type}), {what}{_percent(found)}"))
    return lines


def _percent(found: "RunnerStatus") -> str:
    if found.owes_report or found.progress_current is None or not found.progress_total:
        return ""
    return f", {100 * found.progress_current / found.progress_total:.0f} %"
