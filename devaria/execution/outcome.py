"""How a job ended, as the runner knows it and as the worker accepts it."""

import json
from dataclasses import dataclass, replace
from typing import Any, Dict, Optional

from devaria.common.child_process import exit_text
from devaria.common.contract import OUTPUT_LIMIT
from devaria.common.js_json import compact_json
from devaria.common.text import shortened
from devaria.execution.result import too_big

#: The longest console in a report, in bytes of UTF-8. The worker's limit is 1,048,576 UTF-16 code
#: units; a text never has more of those than bytes.
MAX_CONSOLE_BYTES = 1_000_000
#: Likewise the longest error message; the worker's limit is 10,240 code units.
_MAX_ERROR_BYTES = 10_000
#: The most bytes of UTF-8 in a whole report. At the worker all fields of a job share one row of
#: about 2.1 MB; its parameters take up to 102,400 code units of up to 3 bytes each.
_MAX_REPORT_BYTES = 1_750_000

#: A result whose JSON, as Python writes it, is no longer than this is within every limit: as the
#: worker writes it, a number becomes at most 5 times as long (1e+20), and nothing else longer.
_SMALL_OUTPUT = OUTPUT_LIMIT // 5

#: How many of the last console lines an error message quotes.
_LAST_LINES = 5

_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class JobOutcome:
    """How a job ended: with a result or with an error.

    Args:
        output_data: The result of a job that succeeded, JSON values only; else None.
        error_message: Why the job failed, not empty; None where it succeeded.
        console_output: The job's whole console.
    """

    output_data: Optional[Dict[str, Any]]
    error_message: Optional[str]
    console_output: str

    @property
    def succeeded(self) -> bool:
        """Whether there is a result."""
        return self.error_message is None


def outcome_of(event: Dict[str, Any], printed: str) -> JobOutcome:
    """Return the outcome that a job process sent.

    Args:
        event: Its outcome event.
        printed: All that the job printed: the console, unless the handler passed its own.

    Returns:
        The outcome. The traceback of a failure stands at the end of the console.
    """
    console = event["console"] if event["console"] is not None else printed
    if event["traceback"]:
        console = _appended(console, event["traceback"])
    return JobOutcome(event["output"], event["error"], console)


def failure_of(
    reason: str, own_console: Optional[str], printed: str, memory_peak: int
) -> JobOutcome:
    """Return the outcome of a job whose process ended without sending one.

    Args:
        reason: What ended it.
        own_console: The console that the handler passed itself, or None.
        printed: All that the job printed.
        memory_peak: The most memory that was seen, in bytes; 0 where none was seen.

    Returns:
        The outcome. Its message has the memory peak and the last console lines.
    """
    # A crash prints its last words, also where the handler passes its own console.
    console = printed if own_console is None else _appended(own_console, printed)
    peak = f"; memory peak {memory_peak / _MEGABYTE:,.0f} MB" if memory_peak else ""
    last_lines = [line for line in console.splitlines() if line.strip()][-_LAST_LINES:]
    last = "; last console lines:\n" + "\n".join(last_lines) if last_lines else ""
    return JobOutcome(None, f"Job execution failed: {reason}{peak}{last}", console)


def death_of(exit_code: int) -> str:
    """Say how a job process ended that sent no outcome.

    Args:
        exit_code: Its exit code; negative where a signal ended it.

    Returns:
        A reason for `failure_of`.
    """
    ended = exit_text(exit_code)
    suspicion = " (perhaps for want of memory)" if ended.endswith("SIGKILL") else ""
    return f"its process {ended}{suspicion} before it returned a result"


def fitted(outcome: JobOutcome) -> JobOutcome:
    """Cut an outcome down to the worker's limits, keeping what matters most.

    Args:
        outcome: Any outcome.

    Returns:
        The outcome, with a console and an error message that are too long cut in their middle. A
        result that is too big becomes an error that says so.
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


def _with_output_that_fits(outcome: JobOutcome) -> JobOutcome:
    reason = too_big(outcome.output_data)
    if reason is None:
        return outcome
    return replace(outcome, output_data=None, error_message=f"Job execution failed: {reason}")


def _appended(console: str, text: str) -> str:
    separator = "" if not console or console.endswith("\n") else "\n"
    return console + separator + text
