"""Connections for the ranges that follow are opened while the file's start arrives."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Iterator

import pytest
import requests
from certificates import server_context
from range_server import LOOPBACK, RangeServer
from urllib3.connectionpool import HTTPSConnectionPool
from waiting import wait_until

from devaria.nwb.http.address_guard import _GuardedConnection
from devaria.nwb.http.ranges import HttpRanges

CONTENT = bytes(range(256)) * 8192  # 2 MiB
AHEAD = 4


@pytest.fixture(params=["http", "https"])
def server(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RangeServer]:
    """Serve a file, with TLS or without."""
    tls = server_context(tmp_path) if request.param == "https" else None
    bundle = str(tmp_path / "loopback.pem")
    monkeypatch.setattr(requests.adapters, "DEFAULT_CA_BUNDLE_PATH", bundle)
    with RangeServer({"/file.nwb": CONTENT, "/short": b"abc"}, tls) as running:
        yield running


def opened(server: RangeServer, path: str) -> HttpRanges:
    """Open a file with connections ahead."""
    url = server.url(path)
    url = url.replace("http:", "https:") if server.tls else url
    return HttpRanges(url, allow_hosts=LOOPBACK, connections_ahead=AHEAD)


def test_requests_at_once_find_open_connections(server: RangeServer) -> None:
    """No request opens another one, although a server with TLS has sent its tickets meanwhile."""
    with contextlib.closing(opened(server, "/file.nwb")) as ranges:
        wait_until(lambda: server.connections == 1 + AHEAD, "open connections")
        wait_until(lambda: "open-ahead" not in _threads(), "their return")
        server.latency_sec = 0.2
        starts = [number * 1000 for number in range(1 + AHEAD)]
        with ThreadPoolExecutor(len(starts)) as pool:
            found = list(pool.map(lambda start: ranges.read(start, start + 1000), starts))
        assert found == [CONTENT[start : start + 1000] for start in starts]
        assert server.most_pending == 1 + AHEAD
        assert server.connections == 1 + AHEAD


def test_a_short_file_needs_none(server: RangeServer) -> None:
    """All of it has arrived with its start."""
    with contextlib.closing(opened(server, "/short")) as ranges:
        assert ranges.head == b"abc"
    wait_until(lambda: "open-ahead" not in _threads(), "the end of all threads")
    assert server.connections == 1


def test_certificates_are_read_once(server: RangeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of all authorities take 20 ms, for each connection."""
    contexts = []
    new = HTTPSConnectionPool._new_conn

    def noted(pool: HTTPSConnectionPool) -> object:
        contexts.append(pool.conn_kw.get("ssl_context"))
        return new(pool)

    monkeypatch.setattr(HTTPSConnectionPool, "_new_conn", noted)
    with contextlib.closing(opened(server, "/file.nwb")):
        wait_until(lambda: server.connections == 1 + AHEAD, "open connections")
    if server.tls:
        assert len(contexts) == 1 + AHEAD
        assert len(set(contexts)) == 1
        assert None not in contexts


def test_a_connection_that_cannot_be_opened_harms_nothing(
    server: RangeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ranges are read over the one that is open, or over one more."""
    connect = _GuardedConnection.connect

    def failing(connection: _GuardedConnection) -> None:
        if threading.current_thread().name == "open-ahead":
            raise OSError("refused")
        connect(connection)

    monkeypatch.setattr(_GuardedConnection, "connect", failing)
    with contextlib.closing(opened(server, "/file.nwb")) as ranges:
        wait_until(lambda: "open-ahead" not in _threads(), "the end of all threads")
        assert ranges.read(5, 500_000) == CONTENT[5:500_000]
    # One that failed after the first answer lies above the open one in the pool, and is opened now.
    assert server.connections <= 2


def _threads() -> "set[str]":
    return {thread.name for thread in threading.enumerate()}
