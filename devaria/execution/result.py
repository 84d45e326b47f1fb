"""Turn what a handler returns or raises into JSON values or an error message.

Every job process imports this module, so it imports little. In particular it stays apart from
`devaria.execution.outcome`, whose dataclasses take several milliseconds to import.
"""

import math
import os
from typing import Any, Dict, List, Optional

from devaria.common.contract import MAX_VALUE_DEPTH, OUTPUT_LIMIT
from devaria.common.errors import JobError
from devaria.common.js_json import compact_json, utf16_length


class NotJsonError(TypeError):
    """A handler returned something that JSON or the worker cannot hold; the text says what."""


def json_ready(value: Any, path: str = "result") -> Any:
    """Return a handler's result as plain JSON values.

    Args:
        value: Dicts, lists, tuples, strings, finite numbers, booleans, None, and numpy's scalars
            and arrays of them.
        path: The name of the value in error messages.

    Returns:
        The value in dicts with string keys, lists, and plain Python values.

    Raises:
        NotJsonError: The value holds anything else.
    """
    return _ready(value, path, [])


def ready_result(returned: Any) -> Dict[str, Any]:
    """Return a handler's result, checked and in plain JSON values.

    Args:
        returned: What `execute` returned.

    Returns:
        The result. An entry `console_output`, if there is one, is a string.

    Raises:
        NotJsonError: It is not a dict of JSON values, or it is too big for the worker.
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
    """Return the error message for the worker when a handler raises."""
    text = without_folders(_text_of(error), error)
    if isinstance(error, ValueError):
        return f"Invalid parameters: {text}"
    if isinstance(error, NotJsonError) or type(error) is JobError:
        return f"Job execution failed: {text}"
    return f"Job execution failed: {type(error).__name__}: {text}"


def without_folders(text: str, error: BaseException) -> str:
    """Cut the absolute paths of files that could not be used to their last part.

    Args:
        text: A text about an exception.
        error: The exception. The paths are those of each `OSError` in its chain.
    """
    waiting: List[Optional[BaseException]] = [error]
    seen: List[BaseException] = []
    while waiting:
        each = waiting.pop()
        if each is None or any(each is other for other in seen):
            continue
        seen.append(each)
        waiting += [each.__cause__, each.__context__]
        waiting += getattr(each, "exceptions", None) or []  # Python 3.11 has groups
        if isinstance(each, OSError):
            for name in (each.filename, each.filename2):
                text = _with_last_part(text, name)
    return text


def _with_last_part(text: str, name: Any) -> str:
    if not isinstance(name, (str, bytes, os.PathLike)):
        return text
    path = os.fsdecode(name)
    last = path.replace("\\", "/").rstrip("/").rpartition("/")[2]
    if not os.path.isabs(path) or not last:  # noqa: PTH117 - pathlib takes long to import
        return text
    # As it is, and as `repr` writes it.
    for form in (path, repr(path)[1:-1], repr(os.fsencode(path))[2:-1]):
        text = text.replace(form, last)
    return text


def too_big(output_data: Any) -> Optional[str]:
    """Return why the worker would refuse an output for its size.

    Args:
        output_data: A JSON value.

    Returns:
        A clause with size and limit; None if the output is within the limit.
    """
    units = utf16_length(compact_json(output_data))
    if units <= OUTPUT_LIMIT:
        return None
    return (
        f"the result is too big: {units:,} characters of JSON, "
        f"and the worker takes at most {OUTPUT_LIMIT:,}"
    )


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
    if id(value) in parents or len(parents) > MAX_VALUE_DEPTH:
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
    # By name, not by import: numpy is not a dependency, and takes a tenth of a second to import.
    is_numpy = type(value).__module__.split(".")[0] == "numpy" and hasattr(value, "tolist")
    if not is_numpy:
        raise NotJsonError(f"{path} is of type {type(value).__name__}, which JSON cannot hold")
    if value.size > OUTPUT_LIMIT:
        raise NotJsonError(f"{path} is an array of {value.size:,} values, too big for a result")
    plain = value.tolist()
    if type(plain) is type(value):  # such as numpy.longdouble, which has no plain counterpart
        raise NotJsonError(f"{path} is of type {type(value).__name__}, which JSON cannot hold")
    return plain


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # its own __str__ may raise anything
        return "<an exception whose text cannot be made>"
