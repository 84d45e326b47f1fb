"""Requests whose answers are bounded, against a server that breaks the rules."""

import gzip
import threading
from contextlib import closing

import pytest
from scripted_server import PATIENCE_SEC, Answer, redirect
from waiting import BOUND_SEC

from devaria.common.http.fetching import Fetcher, FetchError

ROUTE = "GET /thing"
#: As long as no test takes: a request that ends before was ended by something else.
LONG_SEC = 10 * PATIENCE_SEC
MAX_BYTES = 1_000
ZIPPED = {"Content-Encoding": "gzip"}


@pytest.fixture
def fetch(server):
    """Return a function that gets what a server answers."""
    with closing(Fetcher("test", max_bytes=MAX_BYTES)) as fetcher:

        def fetched(answer, limit_sec=LONG_SEC, **options):
            server.on(ROUTE, answer)
            return fetcher.fetch(
                "GET",
                f"{server.url}/thing",
                limit_sec=limit_sec,
                timeout_sec=(LONG_SEC, LONG_SEC),
                **options,
            )

        yield fetched


def test_an_answer_may_have_just_the_limit(server, fetch):
    """Encoded or not; one connection serves all."""
    whole = b"x" * MAX_BYTES
    assert fetch(Answer(200, whole)).body == whole
    assert fetch(Answer(200, gzip.compress(whole), ZIPPED)).body == whole
    assert fetch(Answer(304, b"", ZIPPED)).status == 304
    assert fetch(Answer(204)).body == b""
    assert {each.connection for each in server.requests} == {1}
    assert server.requests[0].headers["accept-encoding"] == "gzip"


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b"x" * (MAX_BYTES + 1)),
        Answer(500, b"x" * 100_000),
        Answer(200, gzip.compress(b"x" * (MAX_BYTES + 1)), ZIPPED),
        Answer(200, gzip.compress(b"x" * 10_000_000), ZIPPED),
        Answer(200, b"x" * 9_000_000, {"Transfer-Encoding": "chunked", "X": "\r\n\r\n-1"}),
    ],
    ids=["one more", "more", "zipped", "bomb", "chunk without end"],
)
def test_what_is_over_the_limit_is_not_read(fetch, answer):
    """The memory stays bounded, whatever the answer says of itself."""
    with pytest.raises(FetchError):
        fetch(answer)


def test_a_chunk_of_size_minus_one_is_not_read_to_the_end(fetch):
    """http.client would: the end may never come."""
    head = {"Transfer-Encoding": "chunked"}
    with pytest.raises(FetchError):
        fetch(Answer(200, b"-1\r\n" + b"x" * 20_000_000, head))


BROKEN = {
    "redirect": redirect("http://[::bad"),
    "chunk": Answer(200, b"-5\r\n{}\r\n0\r\n\r\n", {"Transfer-Encoding": "chunked"}),
    "no chunk": Answer(200, b"zz\r\n", {"Transfer-Encoding": "chunked"}),
    "length": Answer(200, b"{}", {"Content-Length": "many"}),
    "zip": Answer(200, b"{}", ZIPPED),
    "half a zip": Answer(200, gzip.compress(b"x" * 500)[:-9], ZIPPED),
    "flood": Answer(200, b"{}", {f"X-{n}": "x" for n in range(5_000)}),
    "long header": Answer(200, b"{}", {"X": "x" * 1_000_000}),
    "nul": Answer(200, b"{}", {"Content-Type": "a; charset=\0", "Set-Cookie": "\0=\0; expires=\0"}),
    "cookie": Answer(200, b"{}", {"Set-Cookie": "a=b; max-age=" + "9" * 5_000}),
}


def said_or_read(fetch, answer):
    """Return the text of the error, or the body."""
    try:
        return fetch(answer, limit_sec=1.0).body.decode()
    except FetchError as error:
        return str(error)


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN.keys())
def test_nothing_but_one_error_comes_of_a_broken_answer(fetch, answer):
    """Or an answer, if nobody looks at what is broken. The next request works."""
    text = said_or_read(fetch, answer)  # one without a length ends with its time
    assert len(text.splitlines()) <= 1
    assert len(text) < 400
    assert fetch(Answer(200, b"good")).body == b"good"


def test_the_whole_answer_has_a_time_limit(fetch):
    """A drip of bytes does not lengthen it."""
    with pytest.raises(FetchError, match=r"no whole answer within 0\.3 s"):
        fetch(Answer(200, b"late", pieces_sec=LONG_SEC), limit_sec=0.3)
    assert fetch(Answer(200, b"good")).body == b"good"


def test_a_body_that_is_not_wanted_is_not_waited_for(fetch):
    """The status says enough."""
    late = Answer(502, b"late", pieces_sec=LONG_SEC)
    assert fetch(late, wants_body=lambda status: status == 200).body == b""


def test_no_cookie_is_sent_back(server, fetch):
    """A server could fill the memory with them."""
    for _ in range(2):
        fetch(Answer(200, b"", {"Set-Cookie": "a=b"}))
    assert "cookie" not in server.requests[-1].headers


def test_another_thread_ends_it(server):
    """At once, and for good."""
    with closing(Fetcher("test")) as fetcher:
        times = {"limit_sec": LONG_SEC, "timeout_sec": (LONG_SEC, LONG_SEC)}
        server.on(ROUTE, Answer(wait_for=threading.Event()))
        errors = []

        def fetch():
            try:
                fetcher.fetch("GET", f"{server.url}/thing", **times)
            except FetchError as error:
                errors.append(str(error))

        thread = threading.Thread(target=fetch)
        thread.start()
        server.wait_for(ROUTE)
        fetcher.end()
        thread.join(BOUND_SEC)
        assert errors == ["it was ended"]
        fetch()
        assert errors == ["it was ended"] * 2
