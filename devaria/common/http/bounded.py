"""HTTP that a server cannot draw out: connections that can be cut, and no redirects.

The time-outs of requests start again with each byte, so a server that sends a byte now and then
could hold a thread for ever. A thread that waits for a byte cannot be asked to end, either.
"""

import contextlib
import socket
import threading
from typing import Any, Callable, Iterator, Optional, Tuple, Type

import requests
from urllib3 import PoolManager
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from devaria.common.http.addresses import Connect
from devaria.common.http.warm_connections import WarmHttpsConnection
from devaria.common.watchdog import Watchdog

_WATCHDOG = Watchdog()


class BoundedSession(requests.Session):
    """A session that does not look at redirects: it would read the whole body of each."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Name none, as requests asks."""
        del resp


class CuttableConnection(HTTPConnection):
    """A connection that every thread can cut, in every state."""

    #: What opens the connection, if it is not urllib3. A class attribute that is a function would
    #: become a method, so it is in a tuple.
    connecting: Tuple[Optional[Connect]] = (None,)
    #: The time to connect if the request has none, in seconds.
    connect_timeout_sec = 10.0
    #: Called with the connection when it is open, before a byte goes over it.
    opened: Optional[Callable[["CuttableConnection"], None]] = None
    _handle: Optional[socket.socket] = None
    _is_answering = False

    def cut(self) -> None:
        """Shut the connection down. Who reads from it, or writes to it, sees that it has ended."""
        with contextlib.suppress(OSError):  # it is closed already
            if self._handle is not None:
                self._handle.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        super().close()
        # An answer that ends with the connection is read after http.client has closed this object.
        if self._handle is not None and not self._is_answering:
            self._handle.close()

    def getresponse(self, *args: Any, **kwargs: Any) -> Any:
        """Return the answer, whose body can be cut too."""
        self._is_answering = True
        try:
            return super().getresponse(*args, **kwargs)
        finally:
            self._is_answering = False

    def connect_socket(self) -> socket.socket:
        """Return a connected socket, before TLS."""
        (connect,) = self.connecting
        if connect is None:
            return super()._new_conn()
        return connect(self.host, self.port or self.default_port, self.time_to_connect)

    @property
    def time_to_connect(self) -> float:
        """The longest time to connect, in seconds."""
        told = self.timeout
        return float(told) if isinstance(told, (int, float)) else self.connect_timeout_sec

    def _new_conn(self) -> socket.socket:
        connected = self.connect_socket()
        # TLS takes over the socket object. A second handle can still shut the connection down.
        self._handle = connected.dup()
        if self.opened is not None:
            self.opened(self)
        return connected


@contextlib.contextmanager
def time_limit(seconds: float, cut: Callable[[], None]) -> Iterator[threading.Event]:
    """Cut what takes too long, as a context manager.

    Args:
        seconds: How long the block may take.
        cut: Called in another thread when that time is over.

    Yields:
        An event that is set when the time is over. It must be looked at even if there is an answer:
        http.client accepts a head that is cut off.
    """
    is_late = threading.Event()

    def cut_late() -> None:
        is_late.set()
        cut()

    with _WATCHDOG.limit(seconds, cut_late):
        yield is_late


def use_connections(manager: PoolManager, connection: Type[CuttableConnection]) -> None:
    """Let connection pools open connections of one class.

    Args:
        manager: Opens the pools.
        connection: The class for http. That for https is derived from it.
    """
    encrypted: Any = type(f"{connection.__name__}Tls", (connection, WarmHttpsConnection), {})
    manager.pool_classes_by_scheme = {
        "http": type("HttpPool", (HTTPConnectionPool,), {"ConnectionCls": connection}),
        "https": type("HttpsPool", (HTTPSConnectionPool,), {"ConnectionCls": encrypted}),
    }
