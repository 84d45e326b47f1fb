"""JSON as JavaScript reads, writes and measures it.

The hosted worker is a JavaScript program, and what it does with a job's parameters and results
shows: 1.0 becomes 1, integers beyond 2**53 are rounded, sizes are those of ``JSON.stringify``.
Source of the number and string forms: ECMA-262, Number::toString and QuoteJSONString.
"""

import json
import math
import re
from typing import TYPE_CHECKING, Any, Dict, List, NoReturn, Optional, Tuple, Union

if TYPE_CHECKING:
    from decimal import Decimal

_SURROGATE = re.compile("[\ud800-\udfff]")
# These two are compiled when they are needed first: every job process starts here.
# A string, so that it is skipped as a whole, or a number in a form that only Python writes.
_STRING_OR_SMALL_NUMBER = r'"(?:[^"\\]|\\.)*"|-?[\d.]+e-0\d'
STRING_OR_BRACKET = r'[\[\]{}]|"[^"\\]*(?:\\.[^"\\]*)*"'
# Half of Python's recursion limit: what was read once can be written again, within other JSON and
# from another depth of calls. JavaScript has no such limit; nothing sensible comes near it.
MAX_DEPTH = 500
# Python's int of that many digits is exact as a double too, and int() is five times as fast.
_SAFE_DIGITS = 15


def loads(body: bytes) -> Any:
    """Parse a request body as ``await request.json()`` would.

    Args:
        body: UTF-8; what is not valid in it is read as U+FFFD. A byte order mark is dropped.

    Returns:
        The value. Numbers are int where JavaScript would write them without point and exponent,
        else float; a number too big for a double is None, as it would be written again.

    Raises:
        ValueError: It is no JSON (NaN and Infinity are not either), or is nested deeper than 500
            levels.
    """
    text = body.decode("utf-8-sig", "replace")
    check_depth(text)
    return json.loads(
        text,
        parse_int=_number,
        parse_float=_number,
        parse_constant=_refuse,
    )


def dumps(value: Any, *, sort_keys: bool = False) -> str:
    """Write a value as ``JSON.stringify(value)`` would: compact, with nothing escaped needlessly.

    Args:
        value: What ``loads`` returned, or built of the same types.
        sort_keys: Whether object keys are sorted, at every depth.

    Returns:
        The JSON text. It can always be encoded as UTF-8: lone surrogates stand in it as escapes.

    Raises:
        ValueError: A float in it is NaN or infinite.
    """
    if sort_keys:
        value = _sorted(value)
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    if "e-0" in text:
        text = re.sub(_STRING_OR_SMALL_NUMBER, _small_number, text)
    return _SURROGATE.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def compact_json(value: Any, *, sort_keys: bool = False) -> str:
    """Write a value as the worker would after it has read it.

    Args:
        value: Any JSON value, as Python has it: 1.0 becomes 1, an integer beyond all doubles null.
        sort_keys: Whether object keys are sorted, at every depth.

    Returns:
        The JSON text, on which the worker measures sizes and compares jobs.

    Raises:
        ValueError: A float in it is NaN or infinite.
    """
    return dumps(loads(json.dumps(value, allow_nan=False).encode("ascii")), sort_keys=sort_keys)


def utf16_length(text: str) -> int:
    """Count UTF-16 code units, which is what JavaScript's ``text.length`` counts.

    Args:
        text: Any string, lone surrogates included.

    Returns:
        The number of code units: 2 for a character beyond U+FFFF, 1 for every other.
    """
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def well_formed(text: str) -> str:
    """Replace lone surrogates by U+FFFD, as storing the text in UTF-8 would.

    Args:
        text: Any string.

    Returns:
        A string that can be encoded as UTF-8.
    """
    return _SURROGATE.sub("\ufffd", text)


def _sorted(value: Any) -> Any:
    """Sort keys as JavaScript compares strings: by UTF-16 code units, not by code points."""
    # Through the parser, whose C code goes deeper than Python's own calls could.
    return json.loads(json.dumps(value), object_pairs_hook=_in_utf16_order)


def _in_utf16_order(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    return dict(sorted(pairs, key=lambda pair: pair[0].encode("utf-16-be", "surrogatepass")))


def check_depth(text: str) -> None:
    """Refuse a JSON text that is nested so deeply that its parser might not come back.

    Args:
        text: What is about to be parsed.

    Raises:
        ValueError: It is nested deeper than 500 levels.
    """
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for match in re.finditer(STRING_OR_BRACKET, text):
        depth += (match.group() in "[{") - (match.group() in "]}")
        if depth > MAX_DEPTH:
            raise ValueError(f"JSON is nested deeper than {MAX_DEPTH} levels")


def _number(text: str) -> Optional[Union[int, float]]:
    if len(text) <= _SAFE_DIGITS and text.lstrip("-").isdigit():
        return int(text)
    value = float(text)
    if math.isinf(value):
        return None
    if value.is_integer() and abs(value) < 1e21:
        # The shortest digits that name the double, then zeros: not int(value), which would
        # write digits that JavaScript does not.
        return int(_decimal(repr(value)))
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"Unexpected token in JSON: {constant}")


def _small_number(match: "re.Match[str]") -> str:
    token = match.group()
    if token.startswith('"'):
        return token
    if token[-1] in "56":  # Python changes to exponents at 1e-5, JavaScript at 1e-7
        return format(_decimal(token), "f")
    return token.replace("e-0", "e-")


def _decimal(text: str) -> "Decimal":
    from decimal import Decimal  # here, since few values need it, and every job process starts here

    return Decimal(text)
