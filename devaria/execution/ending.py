"""How a job ended, put into words: from its last event, or from how its process ended."""

import signal
from typing import Any, Dict, Optional

from devaria.execution.outcome import JobOutcome

_LAST_LINES = 5
_MEGABYTE = 1_000_000


def outcome_of(event: Dict[str, Any], printed: str) -> JobOutcome:
    """Read the outcome that the job process told.

    Args:
        event: Its outcome event.
        printed: All that the job printed; counts where the handler passed no console itself.

    Returns:
        The outcome; the traceback of a failure stands at the end of the console.
    """
    console = event["console"] if event["console"] is not None else printed
    if event["traceback"]:
        console = _appended(console, event["traceback"])
    return JobOutcome(event["output"], event["error"], console)


def failure_of(
    reason: str, own_console: Optional[str], printed: str, memory_peak: int
) -> JobOutcome:
    """Say why a job failed that told no outcome.

    Args:
        reason: What ended it.
        own_console: The console that the handler passed itself, or None.
        printed: All that the job printed.
        memory_peak: The most memory that was seen, in bytes; 0 where none was.

    Returns:
        The outcome, with the memory peak and the last console lines in its message.
    """
    # What a crash printed is its last words, also where the handler tells its console itself.
    console = printed if own_console is None else _appended(own_console, printed)
    peak = f"; memory peak {memory_peak / _MEGABYTE:,.0f} MB" if memory_peak else ""
    last_lines = [line for line in console.splitlines() if line.strip()][-_LAST_LINES:]
    last = "; last console lines:\n" + "\n".join(last_lines) if last_lines else ""
    return JobOutcome(None, f"Job execution failed: {reason}{peak}{last}", console)


def death_of(exit_code: int) -> str:
    """Say how a process ended.

    Args:
        exit_code: Its exit code; the negative of a signal's number where one killed it.

    Returns:
        The end of a sentence that begins with a reason for a failure.
    """
    if exit_code >= 0:
        return f"its process ended with exit code {exit_code} before it returned a result"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    suspicion = " (perhaps for want of memory)" if name == "SIGKILL" else ""
    return f"its process was killed by {name}{suspicion} before it returned a result"


def _appended(console: str, text: str) -> str:
    separator = "" if not console or console.endswith("\n") else "\n"
    return console + separator + text
