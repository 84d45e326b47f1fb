"""Read job parameters from a command line."""

import json
import math
from pathlib import Path
from typing import Any, Dict, Iterable, Optional

from devaria.common.errors import JobInputError
from devaria.common.js_json import check_depth


def parsed_params(pairs: Iterable[str], text: Optional[str]) -> Dict[str, Any]:
    """Read job parameters from a command line.

    Args:
        pairs: `name=value` each. A value that parses as JSON is taken as JSON, any other as a
            string.
        text: A JSON object, or `@` and the name of a file that holds one. A pair overrides a
            parameter of the same name here.

    Returns:
        The parameters.

    Raises:
        JobInputError: Something cannot be read; the text says what and why.
    """
    params = _parsed_object(text) if text is not None else {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise JobInputError(f"-p {pair!r} is not of the form name=value")
        params[name] = _json_or_text(value)
    return params


def _parsed_object(text: str) -> Dict[str, Any]:
    where = "--params"
    if text.startswith("@"):
        where = text[1:]
        try:
            text = Path(where).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise JobInputError(f"cannot read the parameters in {where}: {reason}") from None
    try:
        params = _parsed_json(text)
    except ValueError as error:
        raise JobInputError(f"{where} is not JSON: {error}") from None
    if not isinstance(params, dict):
        raise JobInputError(f'{where} must hold a JSON object, such as \'{{"name": "Alice"}}\'')
    return params


def _json_or_text(value: str) -> Any:
    try:
        return _parsed_json(value)
    except ValueError:
        return value


def _parsed_json(text: str) -> Any:
    check_depth(text)
    return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits} is too large for a number in JSON")
    return number


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"JSON has no {name}")
