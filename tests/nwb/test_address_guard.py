"""The address guard: no spelling of a submitted URL reaches a host that is not public."""

import contextlib
import socket
import ssl
import threading
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest
import requests.adapters
from certificate import CERTIFICATE
from range_server import LOOPBACK, FakeTime, RangeServer

from devaria.common.http import addresses
from devaria.common.http.addresses import is_public
from devaria.nwb.errors import InvalidInputError, NwbError
from devaria.nwb.http.ranges import HttpRanges

#: Hosts that are not public, in the spellings that attackers use.
ATTACKS = [
    # Loopback, by name and by number, in each spelling that a resolver knows.
    "localhost", "localhost.", "LOCALHOST", "ip6-localhost.invalid",
    "127.0.0.1", "127.1", "127.255.255.254", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1",
    "017700000001", "0", "0.0.0.0", "[::1]", "[::]", "[0:0::0:1]",
    # IPv4 within IPv6: mapped, compatible, 6to4, NAT64, Teredo.
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:a9fe:a9fe]", "[::127.0.0.1]",
    "[2002:7f00:1::]", "[2002:a00:1::1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::a00:1]", "[2001::1]",
    # Cloud metadata and other link-local addresses.
    "169.254.169.254", "2852039166", "0xa9fea9fe", "[fe80::1]", "[fd00:ec2::254]",
    # Private, carrier-grade NAT, multicast, broadcast, reserved, benchmarks, documentation.
    "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "100.100.100.200", "[fc00::1]",
    "224.0.0.1", "[ff02::1]", "255.255.255.255", "240.0.0.1", "198.18.0.1", "192.0.2.1",
    "192.0.0.192", "203.0.113.5", "[2001:db8::1]", "[fec0::1]", "[100::1]",
    # Names that resolve to such addresses, and names of which one address is public.
    "private.example", "mapped.example", "half-public.example", "metadata.google.internal",
]  # fmt: skip

NAMES = {
    "private.example": ["10.1.2.3"],
    "mapped.example": ["::ffff:10.1.2.3"],
    "half-public.example": ["93.184.216.34", "127.0.0.1"],
    "metadata.google.internal": ["169.254.169.254"],
    "ip6-localhost.invalid": ["::1"],
    "data.lab.example": ["127.0.0.1"],
}

real_getaddrinfo = socket.getaddrinfo


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> List[str]:
    """Resolve the names above without a network; gives the names that were looked up."""
    asked: List[str] = []

    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        asked.append(host)
        addresses = NAMES.get(host, [host])
        found = [real_getaddrinfo(a, port, *args, **kwargs) for a in addresses]
        return [info for infos in found for info in infos]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> List[str]:
    """Make every connection fail; gives the addresses that were tried."""
    asked: List[str] = []

    def create_connection(address: Any, *_args: Any, **_kwargs: Any) -> None:
        asked.append(address[0])
        raise OSError("no connections in this test")

    monkeypatch.setattr(addresses, "create_connection", create_connection)
    return asked


@pytest.mark.parametrize("host", ATTACKS)
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.usefixtures("resolved")
def test_attack_is_refused(host: str, scheme: str, connected: List[str]) -> None:
    """No attempt to connect is made, and the refusal is final."""
    with pytest.raises((NwbError, InvalidInputError)) as caught:
        HttpRanges(f"{scheme}://{host}:8080/file.nwb", wait=pytest.fail)
    assert connected == []
    assert "is not on the public internet" in str(caught.value)


@pytest.mark.usefixtures("resolved")
@pytest.mark.parametrize(
    "host",
    [
        "127。0。0。1",
        "①②⑦.⓪.⓪.①",
        "[fe80::1%25lo]",
        "1.1.1.1\\@127.0.0.1",
        "%31%32%37.0.0.1",
        "[v1.a]",
    ],
)
def test_hosts_that_parsers_differ_on(host: str, connected: List[str]) -> None:
    """Hosts that parsers read differently are not connected to."""
    time = FakeTime()
    with pytest.raises((NwbError, InvalidInputError)):
        HttpRanges(f"http://{host}/file.nwb", wait=time.wait, clock=time.clock)
    assert connected == []


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "2a00:1450::8"])
def test_public_addresses_are_public(address: str) -> None:
    """Addresses on the internet are public."""
    assert is_public(ip_address(address))


@pytest.fixture(scope="module")
def redirecting() -> Iterator[RangeServer]:
    """Serve redirects."""
    with RangeServer({}) as server:
        yield server


@pytest.mark.parametrize("host", ATTACKS)
@pytest.mark.usefixtures("resolved")
def test_redirect_to_an_attack_is_refused(host: str, redirecting: RangeServer) -> None:
    """Every redirect is guarded, although the first host was allowed."""
    redirecting.asked.clear()
    redirecting.redirect_to = f"http://{host}:{redirecting.port}/file.nwb"
    url = redirecting.url("/to/x").replace("127.0.0.1", "data.lab.example")
    with pytest.raises(NwbError, match="is not on the public internet"):
        HttpRanges(url, allow_hosts=["data.lab.example"], wait=pytest.fail)
    assert len(redirecting.asked) == 1


def test_name_that_changes_is_resolved_once(
    monkeypatch: pytest.MonkeyPatch, connected: List[str]
) -> None:
    """The connection goes to the checked address, whatever the name resolves to next."""
    answers = ["93.184.216.34", "127.0.0.1"]

    def getaddrinfo(_host: str, port: int, **_kwargs: Any) -> Any:
        return real_getaddrinfo(answers.pop(0), port, type=socket.SOCK_STREAM)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(NwbError, match=r"rebinding\.example is not on the public internet"):
        HttpRanges("http://rebinding.example/file.nwb", wait=lambda _sec: None)
    assert connected == ["93.184.216.34"]  # once; the second try was refused
    assert answers == []


@pytest.mark.parametrize(
    "allowed", ["data.lab.example", " DATA.lab.example. ", "127.0.0.1", "[127.0.0.1]"]
)
def test_allowed_hosts(allowed: str, resolved: List[str]) -> None:
    """A host that the operator allows is connected to, and its name is sent."""
    with RangeServer({"/file.nwb": b"abc"}) as server:
        url = server.url("/file.nwb").replace("127.0.0.1", "data.lab.example")
        with contextlib.closing(HttpRanges(url, allow_hosts=["", allowed])) as ranges:
            assert ranges.head == b"abc"
        assert server.hosts == [f"data.lab.example:{server.port}"]
    assert resolved == ["data.lab.example", "127.0.0.1"]  # the second is no name: no look-up


def test_allowing_one_host_allows_no_other(resolved: List[str], connected: List[str]) -> None:
    """Names are compared as a whole."""
    for host in ("evil-data.lab.example", "lab.example", "private.example"):
        NAMES.setdefault(host, ["127.0.0.1"])
        with pytest.raises(NwbError, match="public internet"):
            HttpRanges(f"http://{host}/", allow_hosts=["data.lab.example"], wait=pytest.fail)
    assert connected == []
    assert len(resolved) == 3


@pytest.mark.parametrize("number", [socket.EAI_AGAIN, socket.EAI_NONAME])
def test_unknown_name_is_tried_again(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed look-up is retried for a minute, if the host has never answered."""

    def getaddrinfo(*_args: Any, **_kwargs: Any) -> Any:
        raise socket.gaierror(number, "no address")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    time = FakeTime()
    with pytest.raises(NwbError, match=r"host is not known \(DNS\); given up after 60 s"):
        HttpRanges("https://data.example/x", wait=time.wait, clock=time.clock)


@pytest.mark.parametrize("name", ["data.lab.example", "other.lab.example"])
@pytest.mark.usefixtures("resolved")
def test_certificate_is_the_names(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS sends the name and checks its certificate, although an address is connected to."""
    monkeypatch.setitem(NAMES, name, ["127.0.0.1"])
    pem = tmp_path / "certificate.pem"
    pem.write_text(CERTIFICATE)
    monkeypatch.setattr(requests.adapters, "DEFAULT_CA_BUNDLE_PATH", str(pem))
    # Some versions of requests have read the usual certificates already.
    trusting = ssl.create_default_context(cafile=str(pem))
    monkeypatch.setattr(requests.adapters, "_preloaded_ssl_context", trusting, raising=False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    names: List[Any] = []
    context.sni_callback = lambda _socket, server_name, _context: names.append(server_name)
    time = FakeTime()
    with RangeServer({"/file.nwb": b"abc"}, context) as server:
        url = f"https://{name}:{server.port}/file.nwb"
        options: Dict[str, Any] = {"allow_hosts": LOOPBACK, "wait": time.wait, "clock": time.clock}
        if name == "data.lab.example":
            with contextlib.closing(HttpRanges(url, **options)) as ranges:
                assert ranges.head == b"abc"
        else:
            with pytest.raises(NwbError, match=r"no secure connection \(TLS\)"):
                HttpRanges(url, **options)
    assert set(names) == {name}


def test_no_thread_is_left_waiting() -> None:
    """The timer for the head of an answer ends with the answer."""
    with RangeServer({"/file.nwb": b"abc"}) as server:
        with contextlib.closing(HttpRanges(server.url("/file.nwb"), allow_hosts=LOOPBACK)):
            pass
        timers = [t for t in threading.enumerate() if isinstance(t, threading.Timer)]
        for timer in timers:
            timer.join(10)
        assert not any(timer.is_alive() for timer in timers)
