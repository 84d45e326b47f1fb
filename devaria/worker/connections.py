"""The connections of the HTTP server: none can be held by a client that is slow or has no key.

waitress receives requests in one thread, without blocking, and hands complete ones to others. What
it lacks is here: a time for each whole request, checks before a body is received, and a
limit for bodies that depends on the route.
"""

import errno
import logging
import math
import socket
import sys
import time
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Tuple

from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher

_log = logging.getLogger(__name__)

#: More connections are not kept: for a new one, the slowest is closed.
MAX_CONNECTIONS = 500
#: The time for the head of a request, in seconds.
HEAD_SEC = 10.0
#: The time for the body of a request, in seconds, and what is added for its size.
BODY_SEC = 60.0
BODY_BYTES_PER_SEC = 64 * 1024

#: How long a client may read nothing of its answer, in seconds.
_STALL_SEC = 30.0
#: How long a refused client may take to read why, while it still sends, in seconds.
_LINGER_SEC = 2.0
#: How often to look for connections whose time is over, in seconds.
_LOOK_SEC = 0.5
#: Connections that may exist beside those that are kept: they are about to be closed.
_CLOSING = 100

#: Smaller bodies stay in memory: those of all routes but reports of runners and files of figures.
_IN_MEMORY_BYTES = 1024**2
_MAX_BODY_BYTES = 1024**3  # for the files of figures; other bodies have smaller limits
# With 1, waitress sees that the client of a request that waits is gone. Before 3.0.1, the last for
# Python 3.8, it could then also answer requests after one that it refused (CVE-2024-49768).
_LOOKAHEAD = 1 if sys.version_info >= (3, 9) else 0

#: Takes the WSGI environment of a request without its body. Returns how many bytes the body may
#: have; -1 if the request is refused, whatever its body is.
BodyLimit = Callable[[Dict[str, Any]], int]


class _Request(HTTPRequestParser):  # type: ignore[misc] # waitress comes without types
    """A request whose body is received only if it may have one, and only so much of it.

    If not, the request counts as complete: the application answers it as it would have, and then
    the connection is closed.
    """

    def __init__(self, connection: "_Connection", adjustments: Any) -> None:
        super().__init__(adjustments)
        self._connection = connection
        self._body_limit = math.inf

    def received(self, data: bytes) -> int:
        had_head = self.headers_finished
        consumed: int = super().received(data)
        if self.headers_finished and not had_head and not self.completed:
            task = self._connection.task_class(self._connection, self)
            self._body_limit = self._connection.server.body_limit(task.get_environment())
        if self.error is None and self._has_too_much():
            self._cut()
            return len(data)  # what follows is its body, and must not be read as a request
        return consumed

    def _has_too_much(self) -> bool:
        has_body = bool(self.chunked or self.content_length > 0)
        size = max(self.content_length, self.body_bytes_received)
        return has_body and size > self._body_limit

    def _cut(self) -> None:
        self.headers["CONTENT_LENGTH"] = str(max(self.content_length, self.body_bytes_received))
        self.headers["CONNECTION"] = "close"
        self.expect_continue = False
        self.completed = True
        self._connection.must_linger = True

    @property
    def time_sec(self) -> float:
        """How long it may take from its first byte to its last."""
        if not self.headers_finished:
            return HEAD_SEC
        size = max(self.content_length, self.body_bytes_received)
        return BODY_SEC + float(size) / BODY_BYTES_PER_SEC


class _Connection(HTTPChannel):  # type: ignore[misc] # waitress comes without types
    """A connection that is closed when a request takes too long to arrive."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.parser_class = partial(_Request, self)
        #: Whether the client may still send what nobody reads.
        self.must_linger = False
        self._is_lingering = False
        self._begun_at: Optional[float] = None  # when the request that is not complete began
        self._quiet_since = time.monotonic()
        self._unsent_bytes = 0

    def received(self, data: bytes) -> bool:
        if self.must_linger:
            return False
        if self._begun_at is None:
            self._begun_at = time.monotonic()
        complete = len(self.requests)
        taken: bool = super().received(data)
        if len(self.requests) != complete and self.request is None:
            self._begun_at = None
        return taken

    def service(self) -> None:
        super().service()
        self._quiet_since = time.monotonic()
        if self.request is None:
            self._begun_at = None

    def handle_close(self) -> None:
        """Close, but let a client that is still sending read the answer first.

        A close while bytes arrive resets the connection, and the client then may lose the answer.
        """
        if self.must_linger and not self._is_lingering and self.connected:
            self._is_lingering, self.will_close = True, False
            self._begun_at, self._quiet_since = None, time.monotonic()
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError:  # the client has closed it already
                self.end()
            return
        self.end()

    def end(self) -> None:
        """Close at once."""
        super().handle_close()

    @property
    def closing_order(self) -> Tuple[bool, float]:
        """What sorts connections: first those that have sent a request for the longest time."""
        return self._begun_at is None, self._begun_at or self._quiet_since

    def is_overdue(self, now: float) -> bool:
        """Return whether a request, an answer or the time between them takes too long."""
        if self.requests:
            return False
        if self.total_outbufs_len != self._unsent_bytes:  # the client reads what it is sent
            self._unsent_bytes, self._quiet_since = self.total_outbufs_len, now
        if self._is_lingering:
            return now > self._quiet_since + _LINGER_SEC
        if self._begun_at is not None:
            return now > self._begun_at + (self.request.time_sec if self.request else HEAD_SEC)
        allowed_sec = _STALL_SEC if self._unsent_bytes else float(self.adj.channel_timeout)
        return now > self._quiet_since + allowed_sec


class Server(TcpWSGIServer):  # type: ignore[misc] # waitress comes without types
    """The server; it keeps at most `MAX_CONNECTIONS` and closes those whose time is over.

    Attributes:
        body_limit: Says how large the body of a request may be.
    """

    body_limit: BodyLimit
    channel_class = _Connection
    # waitress would look by the wall clock, and not for as long as that is set back.
    next_channel_cleanup = math.inf
    _next_look = 0.0
    _accepts_at = 0.0
    _has_told_of_files = False

    def readable(self) -> bool:
        """Look after the connections, and say whether to accept more; waitress calls this."""
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + _LOOK_SEC
            for connection in list(self.active_channels.values()):
                connection.will_close = connection.will_close or connection.is_overdue(now)
        accepts: bool = super().readable()
        return accepts and now >= self._accepts_at

    def accept(self) -> Optional[Tuple[socket.socket, Any]]:
        """Accept a connection; if no more files may be open, close another one first."""
        try:
            accepted: Optional[Tuple[socket.socket, Any]] = super().accept()
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            if not self._has_told_of_files:
                self._has_told_of_files = True
                _log.warning("too many open files: old connections are closed for new ones")
            self._close_slowest()
            self._accepts_at = time.monotonic() + _LOOK_SEC / 10
            return None
        return accepted

    def handle_accept(self) -> None:
        """Accept a connection; close another one if there are too many."""
        super().handle_accept()
        if len(self._kept()) > MAX_CONNECTIONS:
            self._close_slowest()

    def _kept(self) -> List[_Connection]:
        return [each for each in self.active_channels.values() if not each.will_close]

    def _close_slowest(self) -> None:
        # Requests that are complete, and so those that wait, are left alone.
        free = [each for each in self._kept() if not each.requests]
        for slowest in sorted(free, key=lambda each: each.closing_order)[:1]:
            slowest.will_close = True


def make_server(
    app: Any, listener: socket.socket, *, threads: int, idle_sec: int, body_limit: BodyLimit
) -> Server:
    """Make the HTTP server of a WSGI application; its `run` serves.

    Args:
        app: The application.
        listener: A bound socket.
        threads: How many requests are answered at a time.
        idle_sec: Seconds after which an idle connection is closed.
        body_limit: Says how large the body of a request may be.
    """
    # waitress warns whenever a request waits for a thread. Nobody needs to act on that.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    adjustments = Adjustments(
        sockets=[listener],
        threads=threads,
        ident="devaria-worker",
        channel_timeout=idle_sec,
        inbuf_overflow=_IN_MEMORY_BYTES,
        max_request_body_size=_MAX_BODY_BYTES,
        connection_limit=MAX_CONNECTIONS + _CLOSING,
        asyncore_use_poll=True,  # `select` takes no file number over 1023
        channel_request_lookahead=_LOOKAHEAD,
    )
    dispatcher = ThreadedTaskDispatcher()
    dispatcher.set_thread_count(threads)
    address = (listener.family, listener.type, listener.proto, listener.getsockname())
    server = Server(
        app,
        {},
        _sock=listener,
        dispatcher=dispatcher,
        adj=adjustments,
        sockinfo=address,
        bind_socket=False,
    )
    server.body_limit = body_limit
    return server
