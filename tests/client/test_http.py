"""One HTTP exchange: what is sent, and what each kind of answer means."""

import gzip
import json
import socket
import threading
import time
from email.utils import formatdate

import pytest
from core_fixtures import KEY
from scripted_server import Answer, as_json, drop, hang, html, ok, rate_limited, redirect

from devaria import __version__
from devaria.client.http import WorkerSession
from devaria.common import errors
from devaria.common.timing import Timing

ROUTE = "GET /thing"


def session(url, key, **timing):
    """Open a session with a worker."""
    return WorkerSession(url, key, Timing(**timing))


@pytest.fixture
def line(server):
    """A session with the scripted server, with a key that has white space around it."""
    made = session(server.url + "/", f" \t{KEY}\r\n")
    yield made
    made.close()


def get(line, **options):
    """Send a GET request."""
    return line.request("GET", "/thing", **options)


def post(line, body):
    """Send a POST request with a body."""
    return line.request("POST", "/thing", body=body)


def failure(line):
    """Send a GET request, and return the error that it raises."""
    with pytest.raises(errors.WorkerError) as raised:
        get(line)
    return raised.value


# --- what is sent ----------------------------------------------------------------------------


def test_a_request_carries_key_agent_and_compact_utf8_json(server, line):
    """The key is stripped, the body is UTF-8 JSON without escapes, and the agent names us."""
    server.on("POST /thing", ok(fine=True))

    assert post(line, {"name": "Zoë", "n": [1, None]}) == {"fine": True}

    request = server.wait_for("POST /thing")
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["user-agent"] == f"devaria/{__version__}"
    assert request.headers["content-type"] == "application/json"
    assert request.body == '{"name":"Zoë","n":[1,null]}'.encode()


def test_a_get_has_no_body_and_no_content_type(server, line):
    """Only a request with a body has a content type."""
    server.on(ROUTE, ok())

    get(line, params=[("types[]", "a b"), ("types[]", "ü&=")])

    request = server.wait_for(ROUTE)
    assert request.body == b""
    assert "content-type" not in request.headers
    assert request.query == [("types[]", "a b"), ("types[]", "ü&=")]


@pytest.mark.parametrize("key", [None, "", "  "])
def test_without_a_key_no_authorization_is_sent(server, key):
    """An empty key counts as none."""
    server.on(ROUTE, ok())
    line = session(server.url, key)

    get(line)
    line.close()

    assert "authorization" not in server.wait_for(ROUTE).headers


def test_netrc_does_not_override_the_key(server, line, tmp_path, monkeypatch):
    """A stray entry in .netrc for the worker's host loses to the key."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n", encoding="ascii")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server.on(ROUTE, ok())

    get(line)

    assert server.wait_for(ROUTE).headers["authorization"] == f"Bearer {KEY}"


def test_half_a_surrogate_pair_is_sent_as_an_escape(server, line):
    """What UTF-8 cannot carry travels as JavaScript would write it."""
    server.on("POST /thing", ok())

    post(line, {"text": "é\ud800 \U0001f600"})

    body = server.wait_for("POST /thing").body
    assert body == rb'{"text":"\u00e9\ud800 \ud83d\ude00"}'
    assert json.loads(body) == {"text": "é\ud800 \U0001f600"}


def test_no_redirect_is_followed(server, line):
    """A redirect could carry the key to another host; it is a strange answer."""
    server.on(ROUTE, redirect(server.url + "/elsewhere"))
    server.on("GET /elsewhere", ok())

    assert type(failure(line)) is errors.StrangeAnswer
    assert server.trace() == ["GET /thing"]


def test_requests_one_after_the_other_use_one_connection(server, line):
    """The session is kept alive, also over answers that are errors."""
    server.on(ROUTE, ok(), as_json({"error": "no"}, 400), html(502), html(200), ok())

    get(line)
    for _ in range(3):
        failure(line)
    get(line)

    assert [request.connection for request in server.seen(ROUTE)] == [1] * 5


def test_a_connection_that_the_server_closed_while_idle_costs_no_error(server, line):
    """The next request uses a new connection."""
    server.on(ROUTE, ok())

    get(line)
    server.close_connections()
    get(line)

    assert [request.connection for request in server.seen(ROUTE)] == [1, 2]


# --- what an answer means --------------------------------------------------------------------

MEANINGS = [
    (as_json({"error": "Invalid API key"}, 401), errors.Unauthorized),
    (as_json({"error": "Job not found"}, 404), errors.NotFound),
    (as_json({"error": "Not found"}, 404), errors.StrangeAnswer),
    (as_json({"success": False, "message": "Job already claimed"}, 409), errors.ClaimLost),
    (as_json({"success": False, "message": "Job not claimed"}, 400), errors.NotOurs),
    (as_json({"error": "Output JSON exceeds size limit of 512000 bytes"}, 400), errors.TooLarge),
    (as_json({"error": "Invalid registration data"}, 400), errors.Refused),
    (as_json({"error": "too much"}, 413), errors.TooLarge),
    (html(413), errors.TooLarge),
    (as_json({"error": "forbidden"}, 403), errors.StrangeAnswer),
    (as_json({"error": "Failed to claim", "details": "x"}, 500), errors.ServerError),
    (html(502), errors.NoAnswer),
    (as_json({"error": "busy"}, 503), errors.ServerError),
    (as_json({"success": False, "message": "no"}, 200), errors.StrangeAnswer),
    (html(200), errors.StrangeAnswer),
    (html(401), errors.StrangeAnswer),
    (html(404), errors.StrangeAnswer),
    (as_json([1]), errors.StrangeAnswer),
    (as_json(None), errors.StrangeAnswer),
    (Answer(), errors.StrangeAnswer),
    (Answer(204), errors.StrangeAnswer),
    (Answer(body=b"\xff\xfe\xfa{"), errors.StrangeAnswer),
    (Answer(body=b'{"cut": '), errors.StrangeAnswer),
    (rate_limited(), errors.RateLimited),
    (html(429), errors.RateLimited),
    (drop("unread"), errors.NoAnswer),
    (drop("read"), errors.NoAnswer),
    (drop("half"), errors.NoAnswer),
]


@pytest.mark.parametrize(
    ("answer", "meaning"),
    MEANINGS,
    ids=[f"{a.status}-{a.drop or a.body[:24].decode('latin-1')}" for a, _ in MEANINGS],
)
def test_each_answer_is_the_error_that_it_means(server, line, answer, meaning):
    """Every status and every broken answer has its kind of error, which names the request."""
    server.on(ROUTE, answer)

    error = failure(line)

    assert type(error) is meaning
    assert f"GET {server.url}/thing" in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize("status", [200, 403, 404])
@pytest.mark.parametrize("charset", ["idna", "a\0b", "utf-7", "rot13", "zip"])
def test_no_charset_can_end_a_runner(server, line, status, charset):
    """Whatever the header says, an answer is UTF-8: JSON has no other."""
    kind = {"Content-Type": f"text/html; charset={charset}"}
    server.on(ROUTE, Answer(status, b"<html>\xff" + b"x" * 100, kind), Answer(200, b"{}", kind))

    assert type(failure(line)) is errors.StrangeAnswer
    assert get(line) == {}


def test_a_bomb_is_not_unpacked(server, line):
    """Some kilobytes of gzip would become more than is read."""
    bomb = gzip.compress(b'{"x": "' + b"x" * 70_000_000 + b'"}', 1)
    server.on(ROUTE, Answer(200, bomb, {"Content-Encoding": "gzip"}))

    error = failure(line)

    assert type(error) is errors.StrangeAnswer
    assert str(error).endswith("more than 64,000,000 bytes")


def test_a_zipped_answer_is_an_answer(server, line):
    """Workers zip long ones."""
    server.on(ROUTE, Answer(200, gzip.compress(b'{"a": 1}'), {"Content-Encoding": "gzip"}))

    assert get(line) == {"a": 1}


def test_the_whole_request_has_a_time_limit(server):
    """Each byte comes in time, and the answer never ends. A request that waits has more time."""
    slow = session(server.url, KEY, answer_sec=0.3)
    server.on(ROUTE, as_json({"text": "x" * 100}, pieces_sec=0.15))

    assert "no whole answer within 0.3 s" in str(failure(slow))
    assert slow.exchange("GET", "/thing", wait_sec=60).body == {"text": "x" * 100}
    assert isinstance(failure(slow), errors.NoAnswer)
    slow.close()


@pytest.mark.parametrize("number", ["7" * 5_000, "-" + "7" * 5_000, "1e999", "NaN", "Infinity"])
def test_a_number_that_no_double_can_hold_is_null(server, line, number):
    """As JavaScript writes it. One number must not hide the rest of the answer."""
    server.on(ROUTE, Answer(200, f'{{"a": {number}, "b": 1.0}}'.encode()))

    assert get(line) == {"a": None, "b": 1}


def test_an_accepted_status_is_an_answer(server, line):
    """A caller that accepts 404 gets its JSON."""
    server.on(ROUTE, as_json({"exists": False}, 404))

    assert get(line, accept=(404,)) == {"exists": False}


def test_a_refused_connection_is_no_answer(closed_port):
    """The message is a few words, not three nested exceptions."""
    line = session(f"http://127.0.0.1:{closed_port}", KEY)

    error = failure(line)

    assert type(error) is errors.NoAnswer
    assert str(error).endswith("refused")
    assert "object at 0x" not in str(error)


def test_a_host_that_does_not_exist_is_no_answer():
    """A name that cannot be resolved is transient: the network may come back."""
    error = failure(session("http://no-such-host.invalid", KEY))

    assert type(error) is errors.NoAnswer
    assert "object at 0x" not in str(error)


def test_a_hanging_answer_ends_at_the_read_time_out(server, line):
    """A server that accepts and never answers holds a request no longer than asked for."""
    server.on(ROUTE, hang())

    with pytest.raises(errors.NoAnswer, match="no answer in time"):
        get(line, read_timeout_sec=0.2)


def test_a_slow_answer_is_an_answer(server, line):
    """The time-out is for silence, not for a body that comes in pieces."""
    server.on(ROUTE, as_json({"text": "x" * 100}, pieces_sec=0.1))

    assert get(line, read_timeout_sec=5.0) == {"text": "x" * 100}


def test_a_connection_that_does_not_open_ends_at_the_connect_time_out():
    """A host that swallows packets is given up on, and the text says so."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        crowd = [socket.socket() for _ in range(4)]
        for each in crowd:
            each.setblocking(False)
            each.connect_ex(full.getsockname())

        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        error = failure(session(url, KEY, connect_timeout_sec=0.3))

        for each in crowd:
            each.close()
    assert type(error) is errors.NoAnswer
    assert "no connection within" in str(error)


def test_every_request_has_time_outs_of_its_own(server, line):
    """A request that times out does not spoil the next one on the same session."""
    release = threading.Event()
    server.on(ROUTE, Answer(wait_for=release), ok(second=True))

    with pytest.raises(errors.NoAnswer):
        get(line, read_timeout_sec=0.2)

    assert get(line) == {"second": True}


@pytest.mark.parametrize(
    "answer",
    [
        as_json({"error": f"bad header: Bearer {KEY}"}, 400),
        as_json({"error": "x" * 110 + KEY}, 500),
        as_json({"success": False, "message": KEY}),
        Answer(502, f"<pre>Authorization: Bearer {KEY}</pre>".encode()),
        Answer(429, KEY.encode()),
        drop(),
    ],
)
def test_no_error_text_holds_the_key(server, line, answer):
    """This holds for a proxy's page that repeats the request, and for parts of the key."""
    server.on(ROUTE, answer)

    text = str(failure(line))

    assert KEY[:6] not in text


def test_an_error_text_of_the_worker_is_one_short_line(server, line):
    """Only the beginning of a long text is quoted, without line breaks."""
    server.on(ROUTE, as_json({"error": "first\nsecond\t" + "x" * 5_000}, 500))

    text = str(failure(line))

    assert "500 first second xxx" in text
    assert len(text) < 250


# --- when to come back -----------------------------------------------------------------------


def test_reset_time_is_seen_from_the_servers_own_clock(server, line):
    """The wait is right even if the server's clock is a day off."""
    server_now = int(time.time()) - 86_400
    reset = as_json(
        {"error": "Rate limit exceeded", "resetTime": (server_now + 42) * 1000},
        429,
        headers={"Date": formatdate(server_now, usegmt=True)},
    )
    server.on(ROUTE, reset)

    assert failure(line).retry_after_sec == pytest.approx(42)


def test_reset_time_without_a_date_is_seen_from_our_clock(server, line):
    """This machine's clock is used if the answer has no date."""
    server.on(ROUTE, rate_limited(reset_in_sec=42, Date="never"))

    assert failure(line).retry_after_sec == pytest.approx(42, abs=15)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("Fri, 01 Jan 2027 00:00:30 GMT", 30.0),
        ("Fri, 01 Jan 2027 00:00:30 -0000", 30.0),
        ("soon", None),
        ("-5", None),
        ("\xb2", None),
        ("Mon, 99 Foo 9999 99:99:99 GMT", None),
        ("", None),
    ],
)
def test_retry_after_is_understood_in_both_of_its_forms(server, line, value, seconds):
    """It holds seconds or a date. Anything else is ignored."""
    headers = {"Retry-After": value, "Date": "Fri, 01 Jan 2027 00:00:00 GMT"}
    server.on(ROUTE, as_json({"error": "slow down"}, 429, headers=headers))

    assert failure(line).retry_after_sec == seconds


@pytest.mark.parametrize("reset", ["NaN", "Infinity", "1" + "0" * 400, "true", '"soon"', "null"])
def test_a_reset_time_that_is_no_time_is_as_good_as_none(server, line, reset):
    """A strange number must cause neither an endless wait nor an exception."""
    server.on(ROUTE, Answer(429, f'{{"error": "x", "resetTime": {reset}}}'.encode()))

    assert failure(line).retry_after_sec is None


# --- deep nesting ----------------------------------------------------------------------------


def test_an_answer_whose_brackets_do_not_close_is_none(server, line):
    """It is a broken answer like any other, however many brackets there are."""
    server.on(ROUTE, Answer(body=b'{"jobs":' + b"[" * 100_000))

    with pytest.raises(errors.StrangeAnswer):
        get(line)


@pytest.mark.parametrize("depth", [1_000, 50_000])
def test_an_answer_that_is_nested_too_deeply_is_read_down_to_a_depth(server, line, depth):
    """Deep parameters from a stranger must not spoil the rest of the answer."""
    deep = "[" * depth + '"]}"' + "]" * depth
    server.on(ROUTE, Answer(body=f'{{"deep": {deep}, "next": "\\"[{{"}}'.encode()))

    answer = get(line)

    assert answer["next"] == '"[{'
    assert isinstance(answer["deep"], list)


# --- waits -----------------------------------------------------------------------------------


def test_a_request_that_may_wait_says_for_how_long_and_what_it_has_seen(server, line):
    """The answer says whether it could wait, and names what it shows."""
    headers = {"Preference-Applied": "wait=7", "ETag": 'W/"new"'}
    server.on(ROUTE, as_json({"n": 1}, headers=headers))

    answer = line.exchange("GET", "/thing", wait_sec=7, seen_tag='W/"old"')

    assert answer == ({"n": 1}, True, 'W/"new"', False)
    request = server.wait_for(ROUTE)
    assert (request.headers["prefer"], request.headers["if-none-match"]) == ("wait=7", 'W/"old"')


def test_a_request_that_does_not_ask_has_no_such_header(server, line):
    """An answer that claims to have waited is not believed then."""
    server.on(ROUTE, as_json({}, headers={"Preference-Applied": "wait=7"}))

    assert line.exchange("GET", "/thing") == ({}, False, "", False)
    assert not {"prefer", "if-none-match"} & set(server.wait_for(ROUTE).headers)


def test_304_means_that_nothing_has_changed(server, line):
    """To a request without a tag it is no answer."""
    server.on(ROUTE, Answer(304, b"", {"Preference-Applied": "wait=7", "ETag": '"a"'}))

    assert line.exchange("GET", "/thing", wait_sec=7, seen_tag='"a"') == ({}, True, '"a"', True)
    with pytest.raises(errors.StrangeAnswer):
        line.exchange("GET", "/thing", wait_sec=7)


def test_a_wait_has_more_time_than_other_requests(server):
    """Its own time, and some for the answer."""
    quick = session(server.url, KEY, read_timeout_sec=0.1, wait_grace_sec=9)

    def late(_request):
        server.pause(0.5)
        return ok(n=1)

    server.on(ROUTE, late)
    assert quick.exchange("GET", "/thing", wait_sec=1).body == {"n": 1}
    assert isinstance(failure(quick), errors.NoAnswer)
    quick.close()
