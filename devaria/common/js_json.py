"""JSON as JavaScript reads, writes and measures it.

The hosted worker is a JavaScript program. It reads a job's parameters and results and writes them
again, so 1.0 becomes 1, integers beyond 2**53 are rounded, and sizes are those of
``JSON.stringify``. Number and string forms follow ECMA-262, Number::toString and QuoteJSONString.

Every job process imports this module, so what few values need is imported, or
compiled, on first use.
"""

import json
import math
import re
from typing import TYPE_CHECKING, Any, Callable, Dict, List, NoReturn, Optional, Tuple, Union

from devaria.common.contract import MAX_BODY_DEPTH

if TYPE_CHECKING:
    from decimal import Decimal

_SURROGATE = re.compile("[\ud800-\udfff]")
# A number in a form that only Python writes. Strings are matched too, so that they are skipped.
_STRING_OR_SMALL_NUMBER = r'"(?:[^"\\]|\\.)*"|-?[\d.]+e-0\d'
# A string that does not end matches too, to the end of the text. Otherwise the search would begin
# again at each of its quotes, and take quadratic time.
STRING_OR_BRACKET = r'[\[\]{}]|"[^"\\]*(?:\\[\s\S][^"\\]*)*(?:"|\\?\Z)'
# No double has more digits before the point.
_MAX_DIGITS = 400
# An integer of at most this many digits is exact as a double, and int() reads it in a fifth of the
# time that float and Decimal take.
_SAFE_DIGITS = 15


def loads(body: bytes) -> Any:
    """Parse a request body as ``await request.json()`` would.

    Args:
        body: UTF-8. Invalid bytes are read as U+FFFD; a byte order mark is dropped.

    Returns:
        The value. A number is an int if JavaScript would write it without point and exponent,
        else a float. A number too big for a double is None, since JavaScript writes it as null.

    Raises:
        ValueError: The body is not JSON (NaN and Infinity are not), or is nested deeper than
            `MAX_BODY_DEPTH` levels.
    """
    text = body.decode("utf-8-sig", "replace")
    check_depth(text)
    return _parsed(text, _refuse)


def read(text: str) -> Any:
    """Parse what a worker wrote. Numbers are as for ``loads``.

    Python would give up on an integer of thousands of digits, and take hours for one of millions.

    Args:
        text: JSON. NaN and Infinity, which JavaScript does not write, are read as None.

    Raises:
        ValueError: It is not JSON.
        RecursionError: It is nested too deeply.
    """
    return _parsed(text, lambda _constant: None)


def dumps(value: Any, *, sort_keys: bool = False) -> str:
    """Write a value as ``JSON.stringify(value)`` would: compact, and escaped only where necessary.

    Args:
        value: A value from ``loads``, or one built of the same types.
        sort_keys: Whether object keys are sorted, at every depth.

    Returns:
        The JSON text. It can always be encoded as UTF-8: lone surrogates are written as escapes.

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
    """Write a Python value as the worker would after reading it.

    Args:
        value: Any JSON value. 1.0 becomes 1, and an integer too big for a double becomes null.
        sort_keys: Whether object keys are sorted, at every depth.

    Returns:
        The JSON text that the worker measures and by which it compares jobs.

    Raises:
        ValueError: A float in it is NaN or infinite.
    """
    return dumps(loads(json.dumps(value, allow_nan=False).encode("ascii")), sort_keys=sort_keys)


def utf16_length(text: str) -> int:
    """Count UTF-16 code units, as JavaScript's ``text.length`` does.

    Args:
        text: Any string, lone surrogates included.

    Returns:
        The number of code units: 2 for a character beyond U+FFFF, 1 for every other.
    """
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def well_formed(text: str) -> str:
    """Return the text with U+FFFD for each lone surrogate, so that it can be encoded as UTF-8."""
    return _SURROGATE.sub("\ufffd", text)


def _sorted(value: Any) -> Any:
    """Sort keys as JavaScript compares strings: by UTF-16 code units, not by code points."""
    # The parser's C code goes deeper than a recursive Python function could.
    return json.loads(json.dumps(value), object_pairs_hook=_in_utf16_order)


def _in_utf16_order(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    return dict(sorted(pairs, key=lambda pair: pair[0].encode("utf-16-be", "surrogatepass")))


def check_depth(text: str) -> None:
    """Raise ValueError for a JSON text nested deeper than `MAX_BODY_DEPTH` levels.

    Call it before parsing: a text that is nested too deeply can crash the parser.
    """
    if text.count("[") + text.count("{") <= MAX_BODY_DEPTH:
        return
    depth = 0
    for match in re.finditer(STRING_OR_BRACKET, text):
        depth += (match.group() in "[{") - (match.group() in "]}")
        if depth > MAX_BODY_DEPTH:
            raise ValueError(f"JSON is nested deeper than {MAX_BODY_DEPTH} levels")


def _parsed(text: str, constant: Callable[[str], Any]) -> Any:
    return json.loads(text, parse_int=_number, parse_float=_number, parse_constant=constant)


def _number(text: str) -> Optional[Union[int, float]]:
    if len(text) <= _SAFE_DIGITS and text.lstrip("-").isdigit():
        return int(text)
    value = math.inf if len(text) > _MAX_DIGITS and text.lstrip("-").isdigit() else float(text)
    if math.isinf(value):
        return None
    if value.is_integer() and abs(value) < 1e21:
        # JavaScript writes the shortest digits that identify the double, then zeros. int(value)
        # would give all of the double's digits.
        return int(_decimal(repr(value)))
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"Unexpected token in JSON: {constant}")


def _small_number(match: "re.Match[str]") -> str:
    token = match.group()
    if token.startswith('"'):
        return token
    if token[-1] in "56":  # Python writes exponents from 1e-5 down, JavaScript from 1e-7
        return format(_decimal(token), "f")
    return token.replace("e-0", "e-")


def _decimal(text: str) -> "Decimal":
    from decimal import Decimal

    return Decimal(text)
