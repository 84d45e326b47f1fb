"""Cuts out of the middle of a text what is too much of it. Every job process imports it."""

HEAD_BYTES = 64_000
TAIL_BYTES = 900_000


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


def _left_out(count: int) -> bytes:
    return f"\n[... {count:,} bytes left out ...]\n".encode("ascii")
