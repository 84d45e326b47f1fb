"""What several commands share: options, keys, examples, and the progress of a job."""

import json
import math
import os
import sys
from typing import TYPE_CHECKING, Any, Optional, Tuple

import click

from devaria.common.config import DEFAULT_WORKER_URL
from devaria.common.errors import EXIT_FAILED, EXIT_OK, BadSetting, MissingKey

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

    from devaria.client.client import WorkerClient
    from devaria.client.models import JobState

worker_url_option = click.option(
    "--worker-url",
    envvar="DEVARIA_WORKER_URL",
    show_envvar=True,
    default=DEFAULT_WORKER_URL,
    show_default=True,
    help="The URL of the worker.",
)
insecure_option = click.option(
    "--insecure",
    envvar="DEVARIA_INSECURE",
    show_envvar=True,
    is_flag=True,
    help="Accept a worker URL with plain http to another machine.",
)
handlers_option = click.option(
    "--handlers",
    envvar="DEVARIA_HANDLERS",
    show_envvar=True,
    metavar="[TYPE=]MODULE:CLASS,...",
    help="Handlers under development, in addition to the installed ones.",
)
directory_option = click.option(
    "--dir",
    "directory",
    envvar="DEVARIA_DIR",
    show_envvar=True,
    default=".",
    metavar="DIR",
    help="The runner's directory; {host} and {pid} in it are filled in. [default: here]",
)
pairs_option = click.option("-p", "pairs", multiple=True, metavar="NAME=VALUE", help="A parameter.")
params_option = click.option(
    "--params", "text", metavar="JSON|@FILE", help="Parameters as a JSON object."
)


class Amount(click.FloatRange):
    """A number within a range. NaN is refused, which `click.FloatRange` accepts."""

    def convert(
        self, value: Any, param: Optional[click.Parameter], ctx: Optional[click.Context]
    ) -> Any:
        """Parse a value; click calls this."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


def examples(*lines: str) -> str:
    r"""Return the examples at the end of a help text.

    The `\b` before them keeps click from joining the lines.
    """
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def key(*variables: str) -> str:
    """Read a key from the environment.

    Args:
        variables: The variables that may hold it; the first that is set counts.

    Raises:
        MissingKey: None of the variables is set; the text names the first.
        BadSetting: The value cannot be a key.
    """
    for variable in variables:
        value = os.environ.get(variable, "").strip()
        if value:
            return _usable(value, variable)
    raise MissingKey(variables[0])


def key_if_set(*variables: str) -> Optional[str]:
    """Read a key from the environment as `key` does; None if no variable is set."""
    try:
        return key(*variables)
    except MissingKey:
        return None


def _usable(value: str, variable: str) -> str:
    if not (value.isascii() and value.isprintable()):
        raise BadSetting(f"{variable} holds characters that a key cannot have; set it again")
    return value


def listed(text: Optional[str]) -> Tuple[str, ...]:
    """Split `A,B` into its items, without empty ones."""
    return tuple(item.strip() for item in (text or "").split(",") if item.strip())


def shown_to_its_end(client: "WorkerClient", job_id: str) -> int:
    """Show a job's progress until it ends, then print its result as JSON, or its error.

    Returns:
        The exit code: 0 if the job completed, else 1.
    """
    from devaria.client.follow import wait_for
    from devaria.common.text import printable

    with progress_bar("waiting") as bar:
        job = wait_for(client, job_id, lambda seen: _show_state(bar, seen))
    if job.status == "completed":
        click.echo(json.dumps(job.output_data, indent=2))
        return EXIT_OK
    text = f"Job {job_id} {job.status}: {job.error or 'no reason given'}"
    click.echo(printable(text), err=True)
    return EXIT_FAILED


def progress_bar(label: str) -> "ProgressBar[int]":
    """Make a progress bar on stderr; if stderr is not a terminal, only the label is shown."""
    return click.progressbar(length=1000, file=sys.stderr, show_eta=False, label=label)


def move_bar(bar: "ProgressBar[int]", current: Optional[float], total: Optional[float]) -> None:
    """Move a progress bar; it never moves back.

    Args:
        bar: The bar.
        current: How much is done; None if unknown.
        total: How much there is to do; None if unknown.
    """
    part = min(max(current / total, 0.0), 1.0) if current is not None and total else 0.0
    bar.update(max(int(part * 1000) - bar.pos, 0))
    bar.render_progress()


def _show_state(bar: "ProgressBar[int]", job: "JobState") -> None:
    from devaria.common.text import printable

    bar.label = f"{printable(job.status):11}"
    if job.status == "completed":
        move_bar(bar, 1, 1)
    else:
        move_bar(bar, job.progress_current, job.progress_total)
