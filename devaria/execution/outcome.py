"""How a job ended, as the runner knows it and as the worker accepts it."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Dict, Optional, Union

from devaria.common.child_process import exit_text
from devaria.common.contract import OUTPUT_LIMIT
from devaria.common.js_json import compact_json
from devaria.common.text import shortened
from devaria.execution.events import Ended, Heard, Misfit
from devaria.execution.result import too_big

#: The longest console in a report, in bytes of UTF-8. The worker's limit is 1,048,576 UTF-16 code
#: units; a text never has more of those than bytes.
MAX_CONSOLE_BYTES = 1_000_000
#: The longest error message, in bytes of UTF-8. The worker's limit is 10,240 code units.
_MAX_ERROR_BYTES = 10_000
#: The longest whole report, in bytes of UTF-8. At the worker all fields of a job share one row of
#: about 2.1 MB. The job's parameters take up to 102,400 code units of up to 3 bytes each.
_MAX_REPORT_BYTES = 1_750_000

#: A result is within every limit if its JSON, as Python writes it, is no longer than this. As the
#: worker writes it, a number may be 5 times as long (1e+20), and nothing else is longer.
_SMALL_OUTPUT = OUTPUT_LIMIT // 5

#: How many of the last console lines an error message quotes.
_LAST_LINES = 5

#: The longest outcome on disk, in bytes. An entry of the journal has a little more room.
_MAX_OUTCOME_BYTES = 31_000_000

_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class JobOutcome:
    """How a job ended: with a result or with an error.

    Args:
        output_data: The result, JSON values only; None if the job failed.
        error_message: Why the job failed, not empty; None if it succeeded.
        console_output: The job's whole console.
    """

    output_data: Optional[Dict[str, Any]]
    error_message: Optional[str]
    console_output: str

    @property
    def succeeded(self) -> bool:
        """Whether there is a result."""
        return self.error_message is None


def outcome_of(end: Union[Ended, Misfit], own_console: Optional[str], printed: str) -> JobOutcome:
    """Return the outcome that a job process sent.

    Args:
        end: Its last event. One that does not fit is an error of the job.
        own_console: The console that the handler passed itself before, or None.
        printed: All that the job printed: the console, unless the handler passed its own.

    Returns:
        The outcome. The traceback of a failure stands at the end of the console.
    """
    if isinstance(end, Misfit):
        reason = f"its process sent an event {end.kind!r} that does not fit: {end.reason}"
        return failure_of(reason, own_console, printed, 0)
    console = end.console if end.console is not None else printed
    if end.traceback:
        console = _appended(console, end.traceback)
    return JobOutcome(end.output, end.error, console)


def failure_of(
    reason: str, own_console: Optional[str], printed: str, memory_peak: int
) -> JobOutcome:
    """Return the outcome of a job whose process ended without sending one.

    Args:
        reason: What ended it.
        own_console: The console that the handler passed itself, or None.
        printed: All that the job printed.
        memory_peak: The most memory that was measured, in bytes; 0 if none was.

    Returns:
        The outcome. Its message ends with the memory peak and the last console lines.
    """
    # A crash prints its reason, even if the handler passes its own console.
    console = printed if own_console is None else _appended(own_console, printed)
    peak = f"; memory peak {memory_peak / _MEGABYTE:,.0f} MB" if memory_peak else ""
    last_lines = [line for line in console.splitlines() if line.strip()][-_LAST_LINES:]
    last = "; last console lines:\n" + "\n".join(last_lines) if last_lines else ""
    return JobOutcome(None, f"Job execution failed: {reason}{peak}{last}", console)


def death_of(exit_code: int, heard: Heard) -> str:
    """Return how a job process without an outcome ended.

    Args:
        exit_code: Its exit code; negative if a signal ended it.
        heard: What it has said.

    Returns:
        A reason for `failure_of`.
    """
    ended = exit_text(exit_code)
    suspicion = " (perhaps out of memory)" if ended.endswith("SIGKILL") else ""
    garbage = "; something in it wrote what is no event to the runner" if heard.has_garbage else ""
    return f"its process {ended}{suspicion} before it returned a result{garbage}"


def fitted(outcome: JobOutcome) -> JobOutcome:
    """Cut an outcome down to the worker's limits.

    Args:
        outcome: Any outcome.

    Returns:
        The outcome. A console or an error message that is too long has lost its middle. A result
        that is too big has become an error that says so.
    """
    room = MAX_CONSOLE_BYTES
    if len(json.dumps(outcome.output_data)) > _SMALL_OUTPUT:
        outcome = _with_output_that_fits(outcome)
        output_bytes = len(compact_json(outcome.output_data).encode("utf-8"))
        room = min(room, _MAX_REPORT_BYTES - output_bytes)
    message = outcome.error_message
    if message is not None:
        message = shortened(message, _MAX_ERROR_BYTES)
    console = shortened(outcome.console_output, room)
    return replace(outcome, error_message=message, console_output=console)


def keepable(outcome: JobOutcome) -> JobOutcome:
    """Return an outcome that an entry has room for: one that is too big becomes an error."""
    if len(json.dumps(asdict(outcome))) <= _MAX_OUTCOME_BYTES:
        return outcome
    reason = "Job execution failed: its result and its console are too big to be kept"
    error = outcome.error_message or reason
    return fitted(replace(outcome, output_data=None, error_message=error))


def _with_output_that_fits(outcome: JobOutcome) -> JobOutcome:
    reason = too_big(outcome.output_data)
    if reason is None:
        return outcome
    return replace(outcome, output_data=None, error_message=f"Job execution failed: {reason}")


def _appended(console: str, text: str) -> str:
    separator = "" if not console or console.endswith("\n") else "\n"
    return console + separator + text
