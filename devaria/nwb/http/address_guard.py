"""Connect to public addresses only: a submitted URL must not reach into the lab's network.

A check of the URL is not enough. A name may resolve to any address, and to another one a moment
later. An address has many spellings. A redirect leads to another host. So each connection is
guarded: it resolves the host name once, checks all its addresses, and connects to one of them. Host
header, TLS server name and certificate are still those of the name.
"""

import socket
from contextlib import contextmanager
from typing import Any, Callable, Iterator, List, Tuple, Union

from urllib3.util.connection import create_connection

from devaria.common.http.addresses import ForbiddenHost, PublicHosts
from devaria.common.http.bounded import CuttableConnection, time_limit, use_connections
from devaria.common.http.warm_connections import SharedCertificatesAdapter
from devaria.nwb.errors import NwbError
from devaria.nwb.http.retry import RetryableFault

#: Opens a connection to a host and a port, within seconds: `AddressGuard.connect`, or another
#: process that calls it.
Connect = Callable[[str, int, float], socket.socket]

#: The options that urllib3 sets: small messages are not held back.
_SOCKET_OPTIONS: List[Tuple[int, int, Union[int, bytes]]] = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
]

#: The time-out if requests has none.
_CONNECT_TIMEOUT_SEC = 10.0


class AddressGuard(PublicHosts):
    """Decides which hosts a submitted URL may lead to."""

    def addresses(self, host: str, port: int) -> List[str]:
        """Resolve a host once, and check all its addresses.

        Args:
            host: A name, or an address in any spelling.
            port: Port of the connection.

        Returns:
            Its addresses, one or more; all are allowed.

        Raises:
            NwbError: One of its addresses is not allowed.
            RetryableFault: The name cannot be resolved now.
        """
        try:
            return super().addresses(host, port)
        except ForbiddenHost as error:
            raise NwbError(
                f"{error}; the runner's operator can allow it by name in DEVARIA_ALLOW_HOSTS"
            ) from None
        except OSError:
            # The name is probably misspelt, but a resolver without a network says the same.
            raise RetryableFault("the name of its host is not known (DNS)") from None

    def connect(self, host: str, port: int, timeout_sec: float) -> socket.socket:
        """Connect to a host, whose addresses are checked first.

        Args:
            host: A name, or an address in any spelling.
            port: Port of the connection.
            timeout_sec: Longest time to connect.

        Returns:
            The connected socket.

        Raises:
            NwbError: One of its addresses is not allowed.
            RetryableFault: The name cannot be resolved now, or there is no connection.
        """
        fault = ""
        addresses = self.addresses(host, port)
        for address in addresses:
            try:
                return create_connection(
                    (address, port), timeout_sec / len(addresses), socket_options=_SOCKET_OPTIONS
                )
            except socket.timeout:
                fault = "no connection in time"
            except OSError:
                fault = "the connection failed"
        # Not an OSError, which urllib3 would replace by an exception of its own.
        raise RetryableFault(fault)


class GuardedAdapter(SharedCertificatesAdapter):
    """Opens the connections of a requests session, only to hosts that a guard allows.

    The connections also limit the time for the whole head of an answer. The time-outs of requests
    start again with each byte, so a server could send one byte every half minute.

    Args:
        connect: Opens a connection, if the host is allowed.
        connections: Most connections that are kept open to one host.
        head_timeout_sec: Longest wait for the whole head of an answer.
    """

    def __init__(self, connect: Connect, connections: int, head_timeout_sec: float) -> None:
        self._attributes = {"connecting": (connect,), "head_timeout_sec": head_timeout_sec}
        super().__init__(pool_maxsize=connections)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Set up the connection pools, as requests asks.

        Args:
            args: Passed on to requests.
            kwargs: Passed on to requests.
        """
        super().init_poolmanager(*args, **kwargs)
        connections = type("GuardedConnection", (_GuardedConnection,), self._attributes)
        use_connections(self.poolmanager, connections)


class _GuardedConnection(CuttableConnection):
    connecting: Tuple[Connect]
    head_timeout_sec: float

    def connect(self) -> None:
        with self._time_limit(2 * self._connect_timeout()):
            super().connect()

    def getresponse(self, *args: Any, **kwargs: Any) -> Any:
        with self._time_limit(self.head_timeout_sec):
            return super().getresponse(*args, **kwargs)

    def connect_socket(self) -> socket.socket:
        port = self.port or self.default_port
        # A class attribute that is a function would become a method.
        return self.connecting[0](self.host, port, self._connect_timeout())

    def _connect_timeout(self) -> float:
        return self.timeout if isinstance(self.timeout, (int, float)) else _CONNECT_TIMEOUT_SEC

    @contextmanager
    def _time_limit(self, seconds: float) -> Iterator[None]:
        with time_limit(seconds, self.cut) as is_late:
            try:
                yield
            finally:
                if is_late.is_set():
                    raise RetryableFault("no answer in time") from None
