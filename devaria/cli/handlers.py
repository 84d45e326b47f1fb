"""The commands for those who write handlers: `run`, `handlers`.

What a command needs is imported when the command runs, so that `devaria --help` starts fast.
"""

import codecs
import inspect
import json
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Tuple, Type

import click

from devaria.cli.options import (
    examples,
    handlers_option,
    listed,
    move_bar,
    pairs_option,
    params_option,
    progress_bar,
)
from devaria.cli.output import clean_text, json_option, print_json, print_table, wants_json
from devaria.common.errors import EXIT_FAILED, EXIT_OK, BadSetting

if TYPE_CHECKING:
    from devaria.jobs import JobHandler, Param
    from devaria.jobs.loading import FoundHandler

#: Moves to the beginning of the line and clears it.
_CLEAR_LINE = "\r\x1b[K"


@click.command(
    epilog=examples(
        "devaria run hello_world -p name=Alice -p processing_time=2",
        "devaria run count_words --handlers count_words:CountWords -p url=https://example.org",
    )
)
@click.argument("job_type", metavar="TYPE")
@pairs_option
@params_option
@handlers_option
@click.option("--in-process", is_flag=True, help="Run it in this very process, for a debugger.")
def run(
    job_type: str,
    pairs: Tuple[str, ...],
    text: Optional[str],
    handlers: Optional[str],
    in_process: bool,
) -> None:
    """Run a handler on this machine, with no worker and no key.

    Shows progress and console on stderr, and prints the result as JSON on stdout. A VALUE that
    parses as JSON is taken as JSON, any other as a string.
    """
    from devaria.cli.job_params import parsed_params
    from devaria.jobs.loading import HandlerUnavailableError, handler_for

    input_params = parsed_params(pairs, text)
    extra = listed(handlers)
    try:
        handler = handler_for(job_type, extra)
    except HandlerUnavailableError as error:
        raise BadSetting(f"cannot run {job_type}: {error}") from None
    _warn_of_unknown(handler.params, input_params)
    try:
        code = (
            _run_here(handler, input_params)
            if in_process
            else _run_in_child(job_type, handler, input_params, extra)
        )
    except OSError as error:
        raise BadSetting(f"cannot run {job_type}: {error}") from None
    sys.exit(code)


@click.command(
    epilog=examples("devaria handlers", "devaria handlers --help-type figpack_nwb_raster_plot")
)
@handlers_option
@click.option("--help-type", metavar="TYPE", help="Show what parameters a job type takes.")
@json_option
def handlers(handlers: Optional[str], help_type: Optional[str], as_json: Optional[bool]) -> None:
    """List the job types that were found: where from, what they do, ready or why not."""
    from devaria.jobs.loading import find_handlers

    found = find_handlers(listed(handlers))
    if help_type is not None:
        if help_type not in found:
            raise BadSetting(f"unknown job type {help_type!r}; there are: {', '.join(found)}")
        _print_params(found[help_type], as_json is True)
        return
    rows = [_described(each) for each in found.values()]
    if wants_json(as_json):
        print_json(rows)
        return
    titles = ("type", "from", "what it does", "ready, or why not")
    cells = [
        (row["type"], row["origin"], row["summary"], "; ".join(row["missing"]) or "ready")
        for row in rows
    ]
    print_table(titles, cells, wrapped=titles[1:])


def _described(found: "FoundHandler") -> Dict[str, Any]:
    missing = found.reasons_against()
    return {
        "type": found.job_type,
        "origin": found.origin,
        "summary": _docstring(found).partition("\n")[0],
        "ready": not missing,
        "missing": missing,
    }


def _docstring(found: "FoundHandler") -> str:
    # The class's own, not that of `JobHandler`, which says nothing about this job type.
    own = None if found.handler is None else found.handler.__doc__
    return inspect.cleandoc(own or "")


def _print_params(found: "FoundHandler", as_json: bool) -> None:
    if found.handler is None:
        raise BadSetting(f"{found.job_type} cannot be loaded: {found.problem}")
    titles = ("parameter", "is", "default", "what it is")
    rows = [
        (name, param.allowed, _default_text(param), param.description)
        for name, param in found.handler.params.items()
    ]
    if as_json:
        print_json([dict(zip(titles, row)) for row in rows])
        return
    click.echo(_docstring(found) or found.job_type)
    if rows:
        click.echo()
        print_table(titles, rows, wrapped=titles[1:])
    else:
        click.echo("It declares no parameters.")


def _default_text(param: "Param") -> str:
    return "required" if param.is_required else json.dumps(param.default)


def _warn_of_unknown(declared: "Mapping[str, Param]", given: Dict[str, Any]) -> None:
    from devaria.jobs.params import unknown_names

    for name in unknown_names(declared, given):
        click.echo(f"Warning: {name} is not a parameter of this job type", err=True)


def _run_here(handler: "Type[JobHandler]", input_params: Dict[str, Any]) -> int:
    from devaria.execution.local import run_in_process
    from devaria.execution.scratch import ScratchError

    try:
        result = run_in_process(handler, input_params)
    except ScratchError:
        raise
    except Exception:  # the developer needs to see where it came from
        traceback.print_exc()
        return EXIT_FAILED
    print_json(result)
    return EXIT_OK


def _run_in_child(
    job_type: str,
    handler: "Type[JobHandler]",
    input_params: Dict[str, Any],
    extra: Tuple[str, ...],
) -> int:
    from devaria.common.config import DEFAULT_JOB_DISK_GB, DEFAULT_JOB_TIMEOUT_SEC
    from devaria.execution.limits import JobLimits, memory_bound_bytes
    from devaria.execution.local import run_in_job_process

    with _Screen() as screen:
        outcome = run_in_job_process(
            job_type,
            input_params,
            handlers=extra,
            limits=JobLimits.for_handler(
                handler,
                DEFAULT_JOB_TIMEOUT_SEC,
                memory_bound_bytes(None),
                DEFAULT_JOB_DISK_GB * 1e9,
            ),
            show_progress=screen.progress,
            show_console=screen.console,
        )
    if outcome.error_message is None:
        print_json(outcome.output_data)
        return EXIT_OK
    click.echo(f"Error: {clean_text(outcome.error_message)}", err=True)
    return EXIT_FAILED


class _Screen:
    """Shows a job's console with a progress bar below it, on stderr; for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._bar = progress_bar("running")
        self._is_terminal = sys.stderr.isatty()
        self._begun_line = ""

    def __enter__(self) -> "_Screen":
        self._bar.__enter__()
        return self

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            if self._begun_line:
                self._print(f"{self._begun_line}\n")
            self._bar.render_finish()

    def progress(self, current: Optional[float], total: Optional[float]) -> None:
        """Move the bar."""
        with self._lock:
            move_bar(self._bar, current, total)

    def console(self, data: bytes) -> None:
        """Print what the job printed; on a terminal whole lines, above the bar."""
        with self._lock:
            text = self._begun_line + self._decoder.decode(data)
            # Whole lines only: the bar's next state would be drawn over a line that has only begun.
            end = 1 + max(text.rfind("\n"), text.rfind("\r", 0, -1))
            end = end if self._is_terminal else len(text)
            self._begun_line = text[end:]
            if end:
                self._print(text[:end])

    def _print(self, text: str) -> None:
        before = _CLEAR_LINE if self._is_terminal else ""
        click.echo(f"{before}{clean_text(text)}", err=True, nl=False)
        if self._is_terminal:
            self._bar.render_progress()
