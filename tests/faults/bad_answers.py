"""Answers that no worker gives, but something on the way to it might: faults for `FaultProxy`.

Each lets the worker act, since that is the harder case: the runner must find out that it has. The
answer then is endless, trickles, is compressed, cut, redirected, doubled, or has a broken head.
"""

import gzip
import json
import threading
from typing import Callable, Optional, Tuple

from fault_proxy import Answer, Fault, Forward, Write

_JSON = ("Content-Type", "application/json")
_BLOCK = b" " * 65_536
#: What a bomb becomes, in bytes: more than a runner reads. It is sent as a thousandth of that.
_BOMB_BYTES = 70_000_000
_BOMB = gzip.compress(b'{"success": true, "text": "' + b"x" * _BOMB_BYTES + b'"}')


def head(*headers: Tuple[str, str], status: str = "200 OK") -> bytes:
    """Return the head of an answer."""
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def whole(answer: Answer) -> bytes:
    """Return an answer as it should be sent."""
    length = ("Content-Length", str(len(answer.body)))
    extra = answer.extra_headers
    return head(_JSON, length, *extra, status=f"{answer.status} OK") + answer.body


def _on_wire(send: Callable[[Answer, Write, threading.Event], None]) -> Fault:
    """Make a fault that sends the worker's answer in its own way, and then cuts."""

    def fault(forward: Forward, lifted: threading.Event) -> Optional[Answer]:
        answer = forward()
        return answer._replace(wire=lambda write: send(answer, write, lifted))

    return fault


def raw(*parts: bytes) -> Fault:
    """Send some bytes in place of the answer."""
    return _on_wire(lambda _answer, write, _lifted: [write(part) for part in parts] and None)


def _endless(answer: Answer, write: Write, lifted: threading.Event) -> None:
    write(head(_JSON) + answer.body[:-1])
    while not lifted.is_set():
        write(_BLOCK)


def _endless_chunk(_answer: Answer, write: Write, lifted: threading.Event) -> None:
    write(head(_JSON, ("Transfer-Encoding", "chunked")) + b"-1\r\n")
    while not lifted.is_set():
        write(_BLOCK)


def _trickling(answer: Answer, write: Write, lifted: threading.Event) -> None:
    for byte in whole(answer):
        if lifted.wait(0.05):
            return
        write(bytes([byte]))


def _endless_redirect(_answer: Answer, write: Write, lifted: threading.Event) -> None:
    write(head(("Location", "/elsewhere"), status="302 Found"))
    while not lifted.is_set():
        write(_BLOCK)


def _with_surrogate(answer: Answer, write: Write, _lifted: threading.Event) -> None:
    body = json.dumps(_spoilt(answer.json)).encode("ascii")
    write(whole(answer._replace(body=body)))


def _spoilt(value: object) -> object:
    if isinstance(value, dict):
        return {
            name: f"{inner}\ud800" if name.endswith("_id") else _spoilt(inner)
            for name, inner in value.items()
        }
    return [_spoilt(inner) for inner in value] if isinstance(value, list) else value


def sent_twice(forward: Forward, _lifted: threading.Event) -> Optional[Answer]:
    """Pass the request on twice, as some proxies do, and answer as the worker did at last."""
    forward()
    return forward()


endless = _on_wire(_endless)
trickling = _on_wire(_trickling)
bomb = raw(head(_JSON, ("Content-Encoding", "gzip"), ("Content-Length", str(len(_BOMB)))), _BOMB)
truncated = _on_wire(lambda answer, write, _: write(whole(answer)[:-5]))
truncated_head = _on_wire(lambda answer, write, _: write(whole(answer)[:20]))
bad_redirect = raw(head(("Location", "http://[::bad"), ("Content-Length", "0"), status="302 Found"))
endless_redirect = _on_wire(_endless_redirect)
doubled = _on_wire(lambda answer, write, _: write(2 * whole(answer)))
surrogates = _on_wire(_with_surrogate)
bad_charset = raw(head(("Content-Type", "text/html; charset=idna")), b"<html>" + 80 * b"\xff")
nul_charset = raw(head(("Content-Type", "text/html; charset=a\0b")), b"<html>\xff")
bad_chunk = raw(head(_JSON, ("Transfer-Encoding", "chunked")), b"-5\r\n{}\r\n0\r\n\r\n")
endless_chunk = _on_wire(_endless_chunk)
header_flood = raw(head(*((f"X-{n}", "x" * 1_000) for n in range(5_000))), b"{}")
long_header = raw(head(("X-Long", "x" * 1_000_000)), b"{}")
bad_length = raw(head(_JSON, ("Content-Length", "-5")), b"{}")
no_http = raw(b"220 mail.example ESMTP\r\n\r\n")
bad_gzip = raw(head(_JSON, ("Content-Encoding", "gzip"), ("Content-Length", "2")), b"{}")

#: All that end at once.
QUICK = {
    "bomb": bomb,
    "truncated": truncated,
    "truncated head": truncated_head,
    "bad redirect": bad_redirect,
    "doubled": doubled,
    "surrogates": surrogates,
    "bad charset": bad_charset,
    "nul charset": nul_charset,
    "bad chunk": bad_chunk,
    "header flood": header_flood,
    "long header": long_header,
    "bad length": bad_length,
    "no http": no_http,
    "bad gzip": bad_gzip,
    "sent twice": sent_twice,
}
#: Those that end when the runner breaks them off.
LONG = {
    "endless": endless,
    "endless chunk": endless_chunk,
    "endless redirect": endless_redirect,
    "trickling": trickling,
}
