"""A real HTTP server on loopback that answers by a script, with faults where wanted."""

import contextlib
import json
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Dict, List, Optional, Tuple, Union
from urllib.parse import parse_qsl, urlsplit

#: How long a test waits for something that must happen, in seconds; it takes far less.
PATIENCE_SEC = 20.0


@dataclass(frozen=True)
class Request:
    """A request as it arrived.

    Args:
        method: `GET`, `POST`, ...
        path: The path as sent, still quoted, without the query.
        query: The query's pairs, unquoted.
        headers: By lower-case name.
        body: As sent.
        connection: The number of its TCP connection, counted from 1.
        at: When it arrived, in seconds of the monotonic clock.
    """

    method: str
    path: str
    query: List[Tuple[str, str]]
    headers: Dict[str, str]
    body: bytes
    connection: int
    at: float

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """The answer to a request; the functions below make the usual kinds.

    Args:
        status: The status code.
        body: The body's bytes.
        headers: Headers that are added to `Content-Length` and `Date`, or replace them.
        wait_for: Answer only when this is set, or the server ends.
        pieces_sec: Send the body in four pieces, with this time before each.
        drop: "unread" closes the connection with the request's body unread, "read" after reading
            it, "after" closes it silently after a whole answer, "half" in the middle of one.
    """

    status: int = 200
    body: bytes = b""
    headers: Dict[str, str] = field(default_factory=dict)
    wait_for: Optional[threading.Event] = None
    pieces_sec: float = 0.0
    drop: str = ""


#: An answer, or a function that makes one from the request.
Step = Union[Answer, Callable[[Request], Answer]]


def ok(**fields: Any) -> Answer:
    """Return a 200 with a JSON object of these fields."""
    return as_json(fields)


def as_json(value: Any, status: int = 200, **options: Any) -> Answer:
    """Return an answer with a JSON value; options are those of `Answer`."""
    headers = {"Content-Type": "application/json", **options.pop("headers", {})}
    return Answer(status, json.dumps(value).encode("ascii"), headers, **options)


def html(status: int = 200) -> Answer:
    """Return a page such as a proxy answers in the worker's place."""
    return Answer(status, b"<html><h1>Please log in</h1></html>", {"Content-Type": "text/html"})


def redirect(location: str, status: int = 302) -> Answer:
    """Return a redirect."""
    return Answer(status, b"", {"Location": location})


def rate_limited(reset_in_sec: Optional[float] = None, **headers: str) -> Answer:
    """Return a 429 as the worker does: with the time of the reset, without Retry-After."""
    body: Dict[str, Any] = {"error": "Rate limit exceeded"}
    if reset_in_sec is not None:
        body["resetTime"] = int((time.time() + reset_in_sec) * 1000)
    return as_json(body, 429, headers=headers)


def hang() -> Answer:
    """Return an answer that never comes: the connection stays open until the server ends."""
    return Answer(wait_for=threading.Event())


def drop(when: str = "read") -> Answer:
    """Return an answer that breaks the connection; `when` is as in `Answer.drop`."""
    return Answer(body=b'{"success": true, "message": "half of it"}', drop=when)


class ScriptedServer:
    """Run the server for the length of a ``with`` block, on any free port or on a given one.

    With a TLS context it speaks https.

    `on` sets the answers of a route. Each request takes one; the last answer is repeated for ever.
    A route without answers gives the worker's 404.
    """

    def __init__(self, port: int = 0, tls: Optional[ssl.SSLContext] = None) -> None:
        self.requests: List[Request] = []
        self._script: List[Tuple[str, List[Step]]] = []
        self._changed = threading.Condition()
        self._ending = threading.Event()
        self._sockets: List[socket.socket] = []
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = _Server(("127.0.0.1", port), handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def port(self) -> int:
        """The port of the server."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The server's URL, without a path."""
        return f"http://127.0.0.1:{self.port}"

    def on(self, route: str, *steps: Step) -> None:
        """Set the answers of a route.

        Args:
            route: Method and path, such as `POST /api/runner/jobs/*/claim`; of
                several that match, the one set last counts.
            steps: The answers, in order.
        """
        with self._changed:
            self._script.insert(0, (route, list(steps)))

    def seen(self, route: str) -> List[Request]:
        """List the requests of a route so far."""
        with self._changed:
            return [each for each in self.requests if _matches(each, route)]

    def wait_for(self, route: str, count: int = 1, patience_sec: float = PATIENCE_SEC) -> Request:
        """Wait for that many requests of a route; return the last of them."""
        with self._changed:
            arrived = self._changed.wait_for(
                lambda: sum(_matches(each, route) for each in self.requests) >= count,
                patience_sec,
            )
        assert arrived, f"no {count} requests of {route}: {self.trace()}"
        return self.seen(route)[count - 1]

    def trace(self) -> List[str]:
        """List all requests as `METHOD path`."""
        with self._changed:
            return [f"{each.method} {each.path}" for each in self.requests]

    def close_connections(self) -> None:
        """Close every open connection, as a server does with idle ones."""
        with self._changed:
            sockets, self._sockets = self._sockets, []
        for each in sockets:
            _shut(each)

    def __enter__(self) -> "ScriptedServer":
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._ending.set()
        self._server.shutdown()
        self._thread.join(PATIENCE_SEC)
        self.close_connections()
        self._server.server_close()  # joins the connections' threads
        assert not self._thread.is_alive()

    # --- for the handler -------------------------------------------------------------------

    def opened(self, connection: socket.socket) -> None:
        """Remember a connection, to close it at the end."""
        with self._changed:
            self._sockets.append(connection)

    def take(self, request: Request) -> Answer:
        """Record a request and return its answer."""
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
            step = self._next_step(request)
        return step if isinstance(step, Answer) else step(request)

    def drops_unread(self, request: Request) -> bool:
        """Return whether to drop a request unread; if so, record it and take its answer."""
        with self._changed:
            step = self._peek(request)
            if not (isinstance(step, Answer) and step.drop == "unread"):
                return False
            self._next_step(request)
            self.requests.append(request)
            self._changed.notify_all()
            return True

    def hold(self, answer: Answer) -> None:
        """Wait as the answer asks, at most until the server ends."""
        while answer.wait_for is not None and not answer.wait_for.is_set():
            if self._ending.wait(0.01):
                return

    def pause(self, seconds: float) -> None:
        """Wait, at most until the server ends."""
        self._ending.wait(seconds)

    def _peek(self, request: Request) -> Optional[Step]:
        for route, steps in self._script:
            if _matches(request, route):
                return steps[0]
        return None

    def _next_step(self, request: Request) -> Step:
        for route, steps in self._script:
            if _matches(request, route):
                return steps.pop(0) if len(steps) > 1 else steps[0]
        return as_json({"error": "Not found"}, 404)


def _matches(request: Request, route: str) -> bool:
    return fnmatchcase(f"{request.method} {request.path}", route)


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it may be closed already
        connection.shutdown(socket.SHUT_RDWR)


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 64

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.connections = 0

    def handle_error(self, *_args: object) -> None:
        """Print nothing: clients break off here on purpose."""


class _Handler(BaseHTTPRequestHandler):
    owner: ScriptedServer
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1  # connections are opened one after the other
        self.number = self.server.connections
        self.owner.opened(self.connection)

    def do_any(self) -> None:
        """Record the request, and answer as the script says."""
        length = int(self.headers.get("Content-Length") or 0)
        parts = urlsplit(self.path)
        request = Request(
            method=self.command,
            path=parts.path,
            query=parse_qsl(parts.query, keep_blank_values=True),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(length),
            connection=self.number,
            at=time.monotonic(),
        )
        answer = self.owner.take(request)
        self.owner.hold(answer)
        self._send(answer)

    do_GET = do_HEAD = do_POST = do_DELETE = do_PUT = do_any  # noqa: N815 - the base class's names

    def parse_request(self) -> bool:
        """Drop the connection with the body unread, if the script says so."""
        if not super().parse_request():
            return False
        request = Request(
            self.command, urlsplit(self.path).path, [], {}, b"", self.number, time.monotonic()
        )
        if self.owner.drops_unread(request):
            self.close_connection = True
            return False
        return True

    def _send(self, answer: Answer) -> None:
        if answer.drop == "read":
            self.close_connection = True
            return
        headers = {
            "Content-Length": str(len(answer.body)),
            "Date": formatdate(usegmt=True),
            **answer.headers,
        }
        lines = [f"HTTP/1.1 {answer.status} Scripted"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        if answer.pieces_sec:
            self._send_in_pieces(head, answer)
        else:
            body = answer.body[: len(answer.body) // 2] if answer.drop == "half" else answer.body
            self.wfile.write(head + body)
        self.close_connection = self.close_connection or bool(answer.drop)

    def _send_in_pieces(self, head: bytes, answer: Answer) -> None:
        self.wfile.write(head)
        step = -(-len(answer.body) // 4)
        for start in range(0, len(answer.body), step):
            self.owner.pause(answer.pieces_sec)
            self.wfile.write(answer.body[start : start + step])

    def log_message(self, *_args: object) -> None:
        """Print nothing."""
