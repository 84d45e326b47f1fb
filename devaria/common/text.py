"""Text for people: without signatures of URLs, without control characters, and not too long.

Every job process imports this module.
"""

import re

#: How much of a long text is kept at its beginning and at its end, in bytes of UTF-8.
HEAD_BYTES = 64_000
TAIL_BYTES = 900_000

#: The query string of a URL, anywhere in a text.
_QUERY = re.compile(r"(?<=[^\s?])\?[^\s\"'<>]+")

#: C0 controls except tab and line feed (so also ESC, which begins escape sequences), DEL and C1
#: controls; marks that change the direction of text, which can make a text look like another;
#: and lone surrogates, which cannot be encoded.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def without_queries(text: str) -> str:
    """Cut the query string off every URL in a text, since it may hold a signature.

    Args:
        text: Any text, such as the message of an exception.

    Returns:
        The text with `?…` in place of each query string.
    """
    return _QUERY.sub("?…", text)


def printable(text: str) -> str:
    r"""Escape the control characters in a text, so that it is safe on a terminal or a page.

    Args:
        text: Any text, such as a job's console.

    Returns:
        The text with escapes such as `\x1b` for control characters; newline and tab stay.
    """
    return _CONTROL.sub(lambda match: _escaped(match.group()), text)


def one_line(text: str, max_characters: int = 300) -> str:
    r"""Escape and shorten a text, so that it is safe to show in one line.

    Args:
        text: Any text, such as a name from a file, a URL or an error message.
        max_characters: A longer text is cut here, before it is escaped.

    Returns:
        The text with escapes such as `\x1b` for characters that are not printable.
    """
    kept = text if len(text) <= max_characters else text[:max_characters] + "…"
    return "".join(each if each.isprintable() else _escaped(each) for each in kept)


def shortened(text: str, max_bytes: int, head_bytes: int = HEAD_BYTES) -> str:
    """Shorten a text by cutting out its middle.

    Args:
        text: Any text.
        max_bytes: The size limit of the returned text in bytes of UTF-8, at least 100.
        head_bytes: How many bytes to keep at the beginning, at most half of `max_bytes`. The
            other bytes are kept at the end, where a failure gives its reason.

    Returns:
        The text, or its beginning and end with a line between them that says how much is missing.
    """
    # A lone surrogate counts 3 bytes, as does the U+FFFD that the worker replaces it with.
    data = text.encode("utf-8", "surrogatepass")
    if len(data) <= max_bytes:
        return text
    head = data[: min(head_bytes, max_bytes // 2)]
    tail_bytes = max_bytes - len(head) - len(_left_out(len(data)))
    return joined(head, data[len(data) - tail_bytes :], len(data) - len(head) - tail_bytes)


def joined(head: bytes, tail: bytes, left_out_bytes: int) -> str:
    """Join the beginning and the end of a text whose middle was cut out.

    Args:
        head: The beginning as UTF-8; the cut may be within a character.
        tail: The end as UTF-8; here, too, the cut may be within a character.
        left_out_bytes: How many bytes were cut out between them.

    Returns:
        The text; if anything was cut out, a line in the middle says how much.
    """
    if not left_out_bytes:
        return (head + tail).decode("utf-8", "replace")
    middle = _left_out(left_out_bytes).decode("ascii")
    return head.decode("utf-8", "ignore") + middle + tail.decode("utf-8", "ignore")


def _escaped(character: str) -> str:
    code = ord(character)
    return (
        f"\\x{code:02x}"
        if code < 0x100
        else f"\\u{code:04x}"
        if code < 0x10000
        else f"\\U{code:08x}"
    )


def _left_out(count: int) -> bytes:
    return f"\n[... {count:,} bytes left out ...]\n".encode("ascii")
