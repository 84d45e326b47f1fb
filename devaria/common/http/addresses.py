"""Which hosts are on the public internet.

A name may resolve to any address, and to another one a moment later. An address has many spellings.
So a host is resolved once, all its addresses are checked, and one of these is connected to.
"""

import socket
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Callable, Iterable, List, Tuple, Union

from urllib3.util.connection import create_connection

from devaria.common.text import one_line

_Address = Union[IPv4Address, IPv6Address]

#: Opens a connection to a host and a port, within seconds: `PublicHosts.connect`, or another
#: process that calls it.
Connect = Callable[[str, int, float], socket.socket]

#: The options that urllib3 sets: small messages are not held back.
_SOCKET_OPTIONS: List[Tuple[int, int, Union[int, bytes]]] = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
]

#: Networks that are not part of the public internet (IANA IPv4 and IPv6 Special-Purpose Address
#: Registries; 192.88.99.0/24 and 2002::/16 are 6to4, 2001::/23 holds Teredo). They are listed here
#: because Python's own list differs between its versions.
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

#: The global unicast addresses of IPv6 (RFC 4291). Mapped IPv4 and NAT64 addresses are outside.
_GLOBAL_IPV6 = IPv6Network("2000::/3")


def is_public(address: _Address) -> bool:
    """Return whether an address is on the public internet.

    Args:
        address: Any IP address.

    Returns:
        False for private, loopback, link-local, carrier-grade NAT, multicast, reserved and
        documentation addresses, and for IPv6 addresses that embed an IPv4 address.
    """
    if address.version == 6 and address not in _GLOBAL_IPV6:
        return False
    return not any(address in network for network in _SPECIAL)


class ForbiddenHost(OSError):
    """A host is not on the public internet, and not allowed by name."""


class PublicHosts:
    """Decides which hosts may be connected to.

    Args:
        allow_hosts: Names and addresses that are allowed although they are not public. A name
            allows every address to which it resolves.
    """

    def __init__(self, allow_hosts: Iterable[str] = ()) -> None:
        self._hosts = {_bare(host) for host in allow_hosts if host.strip()}

    def addresses(self, host: str, port: int) -> List[str]:
        """Resolve a host once, and check all its addresses.

        Args:
            host: A name, or an address in any spelling.
            port: Port of the connection.

        Returns:
            Its addresses, one or more; all are allowed.

        Raises:
            ForbiddenHost: One of its addresses is not allowed.
            OSError: The name cannot be resolved now.
        """
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        # After a % comes the interface of a link-local address.
        addresses = [ip_address(str(info[4][0]).split("%")[0]) for info in found]
        if _bare(host) not in self._hosts and not all(map(self._is_allowed, addresses)):
            raise ForbiddenHost(f"{one_line(host, 253)} is not on the public internet")
        return [str(address) for address in dict.fromkeys(addresses)]

    def connect(self, host: str, port: int, timeout_sec: float) -> socket.socket:
        """Connect to a host, whose addresses are checked first.

        Args:
            host: A name, or an address in any spelling.
            port: Port of the connection.
            timeout_sec: Longest time to connect.

        Returns:
            The connected socket.

        Raises:
            ForbiddenHost: One of its addresses is not allowed.
            OSError: The name cannot be resolved now, or there is no connection.
        """
        addresses = self.addresses(host, port)
        fault = OSError("the host has no address")
        for address in addresses:
            try:
                return create_connection(
                    (address, port), timeout_sec / len(addresses), socket_options=_SOCKET_OPTIONS
                )
            except OSError as error:
                fault = error
        raise fault

    def _is_allowed(self, address: _Address) -> bool:
        return is_public(address) or str(address) in self._hosts


def _bare(host: str) -> str:
    return host.strip().strip("[]").rstrip(".").lower()
