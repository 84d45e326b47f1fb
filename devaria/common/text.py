"""Text for people: without secrets, without control characters, and not too long.

Every job process imports this module.
"""

import re
from typing import Iterable

#: How much of a long text's beginning and end is kept, in bytes of UTF-8.
HEAD_BYTES = 64_000
TAIL_BYTES = 900_000

#: A URL to its end, with its query. To look for the query here would read a text of many URLs
#: without one again from each of them to the end.
_URL = re.compile(r"https?://[^\s'\"<>]+", re.IGNORECASE)
#: What the query strings of signed URLs have in them.
_CREDENTIAL = re.compile("sig|token|key|secret|password|credential|x-amz-|x-goog-", re.IGNORECASE)
#: A header that an error text quotes.
_AUTHORIZATION = re.compile(r"(?i)(authorization['\"]?\s*[:=]\s*['\"]?(?:bearer\s+)?)[^\s'\",]+")
#: A query string and the character before it, wherever a URL stands in a text.
_QUERY = re.compile(r"(?<=[^\s?])\?[^\s\"'<>]+")

#: C0 and C1 controls (escape sequences among them) but tab and line feed, DEL, marks that change
#: the direction of text and so can show it as another one, and lone surrogates, which no output
#: can carry.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """Cut keys, `Authorization` values and signed URLs' query strings out of a text.

    Args:
        text: Any text.
        secrets: Strings that must not appear; empty ones are ignored.

    Returns:
        The text with `***` in their places.
    """
    # The longest first: one that is the beginning of another would leave that one's end behind.
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "***")
    text = _AUTHORIZATION.sub(r"\1***", text)
    return _URL.sub(_without_signature, text)


def without_queries(text: str) -> str:
    """Cut the query string off every URL in a text: it may hold a signature.

    Args:
        text: Any text, such as the message of an exception.

    Returns:
        The text with `?…` in place of each query string.
    """
    return _QUERY.sub("?…", text)


def printable(text: str) -> str:
    r"""Make a stranger's text safe to show, on a terminal or a page.

    Args:
        text: Any text, such as a job's console.

    Returns:
        The text with each control character but newline and tab written as `\x1b` and the like.
    """
    return _CONTROL.sub(lambda match: _escaped(match.group()), text)


def one_line(text: str, max_characters: int = 300) -> str:
    r"""Make a stranger's text safe to show in one line of bounded length.

    Args:
        text: A text out of a file, a URL or a library's error message.
        max_characters: A longer text is cut here.

    Returns:
        The text with escapes such as `\x1b` in place of what is not printable.
    """
    kept = text if len(text) <= max_characters else text[:max_characters] + "…"
    return "".join(each if each.isprintable() else _escaped(each) for each in kept)


def shortened(text: str, max_bytes: int, head_bytes: int = HEAD_BYTES) -> str:
    """Cut out of the middle of a text what is too much of it.

    Args:
        text: Any text.
        max_bytes: The most UTF-8 bytes that the returned text may have; at least 100.
        head_bytes: How much of them to keep of the beginning, half of them at most; the rest is
            of the end, where a failure tells its reason.

    Returns:
        The text, or its head and tail with a line between that says how much was left out.
    """
    # Half a surrogate pair counts 3 bytes, as the U+FFFD does that the worker makes of it.
    data = text.encode("utf-8", "surrogatepass")
    if len(data) <= max_bytes:
        return text
    head = data[: min(head_bytes, max_bytes // 2)]
    tail_bytes = max_bytes - len(head) - len(_left_out(len(data)))
    return joined(head, data[len(data) - tail_bytes :], len(data) - len(head) - tail_bytes)


def joined(head: bytes, tail: bytes, left_out_bytes: int) -> str:
    """Put together what is left of a text.

    Args:
        head: The UTF-8 of its beginning; where something is left out, it may end in mid-character.
        tail: That of its end, likewise.
        left_out_bytes: How many bytes were between them.

    Returns:
        The text, with a line between that says how much was left out; nothing where that is 0.
    """
    if not left_out_bytes:
        return (head + tail).decode("utf-8", "replace")
    middle = _left_out(left_out_bytes).decode("ascii")
    return head.decode("utf-8", "ignore") + middle + tail.decode("utf-8", "ignore")


def _without_signature(match: "re.Match[str]") -> str:
    address, _, query = match.group().partition("?")
    return f"{address}?***" if _CREDENTIAL.search(query) else match.group()


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
