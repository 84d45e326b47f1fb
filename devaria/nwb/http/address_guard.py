"""Connections to public addresses only: a submitted URL must not reach into the lab's network.

A look at the URL is not enough: names resolve to any address, differently from one moment to the
next, addresses have many spellings, and redirects lead on. So it is the connection that is guarded:
its host's name is resolved once, every address that comes of it is checked, and one of these very
addresses is connected to. Host header, TLS server name and certificate stay the name's.
"""

import math
import socket
import threading
from contextlib import contextmanager
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Any, Iterable, Iterator, List, Optional, Union

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.connection import create_connection

from devaria.common.text import one_line
from devaria.nwb.errors import NwbError
from devaria.nwb.http.retry import TransientError

#: How long a name is asked for again that does not exist, in seconds.
_UNKNOWN_NAME_SEC = 60.0

_Address = Union[IPv4Address, IPv6Address]

#: What is not for hosts on the internet, written out because Python's own list has changed with its
#: versions (IANA IPv4 and IPv6 Special-Purpose Address Registries; 192.88.99.0/24 and 2002::/16 are
#: 6to4, 2001::/23 has Teredo).
# fmt: off
_SPECIAL: List[Union[IPv4Network, IPv6Network]] = [
    ip_network(text)
    for text in [
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8",
        "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
        "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
        "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
    ]
]
# fmt: on

#: All global unicast of IPv6 (RFC 4291); mapped IPv4 and NAT64 addresses lie outside of it.
_GLOBAL_IPV6 = IPv6Network("2000::/3")

#: Where requests has been given none.
_CONNECT_TIMEOUT_SEC = 10.0


def is_public(address: _Address) -> bool:
    """Tell whether an address is one of the public internet.

    Args:
        address: Any IP address.

    Returns:
        False for private, loopback, link-local, carrier-grade NAT, multicast, reserved and
        documentation addresses, and for IPv6 ones that stand for an IPv4 address.
    """
    if address.version == 6 and address not in _GLOBAL_IPV6:
        return False
    return not any(address in network for network in _SPECIAL)


class AddressGuard:
    """Decides which hosts may be connected to.

    Args:
        allow_hosts: Names and addresses that may be connected to although they are not public. A
            name allows whatever it resolves to.
    """

    def __init__(self, allow_hosts: Iterable[str] = ()) -> None:
        self._hosts = {_bare(host) for host in allow_hosts if host.strip()}

    def addresses(self, host: str, port: int) -> List[str]:
        """Resolve a host, once.

        Args:
            host: A name or an address in any spelling.
            port: The port to be connected to.

        Returns:
            Its addresses, one or more; all of them may be connected to.

        Raises:
            NwbError: One of them may not.
            TransientError: The name cannot be resolved now.
        """
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            # Most often it is misspelt; but a resolver without a network may say so too.
            is_unknown = error.errno == socket.EAI_NONAME
            hope_sec = _UNKNOWN_NAME_SEC if is_unknown else math.inf
            text = "the name of its host is not known (DNS)"
            raise TransientError(text, hope_sec=hope_sec) from None
        # What stands after a % is the interface of a link-local address.
        addresses = [ip_address(str(info[4][0]).split("%")[0]) for info in found]
        if _bare(host) not in self._hosts and not all(map(self._may_be_reached, addresses)):
            raise NwbError(
                f"{one_line(host, 253)} is not on the public internet; the runner's operator can "
                "allow it by name in DEVARIA_ALLOW_HOSTS"
            )
        return [str(address) for address in dict.fromkeys(addresses)]

    def _may_be_reached(self, address: _Address) -> bool:
        return is_public(address) or str(address) in self._hosts


class GuardedAdapter(HTTPAdapter):
    """Opens the connections of a requests session, to hosts that the guard lets pass.

    The connections bound an answer's head as a whole too: requests' own time-outs are for each
    byte, which a server may send one every half minute.

    Args:
        guard: Decides which hosts those are.
        connections: Connections kept open to one host.
        head_timeout_sec: Longest wait for the whole head of an answer.
    """

    def __init__(self, guard: AddressGuard, connections: int, head_timeout_sec: float) -> None:
        self._attributes = {"guard": guard, "head_timeout_sec": head_timeout_sec}
        super().__init__(pool_maxsize=connections)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Set up the pools of connections; requests calls it.

        Args:
            args: Passed on.
            kwargs: Passed on.
        """
        super().init_poolmanager(*args, **kwargs)
        http = type("GuardedHttp", (_GuardedConnection,), self._attributes)
        https = type("GuardedHttps", (_GuardedConnection, HTTPSConnection), self._attributes)
        self.poolmanager.pool_classes_by_scheme = {
            "http": type("HttpPool", (HTTPConnectionPool,), {"ConnectionCls": http}),
            "https": type("HttpsPool", (HTTPSConnectionPool,), {"ConnectionCls": https}),
        }


class _GuardedConnection(HTTPConnection):
    guard: AddressGuard
    head_timeout_sec: float
    _handle: Optional[socket.socket] = None

    def connect(self) -> None:
        with self._within(2 * self._connect_timeout()):
            super().connect()

    def getresponse(self, *args: Any, **kwargs: Any) -> Any:
        with self._within(self.head_timeout_sec):
            return super().getresponse(*args, **kwargs)

    def close(self) -> None:
        super().close()
        if self._handle is not None:
            self._handle.close()

    def _new_conn(self) -> socket.socket:
        connected = self._connected()
        # TLS takes the socket itself away; another handle on it remains good for shutting it down.
        self._handle = connected.dup()
        return connected

    def _connected(self) -> socket.socket:
        fault = ""
        port = self.port or self.default_port
        addresses = self.guard.addresses(self.host, port)
        seconds = self._connect_timeout() / len(addresses)
        for address in addresses:
            try:
                return create_connection(
                    (address, port), seconds, socket_options=self.socket_options
                )
            except socket.timeout:
                fault = "no connection in time"
            except OSError:
                fault = "the connection failed"
        # Neither this nor a refusal is an OSError, which urllib3 would put into words of its own.
        raise TransientError(fault)

    def _connect_timeout(self) -> float:
        return self.timeout if isinstance(self.timeout, (int, float)) else _CONNECT_TIMEOUT_SEC

    @contextmanager
    def _within(self, seconds: float) -> Iterator[None]:
        is_late = threading.Event()
        timer = threading.Timer(seconds, self._shut_down, [is_late])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            if is_late.is_set():
                # Whatever came of it: a head that is cut off passes for a whole one, too.
                raise TransientError("no answer in time") from None

    def _shut_down(self, is_late: threading.Event) -> None:
        is_late.set()
        try:
            if self._handle is not None:
                self._handle.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it is closed already


def _bare(host: str) -> str:
    return host.strip().strip("[]").rstrip(".").lower()
