"""Servers of files as they are: what they say in odd ways is understood, or named in an error.

Each odd server stands for one that was seen on the internet.
"""

import contextlib
import gzip
import re
import zlib
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import pytest
from nwb_files import units_bytes
from range_server import LOOPBACK, SECRET, FakeTime
from scripted_server import Answer, Request, ScriptedServer, drop, hang, redirect

from devaria.nwb.errors import NwbError
from devaria.nwb.http.ranges import FIRST_BYTES, HttpRanges
from devaria.nwb.http.retry import HttpTiming
from devaria.nwb.limits import ReadLimits

#: HDF5's signature, then bytes that gzip shortens.
LONG = b"\x89HDF\r\n\x1a\n" + bytes(range(250)) * 4000
SHORT = LONG[:5000]

Spans = List[Optional[str]]


@dataclass
class OddServer:
    """Answers requests for one file; subclasses and settings make it odd.

    Args:
        content: The file.
        headers: Headers of each answer with bytes of the file.
        content_range: Format of the header Content-Range.
        cap: Longest range that is sent.
        late_sec: How long each range takes.
    """

    content: bytes = LONG
    headers: Dict[str, str] = field(default_factory=dict)
    content_range: str = "bytes {first}-{last}/{size}"
    cap: int = len(LONG)
    late_sec: float = 0.0
    spans: Spans = field(default_factory=list)

    def __call__(self, request: Request) -> Answer:
        """Answer a request of the script's server."""
        self.spans.append(request.headers.get("range"))
        return self.answer(request, *self.asked_for(request))

    def asked_for(self, request: Request) -> Tuple[int, int]:
        """Return the offsets of the first byte and after the last one that are asked for."""
        size = len(self.content)
        match = re.fullmatch(r"bytes=(\d*)-(\d+)", request.headers.get("range", f"bytes=0-{size}"))
        assert match is not None
        if not match[1]:
            return max(0, size - int(match[2])), size
        return int(match[1]), min(int(match[2]) + 1, size)

    def answer(self, request: Request, start: int, stop: int) -> Answer:
        """Answer one request."""
        if "range" not in request.headers:
            return self.whole(request)
        return self.part(start, min(stop, start + self.cap))

    def whole(self, request: Request) -> Answer:
        """Send the whole file, or the head of that answer."""
        headers = {"Content-Length": str(len(self.content)), **self.headers}
        return Answer(200, b"" if request.method == "HEAD" else self.content, headers)

    def part(self, start: int, stop: int) -> Answer:
        """Send one range."""
        said = self.content_range.format(first=start, last=stop - 1, size=len(self.content))
        headers = {"Content-Range": said, **self.headers}
        return Answer(206, self.content[start:stop], headers, pieces_sec=self.late_sec)


class Compressing(OddServer):
    """Compresses whole files; with ``ranges``, ranges too."""

    ranges = False

    def answer(self, request: Request, start: int, stop: int) -> Answer:
        """Answer one request."""
        body = gzip.compress(self.content[start:stop])
        headers = {"Content-Encoding": "gzip"}
        if self.ranges and "range" in request.headers:
            said = f"bytes {start}-{stop - 1}/{len(self.content)}"
            return Answer(206, body, {**headers, "Content-Range": said})
        return Answer(200, gzip.compress(self.content), headers)


class CompressingRanges(Compressing):
    """Compresses ranges too."""

    ranges = True


class ZlibCompressing(OddServer):
    """Compresses with what HTTP calls deflate."""

    def answer(self, *_request: object) -> Answer:
        """Answer one request."""
        return Answer(200, zlib.compress(self.content), {"Content-Encoding": "Deflate"})


class RawCompressing(OddServer):
    """Compresses with what many servers call deflate: without zlib's head."""

    def answer(self, *_request: object) -> Answer:
        """Answer one request."""
        compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        body = compressor.compress(self.content) + compressor.flush()
        return Answer(200, body, {"Content-Encoding": "deflate"})


class CompressingInParts(OddServer):
    """Sends gzip in several members, as some tools write large files."""

    def answer(self, *_request: object) -> Answer:
        """Answer one request."""
        parts = [self.content[start : start + 300_000] for start in range(0, len(LONG), 300_000)]
        return Answer(200, b"".join(map(gzip.compress, parts)), {"Content-Encoding": "gzip"})


class WithoutSuffix(OddServer):
    """Does not know ranges that count from the end; it sends the file's start."""

    def asked_for(self, request: Request) -> Tuple[int, int]:
        """Return what is asked for, as this server understands it."""
        start, stop = super().asked_for(request)
        is_suffix = request.headers.get("range", "").startswith("bytes=-")
        return (0, stop - start) if is_suffix else (start, stop)


class WithoutHead(WithoutSuffix):
    """Refuses HEAD as well."""

    def answer(self, request: Request, start: int, stop: int) -> Answer:
        """Answer one request."""
        if request.method == "HEAD":
            return Answer(405)
        return super().answer(request, start, stop)


class WithBrokenHead(WithoutSuffix):
    """Cannot answer HEAD."""

    def answer(self, request: Request, start: int, stop: int) -> Answer:
        """Answer one request."""
        if request.method == "HEAD":
            return Answer(501)
        return super().answer(request, start, stop)


class Strict(OddServer):
    """Refuses a range that reaches beyond the end."""

    named = True

    def answer(self, request: Request, start: int, stop: int) -> Answer:
        """Answer one request."""
        match = re.fullmatch(r"bytes=\d+-(\d+)", request.headers.get("range", ""))
        if match and int(match[1]) >= len(self.content):
            headers = {"Content-Range": f"bytes */{len(self.content)}"} if self.named else {}
            return Answer(416, b"no", headers)
        return super().answer(request, start, stop)


class StrictAndSilent(Strict):
    """Does not name the length when it refuses."""

    named = False


class Generous(OddServer):
    """Sends the whole file, as a range, whatever is asked for."""

    def answer(self, *_request: object) -> Answer:
        """Answer one request."""
        return self.part(0, len(self.content))


@contextlib.contextmanager
def serving(step: Callable[[Request], Answer], path: str = "/file") -> Iterator[ScriptedServer]:
    """Answer requests for a file."""
    with ScriptedServer() as server:
        server.on(f"* {path}", step)
        yield server


@contextlib.contextmanager
def opened(url: str, **options: Any) -> Iterator[Tuple[HttpRanges, FakeTime]]:
    """Open a file; waits between tries take no time."""
    time = FakeTime()
    ranges = HttpRanges(url, allow_hosts=LOOPBACK, wait=time.wait, clock=time.clock, **options)
    with contextlib.closing(ranges):
        yield ranges, time


ODD = {
    "no encoding, said as nothing": OddServer(headers={"Content-Encoding": ""}),
    "no encoding, in another case": OddServer(headers={"Content-Encoding": "Identity"}),
    "no encoding, stored by an upload": OddServer(headers={"Content-Encoding": "aws-chunked"}),
    "compresses all": Compressing(),
    "compresses ranges": CompressingRanges(),
    "compresses with zlib": ZlibCompressing(),
    "compresses without zlib's head": RawCompressing(),
    "compresses in parts": CompressingInParts(),
    "no size": OddServer(content_range="bytes {first}-{last}/*"),
    "no size, no end": WithoutSuffix(content_range="bytes {first}-{last}/*"),
    "no size, no end, no HEAD": WithoutHead(content_range="bytes {first}-{last}/*"),
    "no size, no end, broken HEAD": WithBrokenHead(content_range="bytes {first}-{last}/*"),
    "no space": OddServer(content_range="Bytes={first}-{last}/{size}"),
    "another case": OddServer(content_range="BYTES {first}-{last}/{size}"),
    "capped": OddServer(cap=64 * 1024),
    "strict": Strict(SHORT),
    "strict and silent": StrictAndSilent(SHORT),
    "generous": Generous(SHORT),
    "generous with more than is asked for": Generous(),
}


@pytest.mark.parametrize("end_bytes", [0, 100_000])
@pytest.mark.parametrize("name", ODD)
def test_is_read(name: str, end_bytes: int) -> None:
    """Each byte is the file's, and no wait was needed."""
    odd = ODD[name]
    content = odd.content
    with serving(odd) as server, opened(f"{server.url}/file", end_bytes=end_bytes) as (
        ranges,
        time,
    ):
        assert ranges.size == len(content)
        assert ranges.head == content[:FIRST_BYTES]
        assert ranges.read(0, len(content)) == content
        middle = len(content) // 2
        assert ranges.read(middle, middle + 1000) == content[middle : middle + 1000]
        tail = ranges.peek_tail(len(content) - 1)
        assert tail is None or tail[1] == content[tail[0] :]
    assert time.waits == []


@pytest.mark.parametrize("end_bytes", [0, 100_000])
def test_units_are_read_from_compressed_answers(end_bytes: int) -> None:
    """A real units table arrives whole from a server that compresses everything."""
    content = units_bytes([[0.5, 1.5], [2.0]])
    options = {"end_bytes": end_bytes}
    with serving(Compressing(content)) as server, opened(f"{server.url}/file", **options) as found:
        assert found[0].read(0, found[0].size) == content


def test_white_space_around_a_url_is_left_out() -> None:
    """A URL is often pasted with a space or a line's end."""
    with serving(OddServer()) as server, opened(f" {server.url}/file\n") as (ranges, _):
        assert ranges.url == f"{server.url}/file"


def test_decoded_bytes_are_bounded() -> None:
    """A short body that would become a long file is refused before it does."""
    bomb = Compressing(LONG + bytes(50_000_000))
    limits = ReadLimits(max_download_bytes=10_000_000)
    with serving(bomb) as server:
        text = "compresses what it sends, and the whole file has more than the 10 MB"
        with pytest.raises(NwbError, match=text), opened(f"{server.url}/file", limits=limits):
            pass


@pytest.mark.parametrize(
    ("body", "headers", "text"),
    [
        (b"x", {"Content-Encoding": "br"}, r"compresses what it sends \(br\)"),
        (b"not gzip", {"Content-Encoding": "gzip"}, "sends damaged gzip data"),
        (b"", {"Content-Encoding": "gzip"}, "given up after"),
        (gzip.compress(LONG)[:-9], {"Content-Encoding": "gzip"}, "announced length"),
    ],
)
def test_what_cannot_be_decoded(body: bytes, headers: Dict[str, str], text: str) -> None:
    """Another coding, damage and a cut are errors, never data."""
    with ScriptedServer() as server:
        server.on("GET /file", Answer(200, body, headers))
        with pytest.raises(NwbError, match=text), opened(f"{server.url}/file"):
            pass


def test_what_follows_a_compressed_body_ends_it() -> None:
    """A server cannot draw an answer out with bytes that mean nothing."""
    body = gzip.compress(LONG) + bytes(1_000_000)
    with ScriptedServer() as server:
        server.on("GET /file", Answer(200, body, {"Content-Encoding": "gzip"}))
        refused = pytest.raises(NwbError, match="damaged gzip data")
        with refused, opened(f"{server.url}/file"):
            pass


def test_compressed_body_is_bounded_though_it_holds_nothing() -> None:
    """Empty blocks of deflate are bytes that are sent, too."""
    empty_blocks = b"\x00\x00\x00\xff\xff" * 500_000
    body = gzip.compress(LONG[:100], mtime=0)[:10] + empty_blocks
    limits = ReadLimits(max_download_bytes=2_000_000)
    with ScriptedServer() as server:
        server.on("GET /file", Answer(200, body, {"Content-Encoding": "gzip"}))
        refused = pytest.raises(NwbError, match="more than may be downloaded")
        with refused, opened(f"{server.url}/file", limits=limits):
            pass


def test_each_part_of_a_capped_range_is_tried_again_by_itself() -> None:
    """A fault does not throw away what has arrived."""
    odd = OddServer(cap=64 * 1024)
    faulty = set(range(5, 100, 3))

    def flaky(request: Request) -> Answer:
        answer = odd(request)
        return Answer(503) if len(odd.spans) in faulty else answer

    with serving(flaky) as server, opened(f"{server.url}/file") as (ranges, _):
        assert ranges.read(0, len(LONG)) == LONG
    assert len(odd.spans) < 2 * len(LONG) / odd.cap


def test_parts_that_come_too_slowly_are_given_up() -> None:
    """A byte in each answer, and each answer late, is no way to send a file."""
    odd = OddServer()
    with serving(odd) as server:
        timing = HttpTiming(read_timeout_sec=0.2, min_bytes_per_sec=100)
        with contextlib.closing(
            HttpRanges(f"{server.url}/file", allow_hosts=LOOPBACK, timing=timing)
        ) as ranges:
            odd.cap, odd.late_sec = 1, 0.05
            with pytest.raises(NwbError, match="bytes a second"):
                ranges.read(0, 1000)
    assert len(odd.spans) < 100


def test_compressed_range_is_never_data() -> None:
    """A server that compresses ranges after the first one gives an error that says so."""
    odd = OddServer()
    with serving(odd) as server, opened(f"{server.url}/file") as (ranges, _):
        odd.headers = {"Content-Encoding": "gzip"}
        with pytest.raises(NwbError, match="compresses ranges"):
            ranges.read(0, 10)


def test_multipart_is_named() -> None:
    """A range in parts with heads of their own is an error that says so."""
    odd = OddServer(headers={"Content-Type": "multipart/byteranges; boundary=x"})
    refused = pytest.raises(NwbError, match="multipart/byteranges")
    with serving(odd) as server, refused, opened(f"{server.url}/file"):
        pass


DATE, OTHER_DATE = "Thu, 26 Nov 2026 10:00:00 GMT", "Thu, 26 Nov 2026 11:00:00 GMT"


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        (('"a"', DATE), ('"b"', DATE), True),
        (('"a"', DATE), ('"b"', OTHER_DATE), False),
        (('"a"', None), ('"b"', None), False),
        (('W/"a"', DATE), ('W/"b"', DATE), True),
        (('W/"a"', DATE), ('W/"b"', OTHER_DATE), False),
        (('W/"a"', None), ('"b"', None), True),
        (('"a"', DATE), ('"a"', OTHER_DATE), True),
        (('"a"', DATE), (None, DATE), True),
    ],
)
def test_versions(
    first: Tuple[Optional[str], ...], second: Tuple[Optional[str], ...], is_same: bool
) -> None:
    """Machines behind one name may have ETags of their own; another date or length is a change."""
    odd = OddServer()

    def headers(version: Tuple[Optional[str], ...]) -> Dict[str, str]:
        names = zip(("ETag", "Last-Modified"), version)
        return {name: value for name, value in names if value is not None}

    odd.headers = headers(first)
    with serving(odd) as server, opened(f"{server.url}/file") as (ranges, _):
        odd.headers = headers(second)
        if is_same:
            assert ranges.read(0, 10) == LONG[:10]
        else:
            with pytest.raises(NwbError, match="changed"):
                ranges.read(0, 10)


def test_another_length_is_a_change() -> None:
    """Whatever the ETag says."""
    odd = OddServer(headers={"ETag": '"a"'})
    with serving(odd) as server, opened(f"{server.url}/file") as (ranges, _):
        odd.content = LONG + b"more"
        with pytest.raises(NwbError, match="changed"):
            ranges.read(0, 10)


EXPIRED = [
    (400, b"<Error><Code>ExpiredToken</Code></Error>"),
    (403, b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"),
    (400, b""),
]


@pytest.mark.parametrize(("status", "body"), EXPIRED)
def test_expired_url_is_fetched_anew(status: int, body: bytes) -> None:
    """The file's own URL redirects to a new signed one."""
    signed = [f"/signed?{SECRET}1", f"/signed?{SECRET}2"]
    good = OddServer()

    def store(request: Request) -> Answer:
        is_old = len(server.seen("GET /link")) == 1 and len(good.spans) == 1
        return Answer(status, body) if is_old else good(request)

    with serving(store, "/signed") as server:
        server.on("GET /link", *(redirect(url) for url in signed))
        with opened(f"{server.url}/link") as (ranges, time):
            assert ranges.read(5, 500) == LONG[5:500]
            assert len(server.seen("GET /link")) == 2
    assert time.waits == []


@pytest.mark.parametrize(("status", "body"), EXPIRED[:2])
def test_expired_url_is_named(status: int, body: bytes) -> None:
    """A submitted URL whose signature has expired needs a new one."""
    with serving(lambda _request: Answer(status, body)) as server:
        text = rf"the signed URL has expired: submit the job with a new one \(HTTP {status}\)"
        with pytest.raises(NwbError, match=text) as caught, opened(f"{server.url}/file?{SECRET}"):
            pass
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("status", [408, 425])
def test_passing_status_is_tried_again(status: int) -> None:
    """A time-out at the server and a request that came too early may pass."""
    odd = OddServer()
    with ScriptedServer() as server:
        server.on("GET /file", odd, Answer(status), odd)
        with opened(f"{server.url}/file") as (ranges, time):
            assert ranges.read(5, 500) == LONG[5:500]
    assert len(time.waits) == 1


@pytest.mark.parametrize("kind", ["refused", "drop", "redirect to refused"])
def test_host_that_never_answered_is_given_up_after_a_minute(kind: str) -> None:
    """Nothing has ever come from there, so the name or the port is probably wrong."""
    with ScriptedServer() as gone:
        nowhere = f"{gone.url}/file"
    with ScriptedServer() as server:
        server.on("GET /file", drop())
        server.on("GET /link", redirect(nowhere))
        links = {"refused": nowhere, "redirect to refused": f"{server.url}/link"}
        url = links.get(kind, f"{server.url}/file")
        with pytest.raises(NwbError, match="given up after 60 s"), opened(url):
            pass


def test_host_that_hangs_is_given_up_after_a_minute() -> None:
    """The time of the tries counts."""
    with ScriptedServer() as server:
        server.on("GET /file", hang())
        timing = HttpTiming(read_timeout_sec=0.1, unheard_sec=0.3)
        ranges = pytest.raises(NwbError, match="no answer in time; given up after 0 s")
        with ranges, contextlib.closing(
            HttpRanges(f"{server.url}/file", allow_hosts=LOOPBACK, timing=timing)
        ):
            pass


def test_host_that_has_answered_gets_five_minutes() -> None:
    """A server that restarts is waited for."""
    odd = OddServer()
    with ScriptedServer() as server:
        server.on("GET /file", odd, drop())
        given_up = pytest.raises(NwbError, match="given up after 300 s")
        with opened(f"{server.url}/file") as (ranges, _), given_up:
            ranges.read(0, 10)
