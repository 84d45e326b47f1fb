"""The sizes that the worker accepts, in UTF-16 code units, inclusive."""

from devaria import js_json

INPUT_LIMIT = 102_400
OUTPUT_LIMIT = 512_000
CONSOLE_LIMIT = 1_048_576
ERROR_LIMIT = 10_240


class TooBigError(Exception):
    """A field exceeds its limit; the text is the one that the worker answers."""


def check_size(what: str, text: str, limit: int) -> None:
    """Refuse a field that is over its limit.

    Args:
        what: The field's name in the answer.
        text: Its text; for JSON values, their compact JSON.
        limit: The most UTF-16 code units that it may have. (The answer says bytes, as the hosted
            worker's does.)

    Raises:
        TooBigError: It has more.
    """
    if js_json.utf16_length(text) > limit:
        raise TooBigError(f"{what} exceeds size limit of {limit} bytes")
