"""Connect to public addresses only: a submitted URL must not reach into the lab's network.

A check of the URL is not enough. A name may resolve to any address, and to another one a moment
later. An address has many spellings. A redirect leads to another host. So each connection is
guarded: it resolves the host name once, checks all its addresses, and connects to one of them. Host
header, TLS server name and certificate are still those of the name.
"""

import socket
from contextlib import contextmanager
from typing import Any, Iterator, List

from devaria.common.http.addresses import Connect, ForbiddenHost, PublicHosts
from devaria.common.http.bounded import CuttableConnection, time_limit, use_connections
from devaria.common.http.warm_connections import SharedCertificatesAdapter
from devaria.nwb.errors import NwbError
from devaria.nwb.http.retry import RetryableFault


class AddressGuard(PublicHosts):
    """Decides which hosts a submitted URL may lead to. Its errors are those of reading a file."""

    def addresses(self, host: str, port: int) -> List[str]:
        """Resolve a host as `PublicHosts` does.

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
        """Connect to a host as `PublicHosts` does.

        Raises:
            NwbError: One of its addresses is not allowed.
            RetryableFault: The name cannot be resolved now, or there is no connection.
        """
        # Not an OSError, which urllib3 would replace by an exception of its own.
        try:
            return super().connect(host, port, timeout_sec)
        except socket.timeout:
            raise RetryableFault("no connection in time") from None
        except OSError:
            raise RetryableFault("the connection failed") from None


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
    head_timeout_sec: float

    def connect(self) -> None:
        with self._time_limit(2 * self.time_to_connect):
            super().connect()

    def getresponse(self, *args: Any, **kwargs: Any) -> Any:
        with self._time_limit(self.head_timeout_sec):
            return super().getresponse(*args, **kwargs)

    @contextmanager
    def _time_limit(self, seconds: float) -> Iterator[None]:
        with time_limit(seconds, self.cut) as is_late:
            try:
                yield
            finally:
                if is_late.is_set():
                    raise RetryableFault("no answer in time") from None
