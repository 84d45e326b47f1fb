"""What can be wrong with a submitted file, and how to name it in one line.

ValueError
└── InvalidInputError    the job's parameters are wrong: a URL or a path that cannot be meant
Exception
└── NwbError             the parameters are well-formed, but the file is no use: unreachable,
                         broken, hostile, or without spikes
"""

import re

#: A query string and the character before it, wherever a URL stands in a text.
_QUERY = re.compile(r"(?<=[^\s?])\?[^\s\"'<>]+")


class InvalidInputError(ValueError):
    """A job parameter is wrong; whoever submitted it can mend it."""


class NwbError(Exception):
    """The file cannot be drawn; the text says why and stands alone."""


def without_queries(text: str) -> str:
    """Cut the query string off every URL in a text: it may hold a signature.

    Args:
        text: Any text, such as the message of an exception.

    Returns:
        The text with ``?…`` in place of each query string.
    """
    return _QUERY.sub("?…", text)


def printable(text: str, limit: int = 300) -> str:
    r"""Make a stranger's text safe to print: one line, no control codes, bounded.

    Args:
        text: Text out of a file, a URL or a library's error message.
        limit: Longest length, in characters, that is kept whole.

    Returns:
        The text with escapes such as ``\x1b`` in place of what is not printable.
    """
    kept = text if len(text) <= limit else text[:limit] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in kept)
