"""Ranges over HTTP: the bytes are those requested, or the error says what is wrong."""

import contextlib
import traceback
from typing import Iterator, List, Tuple

import pytest
from range_server import LOOPBACK, SECRET, FakeTime, RangeServer
from requests.adapters import HTTPAdapter
from scripted_server import PATIENCE_SEC, Answer, ScriptedServer

from devaria.nwb.errors import InvalidInputError, NwbError
from devaria.nwb.http.ranges import FIRST_BYTES, HttpRanges
from devaria.nwb.http.retry import HttpTiming

CONTENT = bytes(range(256)) * 4096  # 1 MiB: four first requests' worth


@pytest.fixture
def server() -> Iterator[RangeServer]:
    """Serve a few files."""
    with RangeServer({"/file.nwb": CONTENT, "/empty": b"", "/short": b"abc"}) as running:
        yield running


@contextlib.contextmanager
def opened(url: str, **timing: float) -> Iterator[Tuple[HttpRanges, List[float]]]:
    """Open ranges, and give the waits between tries, none of which takes time."""
    time = FakeTime()
    ranges = HttpRanges(
        url, timing=HttpTiming(**timing), allow_hosts=LOOPBACK, wait=time.wait, clock=time.clock
    )
    with contextlib.closing(ranges):
        yield ranges, time.waits


def test_reads_ranges_over_one_connection(server: RangeServer) -> None:
    """Size, head and ranges are right, and one connection serves all requests."""
    with opened(server.url("/file.nwb")) as (ranges, _):
        assert ranges.size == len(CONTENT)
        assert ranges.head == CONTENT[:FIRST_BYTES]
        assert ranges.read(1000, 300_000) == CONTENT[1000:300_000]
        assert ranges.read(len(CONTENT) - 1, len(CONTENT)) == CONTENT[-1:]
    assert server.connections == 1


def test_short_file_is_read_at_once(server: RangeServer) -> None:
    """A file shorter than the first request is read completely by that request."""
    with opened(server.url("/short")) as (ranges, _):
        assert (ranges.size, ranges.head) == (3, b"abc")


@pytest.mark.parametrize(
    ("fault", "at_first"),
    [(fault, first) for fault in (503, 429, 500, "short", "drop", "shifted") for first in (0, 1)]
    # In answer to the first request these are final errors.
    + [("whole", 0), ("html", 0)],
)
def test_passing_fault_is_tried_again(server: RangeServer, fault: object, at_first: int) -> None:
    """One bad answer causes a wait, and is never taken for data."""
    server.faults = [fault] if at_first else [None, fault]
    with opened(server.url("/file.nwb")) as (ranges, waits):
        assert ranges.read(5, 500) == CONTENT[5:500]
    assert len(waits) == 1
    assert waits[0] == 7 if fault == 429 else 0.25 <= waits[0] <= 0.5


@pytest.mark.parametrize("fault", [503, "short", "drop", "hang"])
def test_lasting_fault_ends_in_one_line(server: RangeServer, fault: object) -> None:
    """A server that never recovers is given up, after waits that grow."""
    timing = {"no_progress_sec": 2 if fault == "hang" else 300, "read_timeout_sec": 0.2}
    with opened(server.url(f"/file.nwb?{SECRET}"), **timing) as (ranges, waits):
        server.always = fault
        with pytest.raises(NwbError, match=r"given up after \d+ s without progress") as caught:
            ranges.read(0, 10)
    assert waits[0] < waits[1] <= 30
    assert sum(waits) == pytest.approx(timing["no_progress_sec"])
    text = "".join(traceback.format_exception(caught.type, caught.value, caught.tb))
    assert "s3cr3t" not in text


def test_unreachable_server_does_not_show_the_signature() -> None:
    """The error of a refused connection names the URL without its query, traceback included."""
    with RangeServer({}) as gone:
        url = gone.url(f"/file.nwb?{SECRET}")
    gone_for_good = pytest.raises(NwbError, match=r"/file\.nwb\?…: the connection failed")
    with gone_for_good as caught, opened(url):
        pass
    text = "".join(traceback.format_exception(caught.type, caught.value, caught.tb))
    assert "s3cr3t" not in text


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (404, "has no such file"),
        (403, "denies access"),
        (401, "wants a login"),
        (418, r"does not give the file \(HTTP 418\)"),
        ("html", r"is a web page \(HTML\), not an NWB file"),
        ("whole", "is not HDF5, not an NWB file"),
    ],
)
def test_first_answer_tells_what_is_wrong(server: RangeServer, fault: object, text: str) -> None:
    """What the first answer shows is reported at once, without another try."""
    server.always = fault
    with pytest.raises(NwbError, match=text), opened(server.url("/file.nwb")):
        pass
    assert len(server.asked) == 1


def test_empty_file(server: RangeServer) -> None:
    """A file without bytes is reported as empty."""
    with pytest.raises(NwbError, match="is an empty file"), opened(server.url("/empty")):
        pass


def test_changed_file_is_not_mixed(server: RangeServer) -> None:
    """Bytes of two versions of a file are never mixed."""
    server.faults = [None, "new etag"]
    with opened(server.url("/file.nwb")) as (ranges, _), pytest.raises(NwbError, match="changed"):
        ranges.read(0, 10)
    server.faults = []
    with opened(server.url("/file.nwb")) as (ranges, _):
        server.files["/file.nwb"] = CONTENT + b"more"
        with pytest.raises(NwbError, match="changed"):
            ranges.read(0, 10)


def test_redirect_is_followed_once(server: RangeServer) -> None:
    """Later requests go directly to the target of the first redirect."""
    with opened(server.url("/to/file.nwb")) as (ranges, _):
        for start in range(3):
            assert ranges.read(start, start + 2) == CONTENT[start : start + 2]
    assert len([line for line in server.asked if line.startswith("/to/")]) == 1


@pytest.mark.parametrize("status", [401, 403, 404])
def test_expired_signature_is_fetched_anew(server: RangeServer, status: int) -> None:
    """When the target of a redirect refuses, the original URL is requested again."""
    server.faults = [None, status, None]
    with opened(server.url("/to/file.nwb")) as (ranges, waits):
        assert ranges.read(7, 9) == CONTENT[7:9]
    assert waits == []
    assert len([line for line in server.asked if line.startswith("/to/")]) == 2


def test_endless_redirects_end(server: RangeServer) -> None:
    """At most five redirects are followed."""
    with pytest.raises(NwbError, match="more than 5 times"), opened(server.url("/loop")):
        pass
    assert len(server.asked) == 6


def test_the_body_of_a_redirect_is_not_read(server: RangeServer) -> None:
    """It may be endless, or never come."""
    with ScriptedServer() as hop:
        location = {"Location": server.url("/short")}
        hop.on("GET /x", Answer(302, b"late", location, pieces_sec=PATIENCE_SEC))
        with opened(f"{hop.url}/x", read_timeout_sec=2, no_progress_sec=1) as (ranges, _):
            assert ranges.head == b"abc"


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://host/x", "http://u:p@host/x"])
def test_redirect_away_from_http_is_refused(server: RangeServer, target: str) -> None:
    """A redirect may only lead to what may be submitted."""
    server.redirect_to = target
    with pytest.raises(NwbError, match="redirects to what is not"), opened(server.url("/to/x")):
        pass


def test_adapter_opens_every_hop(server: RangeServer) -> None:
    """The adapter, which can refuse addresses, sends each request of a redirect."""
    seen: List[str] = []

    class Watching(HTTPAdapter):
        def send(self, request, *args, **kwargs):
            seen.append(request.path_url.split("?")[0])
            return super().send(request, *args, **kwargs)

    with contextlib.closing(HttpRanges(server.url("/to/file.nwb"), adapter=Watching())):
        pass
    assert seen == ["/to/file.nwb", "/file.nwb"]


def test_adapter_can_refuse_a_hop(server: RangeServer) -> None:
    """A refusal of the adapter is final, and keeps its text."""

    class Refusing(HTTPAdapter):
        def send(self, request, *args, **kwargs):
            if request.path_url.startswith("/file.nwb"):
                raise NwbError("that address is not public")
            return super().send(request, *args, **kwargs)

    with pytest.raises(NwbError, match="that address is not public"):
        HttpRanges(server.url("/to/file.nwb"), adapter=Refusing(), wait=pytest.fail)


def test_environment_is_ignored(server: RangeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxies and logins of this machine are not used for a submitted URL."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with opened(server.url("/short")) as (ranges, _):
        assert ranges.head == b"abc"


@pytest.mark.parametrize("host", ["a..b", "a" * 70 + ".org", "*.org", ".org", "%00"])
def test_impossible_host_is_final(host: str) -> None:
    """A host name that cannot exist is not retried, and gives one of our own errors."""
    with pytest.raises((NwbError, InvalidInputError), match=r"host name|http or https"):
        HttpRanges(f"http://{host}/file", wait=lambda _sec: pytest.fail("tried again"))
