"""How a job ended, in a form that the worker takes: JSON values within its size limits."""

import math
from dataclasses import dataclass, replace
from typing import Any, Dict, List, Optional

from devaria.console import shortened
from devaria.js_json import compact_json, utf16_length

#: The worker's limit, in UTF-16 code units, inclusive.
MAX_OUTPUT_UNITS = 512_000

#: The console's limit is 1,048,576; this is in UTF-8 bytes, of which a text has no fewer.
MAX_CONSOLE_BYTES = 1_000_000
#: Beside those, all of a job's fields lie in one row at the worker, of about 2.1 MB of UTF-8; its
#: parameters are at most 102,400 units, of up to 3 bytes each.
_MAX_REPORT_BYTES = 1_750_000
#: Likewise; its limit is 10,240.
_MAX_ERROR_BYTES = 10_000

#: No result is this deep; a list that holds itself through other objects is.
_MAX_DEPTH = 200


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


class NotJsonError(TypeError):
    """A handler returned something that JSON cannot hold; the text names where and what."""


def json_ready(value: Any, path: str = "result") -> Any:
    """Turn what a handler returned into plain JSON values.

    Args:
        value: Dicts, lists, tuples, strings, finite numbers, booleans, None, and numpy's scalars
            and arrays of them.
        path: How error texts name the value.

    Returns:
        The same in dicts with string keys, lists, and plain Python values.

    Raises:
        NotJsonError: Anything else is in there.
    """
    return _ready(value, path, [])


def ready_result(returned: Any) -> Dict[str, Any]:
    """Check what a handler returned.

    Args:
        returned: What its `execute` returned.

    Returns:
        The same in plain JSON values; `console_output`, where it is there, is a string.

    Raises:
        NotJsonError: It is no dict of JSON values, or too big for the worker.
    """
    if not isinstance(returned, dict):
        raise NotJsonError(f"a handler returns a dict; this one returned {type(returned).__name__}")
    result: Dict[str, Any] = json_ready(returned)
    console = result.get("console_output", "")
    if not isinstance(console, str):
        raise NotJsonError(
            f"result['console_output'] is of type {type(console).__name__}; it must be a string"
        )
    reason = too_big({name: value for name, value in result.items() if name != "console_output"})
    if reason is not None:
        raise NotJsonError(reason)
    return result


def failure_text(error: BaseException) -> str:
    """Say what is reported when a handler raises.

    Args:
        error: What it raised.

    Returns:
        The error message for the worker.
    """
    text = _text_of(error)
    if isinstance(error, ValueError):
        return f"Invalid parameters: {text}"
    if isinstance(error, NotJsonError):
        return f"Job execution failed: {text}"
    return f"Job execution failed: {type(error).__name__}: {text}"


def too_big(output_data: Any) -> Optional[str]:
    """Say why an output would be refused for its size.

    Args:
        output_data: A JSON value.

    Returns:
        One sentence with size and limit, or None where the size is right.
    """
    units = utf16_length(compact_json(output_data))
    if units <= MAX_OUTPUT_UNITS:
        return None
    return (
        f"the result is too big: {units:,} characters of JSON, "
        f"and the worker takes at most {MAX_OUTPUT_UNITS:,}"
    )


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


def _ready(value: Any, path: str, parents: List[int]) -> Any:
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return _ready_int(value, path)
    if isinstance(value, float):
        if not math.isfinite(value):
            name = "NaN" if math.isnan(value) else "infinity"
            raise NotJsonError(f"{path} is {name}, which JSON cannot hold")
        return float(value)
    if id(value) in parents or len(parents) > _MAX_DEPTH:
        raise NotJsonError(f"{path} holds itself or is nested too deeply, which JSON cannot hold")
    if isinstance(value, dict):
        return _ready_dict(value, path, [*parents, id(value)])
    if isinstance(value, (list, tuple)):
        inner = [*parents, id(value)]
        return [_ready(item, f"{path}[{index}]", inner) for index, item in enumerate(value)]
    return _ready(_from_numpy(value, path), path, parents)


def _ready_int(value: int, path: str) -> int:
    try:
        float(value)
    except OverflowError:
        raise NotJsonError(
            f"{path} is an integer beyond 1.8e308, which no JSON number at the worker can be"
        ) from None
    return int(value)


def _ready_dict(value: Dict[Any, Any], path: str, parents: List[int]) -> Dict[str, Any]:
    ready: Dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(key, bool) or not isinstance(key, (str, int)):
            raise NotJsonError(
                f"{path} has a key of type {type(key).__name__}; JSON keys are strings"
            )
        name = key if isinstance(key, str) else str(int(key))
        if name in ready:
            raise NotJsonError(f"{path} has the key {name!r} twice, as a number and as a string")
        ready[name] = _ready(item, f"{path}[{key!r}]", parents)
    return ready


def _from_numpy(value: Any, path: str) -> Any:
    # By name, not by import: numpy is no dependency, and costs a tenth of a second.
    is_numpy = type(value).__module__.split(".")[0] == "numpy" and hasattr(value, "tolist")
    if not is_numpy:
        raise NotJsonError(f"{path} is of type {type(value).__name__}, which JSON cannot hold")
    if value.size > MAX_OUTPUT_UNITS:
        raise NotJsonError(f"{path} is an array of {value.size:,} values, too big for a result")
    plain = value.tolist()
    if type(plain) is type(value):  # such as numpy.longdouble, which has no Python twin
        raise NotJsonError(f"{path} is of type {type(value).__name__}, which JSON cannot hold")
    return plain


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # its own __str__ fails, with whatever it likes
        return "<an exception whose text cannot be made>"
