"""The check of figures elsewhere: it takes little time, and goes to public addresses only."""

import contextlib
import gzip
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from waiting import BOUND_SEC, wait_until

from devaria.common.http.addresses import PublicHosts
from devaria.worker.server import LocalWorker
from devaria.worker.store import expiry
from devaria.worker.store.expiry import FigureCheck
from devaria.worker.store.figures import FigureStore

ALIVE = json.dumps({"pinned": True}).encode()


class Host(ThreadingHTTPServer):
    """A host of figures, with ways to misbehave; the first part of a path names one."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked = []
        self.ended = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Host

    def do_GET(self):
        """Answer as the path says."""
        self.server.asked.append(self.path)
        with contextlib.suppress(OSError):
            getattr(self, self.path.split("/")[1])()

    def _send(self, status, content, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": len(content), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(content)

    def good(self):
        """Say that the figure lives."""
        self._send(200, ALIVE)

    def late(self):
        """Say that the figure lives, after a while."""
        self.server.ended.wait(0.1)
        self.good()

    def moved(self):
        """Redirect to an answer that says so."""
        self._send(302, b"", Location=f"{self.server.url}/good/figpack.json")

    def endless(self):
        """Send without end."""
        self.send_response(200)
        self.end_headers()
        while not self.server.ended.is_set():
            self.wfile.write(b" " * 65536)

    def bomb(self):
        """Send what becomes a gigabyte."""
        self._send(200, gzip.compress(b" " * 2**26) * 16, Content_Encoding="gzip")

    def slow_head(self):
        """Send a byte of the head now and then."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        self._drip()

    def slow_body(self):
        """Send a byte of the body now and then."""
        self.send_response(200)
        self.end_headers()
        self._drip()

    def _drip(self):
        while not self.server.ended.wait(0.1):
            self.wfile.write(b" ")

    def silent(self):
        """Send nothing."""
        self.server.ended.wait()

    def log_message(self, *_arguments):
        """Stay silent."""


@pytest.fixture
def host():
    """A host of figures on loopback."""
    with Host() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.ended.set()
        running.shutdown()
        thread.join()


@pytest.fixture
def check(tmp_path, clock):
    """A check that may ask the host on loopback."""
    return FigureCheck(FigureStore(tmp_path, clock), clock, PublicHosts(["127.0.0.1"]))


def test_a_figure_at_an_allowed_host_lives(host, check):
    """The host is on loopback, and the operator allows it by name."""
    assert check.all_alive({"figpack_url": f"{host.url}/good/index.html"})


@pytest.mark.parametrize("way", ["moved", "endless", "bomb", "slow_head", "slow_body", "silent"])
def test_a_host_that_misbehaves_costs_little_time(host, check, monkeypatch, way):
    """The figure cannot be reached, so it has expired."""
    monkeypatch.setattr(expiry, "DEADLINE_SEC", 0.5)
    start = time.monotonic()
    assert not check.all_alive({"figpack_url": f"{host.url}/{way}/index.html"})
    assert time.monotonic() - start < BOUND_SEC  # drips would go on for ever
    assert host.asked == [f"/{way}/figpack.json"]


def test_all_figures_of_a_result_share_the_time(host, check, monkeypatch):
    """A result may name thousands; each is asked for once."""
    monkeypatch.setattr(expiry, "DEADLINE_SEC", 0.5)
    urls = [f"{host.url}/late/{number // 2}/index.html" for number in range(2_000)]
    assert not check.all_alive([{"figpack_url": url} for url in urls])
    assert len(host.asked) == len(set(host.asked)) <= 6


def test_the_connection_to_a_slow_host_is_cut(host, check, monkeypatch):
    """The thread that asks ends too."""
    monkeypatch.setattr(expiry, "DEADLINE_SEC", 0.5)
    assert not check.all_alive({"figpack_url": f"{host.url}/slow_head/index.html"})
    wait_until(
        lambda: not any(each.name == "devaria-worker-figure" for each in threading.enumerate())
    )


def test_a_name_that_is_looked_up_for_ever_costs_little_time(check, monkeypatch):
    """A resolver can hang, and no time-out of a connection counts that."""
    ended = threading.Event()
    real = socket.getaddrinfo

    def hangs(host, *arguments, **options):
        if host == "figures.example":
            ended.wait()
        return real(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    monkeypatch.setattr(expiry, "DEADLINE_SEC", 0.2)
    for number in range(4):
        assert not check.all_alive({"figpack_url": f"http://figures.example/{number}/index.html"})
    # The threads that hang still count, so that there are never more of them.
    assert check.all_alive({"figpack_url": "http://figures.example/index.html"})
    ended.set()


def test_the_figures_of_a_result_share_one_deadline(host, check, monkeypatch):
    """Each is asked for once, and none when the time is over."""
    urls = [f"{host.url}/good/{name}/index.html" for name in "aab"]
    output = [{"figpack_url": url} for url in urls]
    assert check.all_alive(output)
    assert host.asked == ["/good/a/figpack.json", "/good/b/figpack.json"]
    times = iter([0.0, 0.0, expiry.DEADLINE_SEC])
    monkeypatch.setattr(expiry, "monotonic", lambda: next(times), raising=False)
    assert not check.all_alive(output)
    assert len(host.asked) == 3


def test_the_whole_check_has_five_seconds():
    """A submitter waits for it."""
    assert expiry.DEADLINE_SEC == 5


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "0x7f.1", "[::1]", "[::ffff:7f00:1]"])
def test_addresses_of_the_lab_are_not_asked(host, tmp_path, clock, name):
    """A result could name any; the loopback interface has services without a key."""
    guarded = FigureCheck(FigureStore(tmp_path, clock), clock, PublicHosts())
    port = host.server_address[1]
    assert not guarded.all_alive({"figpack_url": f"http://{name}:{port}/good/index.html"})
    assert host.asked == []


def test_while_many_hosts_hang_results_are_given_unchecked(host, check, monkeypatch):
    """The threads of the worker must not all wait for them."""
    monkeypatch.setattr(expiry, "DEADLINE_SEC", BOUND_SEC)
    output = {"figpack_url": f"{host.url}/silent/index.html"}
    waiting = [threading.Thread(target=check.all_alive, args=[output]) for _ in range(4)]
    for each in waiting:
        each.start()
    wait_until(lambda: len(host.asked) == 4)
    assert check.all_alive(output)
    host.ended.set()
    for each in waiting:
        each.join()


def test_a_deep_result_is_searched(check):
    """Deeper than functions can call themselves."""
    deep = {"figpack_url": "no figure"}
    for _ in range(3_000):
        deep = [deep]
    assert not check.all_alive(deep)


def test_a_worker_takes_the_hosts_that_its_operator_allows(tmp_path, keys, host):
    """By default it takes none."""
    for hosts, expected in (((), False), (["127.0.0.1"], True)):
        with LocalWorker(tmp_path / str(expected), port=0, keys=keys, allow_hosts=hosts) as worker:
            found = worker.services.figure_check.all_alive(
                {"figpack_url": f"{host.url}/good/index.html"}
            )
        assert found is expected
