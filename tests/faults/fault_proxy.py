"""An HTTP proxy between a runner and a worker that can be told to misbehave, while it runs.

A *rule* says which requests of which route meet which *fault*. A fault is a function: it is given
`forward`, which passes the request on and returns the worker's answer, and an event that is set
when the rule is lifted; it returns the answer for the runner, or None to cut the connection.
"""

import contextlib
import http.client
import json
import random
import re
import socket
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple
from urllib.parse import urlsplit

#: Every route that a runner uses, by the name that rules and records call it.
ROUTES = (
    ("register", re.compile(r"/api/runner/register")),
    ("verify", re.compile(r"/api/runner/verify")),
    ("available", re.compile(r"/api/runner/jobs/available")),
    ("claim", re.compile(r"/api/runner/jobs/[^/]+/claim")),
    ("heartbeat", re.compile(r"/api/runner/jobs/[^/]+/heartbeat")),
    ("complete", re.compile(r"/api/runner/jobs/[^/]+/complete")),
    ("error", re.compile(r"/api/runner/jobs/[^/]+/error")),
    ("own-jobs", re.compile(r"/api/admin/runners/[^/]+")),
    ("detail", re.compile(r"/api/admin/jobs/[^/]+")),
)
ANY = "any"


#: Headers of the worker that the runner gets too.
PASSED_ON = ("Preference-Applied",)


Write = Callable[[bytes], Any]


class Answer(NamedTuple):
    """What goes back to the runner. A `wire` sends it in its own way, and ends the connection."""

    status: int
    body: bytes
    content_type: str = "application/json"
    extra_headers: Tuple[Tuple[str, str], ...] = ()
    wire: Optional[Callable[[Write], None]] = None

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


Forward = Callable[[], Answer]
Fault = Callable[[Forward, threading.Event], Optional[Answer]]


# --- faults --------------------------------------------------------------------------------


def cut_before(_forward: Forward, _lifted: threading.Event) -> Optional[Answer]:
    """Break the connection before the worker has heard of the request."""
    return None


def cut_after(forward: Forward, _lifted: threading.Event) -> Optional[Answer]:
    """Let the worker act, and break the connection instead of answering."""
    forward()
    return None


def hang(_forward: Forward, lifted: threading.Event) -> Optional[Answer]:
    """Accept the request and never answer it, nor pass it on."""
    lifted.wait()
    return None


def act_late(forward: Forward, lifted: threading.Event) -> Optional[Answer]:
    """Pass the request on only when the rule is lifted, when nobody waits for it any more."""
    lifted.wait()
    return forward()


def delayed(seconds: float) -> Fault:
    """Pass the request on after a time."""

    def fault(forward: Forward, lifted: threading.Event) -> Optional[Answer]:
        lifted.wait(seconds)
        return forward()

    return fault


def answered(status: int, body: Any, content_type: str = "application/json") -> Fault:
    """Answer in the worker's place; a body that is no text is sent as JSON."""
    text = body if isinstance(body, str) else json.dumps(body)
    answer = Answer(status, text.encode(), content_type)
    return lambda _forward, _lifted: answer


def acted_but(fault: Fault) -> Fault:
    """Let the worker act, and then answer as the fault does."""

    def acted(forward: Forward, lifted: threading.Event) -> Optional[Answer]:
        forward()
        return fault(forward, lifted)

    return acted


def at_rate(
    rate: float, faults: Sequence[Fault], seed: int, on_fault: Callable[[], Any] = lambda: None
) -> Fault:
    """Let a part of all requests meet one of the faults, at random; pass the others on.

    Args:
        rate: The part, from 0 to 1.
        faults: The faults.
        seed: For all that is random.
        on_fault: Called at each fault.
    """
    draw = random.Random(seed)
    lock = threading.Lock()

    def fault(forward: Forward, lifted: threading.Event) -> Optional[Answer]:
        with lock:
            chosen = draw.choice(faults) if draw.random() < rate else None
            if chosen is not None:
                on_fault()
        return forward() if chosen is None else chosen(forward, lifted)

    return fault


def rate_limited(seconds: float) -> Fault:
    """Answer 429 with a `resetTime` so many seconds from now."""

    def fault(_forward: Forward, _lifted: threading.Event) -> Optional[Answer]:
        reset = int((time.time() + seconds) * 1000)
        return Answer(
            429, json.dumps({"error": "Rate limit exceeded", "resetTime": reset}).encode()
        )

    return fault


server_error = answered(500, {"error": "Failed", "details": "D1_ERROR"})
html_page = answered(200, "<html><body>Be right back</body></html>", "text/html")
not_successful = answered(200, {"success": False, "message": "try again"})
unauthorized = answered(401, {"error": "Invalid API key"})


# --- rules and records ---------------------------------------------------------------------


@dataclass
class Rule:
    """Which requests meet a fault.

    Args:
        route: A name from `ROUTES`, or `ANY`.
        fault: What they meet.
        skip: So many pass unharmed first.
        times: So many meet the fault; None for all until the rule is lifted.
    """

    route: str
    fault: Fault
    skip: int = 0
    times: Optional[int] = None
    seen: int = 0
    lifted: threading.Event = field(default_factory=threading.Event)

    @property
    def hits(self) -> int:
        """How many requests met the fault so far."""
        met = max(self.seen - self.skip, 0)
        return met if self.times is None else min(met, self.times)

    def lift(self) -> None:
        """End the rule, and what hangs in it."""
        self.lifted.set()

    def takes(self, route: str) -> bool:
        """Count a request; tell whether it meets the fault."""
        if self.lifted.is_set() or self.route not in (route, ANY):
            return False
        self.seen += 1
        nth = self.seen - self.skip
        return nth > 0 and (self.times is None or nth <= self.times)


@dataclass
class Exchange:
    """One request that came by, and what became of it.

    Args:
        at: When it came, on the monotonic clock.
        route: Its route's name.
        path: Its path with the query.
        headers: Its headers.
        body: Its JSON body, or None.
        worker_status: The status that the worker answered, the first time if it was asked twice;
            None where it was not asked.
        status: The status that the runner got, None where it got no answer.
    """

    at: float
    route: str
    path: str
    headers: Dict[str, str]
    body: Any
    worker_status: Optional[int] = None
    status: Optional[int] = None

    @property
    def job_id(self) -> str:
        """The job in its path."""
        return self.path.split("/")[-2]


class FaultProxy:
    """The proxy; a context manager that listens from its start to its end.

    Args:
        worker_url: Where requests are passed on to.
    """

    def __init__(self, worker_url: str) -> None:
        self.exchanges: List[Exchange] = []
        parts = urlsplit(worker_url)
        self._worker = (parts.hostname or "", parts.port or 80)
        self._rules: List[Rule] = []
        self._lock = threading.Lock()
        self._server: Optional[_Server] = None
        self._port = 0

    @property
    def url(self) -> str:
        """The proxy's own URL."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> "FaultProxy":
        self.accept()
        return self

    def __exit__(self, *_: object) -> None:
        self.lift_all()
        self.refuse()

    def on(self, route: str, fault: Fault, *, skip: int = 0, times: Optional[int] = None) -> Rule:
        """Add a rule; of several that take a request, the first added wins."""
        rule = Rule(route, fault, skip, times)
        with self._lock:
            self._rules.append(rule)
        return rule

    def lift_all(self) -> None:
        """End all rules."""
        for rule in self._rules:
            rule.lift()

    def refuse(self) -> None:
        """Refuse connections from now on, and break those that are open."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            server.cut_all()

    def accept(self) -> None:
        """Listen, at the same port as ever."""
        if self._server is not None:
            return
        self._server = _Server(("127.0.0.1", self._port), self)
        self._port = self._server.server_address[1]
        threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="proxy", daemon=True
        ).start()

    def passed(self, route: str) -> List[Exchange]:
        """List the exchanges of one route so far."""
        with self._lock:
            return [exchange for exchange in self.exchanges if exchange.route == route]

    def handled(self, exchange: Exchange, forward: Forward) -> Optional[Answer]:
        """Pass a request on, or do with it as the rules say."""
        with self._lock:
            self.exchanges.append(exchange)
            rule = next((rule for rule in self._rules if rule.takes(exchange.route)), None)
        answer = forward() if rule is None else rule.fault(forward, rule.lifted)
        exchange.status = None if answer is None else answer.status
        return answer

    def ask_worker(self, method: str, path: str, headers: Any, body: bytes) -> Answer:
        """Pass a request on."""
        with contextlib.closing(http.client.HTTPConnection(*self._worker, timeout=60)) as wire:
            wire.request(method, path, body=body or None, headers=headers)
            reply = wire.getresponse()
            content_type = reply.headers.get("Content-Type", "application/json")
            passed_on = tuple((n, reply.headers[n]) for n in PASSED_ON if n in reply.headers)
            return Answer(reply.status, reply.read(), content_type, passed_on)


class _Server(ThreadingHTTPServer):
    """Listens, and knows its open connections."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: Tuple[str, int], proxy: FaultProxy) -> None:
        self.proxy = proxy
        self._connections: Set[socket.socket] = set()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def cut_all(self) -> None:
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of runners that hang up: they are killed on purpose here."""


class _Handler(BaseHTTPRequestHandler):
    """One connection of a runner."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes: the second would wait 40 ms
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its own name
        """Keep quiet."""

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:  # its runner was killed in the middle of it
            self.close_connection = True
            return
        path = urlsplit(self.path).path
        route = next((name for name, pattern in ROUTES if pattern.fullmatch(path)), "other")
        parsed = json.loads(body) if body else None
        headers = dict(self.headers)
        exchange = Exchange(time.monotonic(), route, self.path, headers, parsed)

        def forward() -> Answer:
            # Uncompressed, and one connection a request: what happens in between stays simple.
            kept = {n: v for n, v in headers.items() if n not in ("Connection", "Accept-Encoding")}
            answer = self.server.proxy.ask_worker(self.command, self.path, kept, body)
            if exchange.worker_status is None:
                exchange.worker_status = answer.status
            return answer

        answer = self.server.proxy.handled(exchange, forward)
        if answer is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if answer.wire is None:
            self._send(answer)
            return
        self.close_connection = True
        with contextlib.suppress(OSError):  # the runner has broken it off
            answer.wire(self.wfile.write)

    do_GET = do_POST = do_DELETE = _handle  # noqa: N815 - names that http.server calls

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.extra_headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)
