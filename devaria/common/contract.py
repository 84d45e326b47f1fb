"""The sizes and depths that the worker and its clients accept.

Every job process imports this module.
"""

from devaria.common import js_json

#: The worker's limits in UTF-16 code units, inclusive. Those of input and output count compact
#: JSON.
INPUT_LIMIT = 102_400
OUTPUT_LIMIT = 512_000
CONSOLE_LIMIT = 1_048_576
ERROR_LIMIT = 10_240

#: How deep a job's parameters or result may be nested. Nobody's honest ones are deeper; a list
#: that holds itself is.
MAX_VALUE_DEPTH = 200

#: An answer of the worker is read down to this depth: submitters nest their parameters as deeply
#: as they like. Python's parser fails near 1,000, and 3.8 may abort there, so nobody tries it out.
MAX_ANSWER_DEPTH = 400


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
