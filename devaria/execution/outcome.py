"""How a job ended, in a form that the worker takes: JSON values within its size limits."""

from dataclasses import dataclass, replace
from typing import Any, Dict, Optional

from devaria.common.js_json import compact_json
from devaria.common.text import shortened
from devaria.execution.result import too_big

#: The console's limit is 1,048,576; this is in UTF-8 bytes, of which a text has no fewer.
MAX_CONSOLE_BYTES = 1_000_000
#: Beside those, all of a job's fields lie in one row at the worker, of about 2.1 MB of UTF-8; its
#: parameters are at most 102,400 units, of up to 3 bytes each.
_MAX_REPORT_BYTES = 1_750_000
#: Likewise; its limit is 10,240.
_MAX_ERROR_BYTES = 10_000


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


def fitted(outcome: JobOutcome) -> JobOutcome:
    """Bring an outcome within the worker's limits, keeping what matters most.

    Args:
        outcome: Any outcome.

    Returns:
        The outcome with console and error message cut in their middle where they are too long.
        A result that is too big becomes an error that says so.
    """
    reason = too_big(outcome.output_data) if outcome.succeeded else None
    if reason is not None:
        outcome = replace(
            outcome, output_data=None, error_message=f"Job execution failed: {reason}"
        )
    message = outcome.error_message
    if message is not None:
        message = shortened(message, _MAX_ERROR_BYTES)
    output_bytes = len(compact_json(outcome.output_data).encode("utf-8"))
    room = min(_MAX_REPORT_BYTES - output_bytes, MAX_CONSOLE_BYTES)
    console = shortened(outcome.console_output, room)
    return replace(outcome, error_message=message, console_output=console)
