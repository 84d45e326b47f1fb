"""JSON as the worker, which is JavaScript, writes and measures it.

The worker measures sizes, and tells jobs apart, on its own compact JSON: no white space, printable
characters unescaped, numbers as JavaScript prints them (1.0 is `1`, 1e16 is `10000000000000000`).
"""

import json
import math
import re
from typing import Any, Iterable

#: JavaScript numbers are doubles: integers past this are rounded.
_MAX_SAFE_INTEGER = 2**53

#: The only printable thing that JavaScript escapes: half a pair, which is no character.
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def utf16_units(text: str) -> int:
    """Measure a text as the worker does.

    Args:
        text: Any text, lone surrogates included.

    Returns:
        Its length in UTF-16 code units; a character beyond U+FFFF counts two.
    """
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def compact_json(value: Any, *, sort_keys: bool = False) -> str:
    """Write a JSON value as the worker would.

    Args:
        value: Dicts with string keys, lists, tuples, strings, numbers, booleans, None. Numbers
            that JavaScript has not (1e999, NaN) become `null`.
        sort_keys: Sort the keys of every object by UTF-16 code units.

    Returns:
        The compact JSON text.
    """
    if isinstance(value, str):
        return _string(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (int, float)):
        return _number(value)
    if isinstance(value, dict):
        keys: Iterable[str] = sorted(value, key=_utf16_order) if sort_keys else value
        entries = (
            f"{_string(key)}:{compact_json(value[key], sort_keys=sort_keys)}" for key in keys
        )
        return "{" + ",".join(entries) + "}"
    return "[" + ",".join(compact_json(item, sort_keys=sort_keys) for item in value) + "]"


def _utf16_order(key: str) -> bytes:
    return key.encode("utf-16-be", "surrogatepass")


def _string(text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False)
    return _LONE_SURROGATE.sub(lambda match: f"\\u{ord(match.group()):04x}", quoted)


def _number(value: float) -> str:
    if isinstance(value, int) and abs(value) <= _MAX_SAFE_INTEGER:
        return str(int(value))
    try:
        number = float(value)
    except OverflowError:
        return "null"
    if not math.isfinite(number):
        return "null"
    return _js_float(number)


def _js_float(number: float) -> str:
    """Number::toString of ECMA-262, 6.1.6.1.20, from Python's digits, which are the same ones."""
    if number == 0:
        return "0"
    sign = "-" if number < 0 else ""
    mantissa, _, exponent_text = f"{abs(number)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    leading = whole + fraction
    point = len(whole) + int(exponent_text or 0)  # where the decimal point stands in the digits
    point -= len(leading) - len(leading.lstrip("0"))
    digits = leading.strip("0")
    return sign + _placed(digits, point)


def _placed(digits: str, point: int) -> str:
    if len(digits) <= point <= 21:
        return digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return "0." + "0" * -point + digits
    mantissa = digits if len(digits) == 1 else f"{digits[0]}.{digits[1:]}"
    return f"{mantissa}e{point - 1:+d}"
