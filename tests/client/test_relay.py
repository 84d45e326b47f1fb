"""NotifyRelay's client: its protocol, and what a bad server cannot do to it."""

import contextlib
import gzip
import json
import socket
import ssl
import threading
from dataclasses import replace

import pytest
from certificate import CERTIFICATE
from relay_server import (
    POLL,
    PUBLISH_KEY,
    SUBSCRIBE_KEY,
    TOPIC,
    RelayServer,
    answer_with,
)
from scripted_server import PATIENCE_SEC, Answer, as_json, drop, hang, html, ok

from devaria.client.relay import RelayAccess, RelaySession
from devaria.common.errors import BadSetting, NoAnswer, StrangeAnswer, Unauthorized
from devaria.common.timing import Timing

#: As long as no test takes: a request that ends before was ended by something else.
LONG_SEC = 10 * PATIENCE_SEC


@pytest.fixture
def relay():
    """Run a NotifyRelay server."""
    with RelayServer() as running:
        yield running


@contextlib.contextmanager
def session_with(server, *, url=None, key=SUBSCRIBE_KEY, late_sec=LONG_SEC):
    """Open a session as a runner does; an answer may be late by so much."""
    access = RelayAccess(url or server.url, key, "lab-1")
    session = RelaySession(access, replace(Timing(), connect_timeout_sec=late_sec))
    with contextlib.closing(session):
        yield session


def said(server, **options):
    """Poll a server for a moment; return the texts of the errors that a runner would log."""
    with session_with(server, **options) as session:
        with pytest.raises((NoAnswer, StrangeAnswer, Unauthorized)) as caught:
            session.messages(0.01)
        return f"{type(caught.value).__name__} {caught.value}"


# --- the protocol ----------------------------------------------------------------------------


def test_a_message_ends_the_wait(relay):
    """Those that were published meanwhile come too, in order; one connection serves all polls."""
    with session_with(relay) as session:
        assert session.messages(0.01) == []
        for number in range(3):
            relay.publish({"n": number})
        assert [json.loads(each) for each in session.messages(LONG_SEC)] == [
            {"n": number} for number in range(3)
        ]
        threading.Thread(target=lambda: (relay.wait_for_poll(), relay.publish("late"))).start()
        assert session.messages(LONG_SEC) == ["late"]
    assert {each.connection for each in relay.seen(POLL)} == {1}


def test_requests_are_those_of_the_package(relay):
    """The server gets from devaria what it gets from `notifyrelay`, and both understand it."""
    notifyrelay = pytest.importorskip("notifyrelay")
    theirs = notifyrelay.Subscriber(relay.url, SUBSCRIBE_KEY, "lab-1", "devaria", poll_timeout=10)
    assert theirs._poll_once([TOPIC]) is None
    publisher = notifyrelay.NotifyRelayClient(relay.url, publish_key=PUBLISH_KEY)
    publisher.publish(TOPIC, "for them")
    assert [each["message"] for each in theirs._poll_once([TOPIC])[TOPIC]] == ["for them"]
    publisher.publish(TOPIC, "for us")
    with session_with(relay) as session:
        assert session.messages(0.01) == ["for us"]

    first, _, ours = relay.seen(POLL)
    assert ours.json == first.json
    for header in ("authorization", "content-type"):
        assert ours.headers[header] == first.headers[header]


@pytest.mark.parametrize("answer", [ok(), ok(messages={}), ok(messages=None), answer_with([])])
def test_an_answer_without_messages(relay, answer):
    """The server may leave out what is empty; other topics are not looked at."""
    relay.on(POLL, answer)
    with session_with(relay) as session:
        assert session.messages(0.01) == []


def test_messages_that_are_none(relay):
    """What has no message in it is kept apart from what has one."""
    relay.on(POLL, answer_with(["text", None, {"message": "good"}, {"message": 7}, {}]))
    with session_with(relay) as session:
        assert session.messages(0.01) == [None, None, "good", "7", None]


# --- bad servers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (as_json({"error": f"{SUBSCRIBE_KEY} is no key"}, 401), "Unauthorized"),
        (html(403), "Unauthorized"),
        (html(502), "StrangeAnswer"),
        (html(), "StrangeAnswer"),
        (Answer(204), "StrangeAnswer"),
        (Answer(200, b'{"messages": '), "StrangeAnswer"),
        (Answer(200, b"\xff\xfe\xfd"), "StrangeAnswer"),
        (Answer(200, b"[" * 900_000), "StrangeAnswer"),
        (Answer(200, b'{"messages": {"runpack_notifications": %s}}' % (b"[" * 90_000)), "Strange"),
        (Answer(200, b"[1]"), "StrangeAnswer"),
        (Answer(200, b"7" * 900_000), "StrangeAnswer"),
        (ok(messages=[1]), "StrangeAnswer"),
        (ok(messages={TOPIC: {"a": 1}}), "StrangeAnswer"),
        (ok(messages={TOPIC: "text"}), "StrangeAnswer"),
        (Answer(200, b" " * 1_000_001), "StrangeAnswer"),
        (drop("read"), "NoAnswer"),
        (drop("half"), ""),  # one of the two, by the version of urllib3
    ],
)
def test_bad_answers(relay, answer, error):
    """Each is one error of one short line, which does not show the key."""
    relay.on(POLL, answer)
    text = said(relay)
    assert text.startswith(error)
    assert f" POST {relay.url}/poll: " in text
    assert len(text.splitlines()) == 1
    assert len(text) < 200
    assert SUBSCRIBE_KEY not in text


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(relay, server, status):
    """Nor is its body read, which may never come."""
    body = Answer(status, b"late", {"Location": f"{server.url}/poll"}, pieces_sec=LONG_SEC)
    relay.on(POLL, body)
    assert said(relay) == f"StrangeAnswer POST {relay.url}/poll: {status}"
    assert server.requests == []


@pytest.mark.parametrize(
    "answer",
    [
        hang(),
        Answer(200, b"    ", pieces_sec=LONG_SEC),
        Answer(200, b"{}", {"Content-Length": "many"}),
    ],
)
def test_an_answer_has_a_time_limit(relay, answer):
    """A server that never answers, or never ends its answer, is left."""
    relay.on(POLL, answer)
    assert said(relay, late_sec=0.2).startswith("NoAnswer")


def test_a_long_body_of_a_bad_answer_is_not_waited_for(relay):
    """The status says enough."""
    relay.on(POLL, Answer(502, b"late", pieces_sec=LONG_SEC))
    assert said(relay).endswith(": 502")


def test_a_compressed_answer_is_not_decompressed(relay):
    """Nobody asked for it, and a few bytes could become many."""
    relay.on(POLL, Answer(200, gzip.compress(b"{}"), {"Content-Encoding": "gzip"}))
    assert said(relay).startswith("StrangeAnswer")


class Dripper(threading.Thread):
    """Accepts connections, and sends each a byte of a head now and then."""

    def __init__(self):
        super().__init__()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._is_over = threading.Event()
        self.has_begun = threading.Event()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def run(self):
        """Serve one connection."""
        connection, _ = self._listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
            while not self._is_over.wait(0.01):
                connection.sendall(b"x")
                self.has_begun.set()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_exc):
        self._is_over.set()
        self.join(PATIENCE_SEC)
        self._listener.close()
        assert not self.is_alive()


def test_a_head_that_drips_has_a_time_limit():
    """The limit is for the whole answer, not for each byte."""
    with Dripper() as server:
        assert said(server, late_sec=0.3).endswith("no whole answer within 0.31 s")


# --- the end ---------------------------------------------------------------------------------


def ended_in_time(session, *conditions):
    """Poll for long in a thread, end the session after the conditions, and wait for the thread."""
    errors = []

    def poll():
        try:
            session.messages(LONG_SEC)
        except NoAnswer as error:
            errors.append(error)

    thread = threading.Thread(target=poll)
    thread.start()
    for condition in conditions:
        condition()
    session.end()
    thread.join(PATIENCE_SEC)
    return not thread.is_alive() and len(errors) == 1


def test_the_end_cuts_a_long_poll(relay):
    """Also one over a connection that has served before."""
    with session_with(relay) as session:
        assert session.messages(0.01) == []
        assert ended_in_time(session, relay.wait_for_poll)


def test_the_end_cuts_a_head_that_drips():
    """The time-outs of requests would not end it."""
    with Dripper() as server, session_with(server) as session:
        assert ended_in_time(session, server.has_begun.wait)


def test_nothing_is_answered_after_the_end(relay):
    """The end may come before the connection."""
    with session_with(relay) as session:
        session.end()
        assert ended_in_time(session)


# --- the key ---------------------------------------------------------------------------------


def test_a_login_in_netrc_does_not_replace_the_key(relay, tmp_path, monkeypatch):
    """As it would if the key were a plain header."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", relay.url)
    with session_with(relay, url="http://relay.example") as session:
        assert session.messages(0.01) == []
    assert relay.wait_for(POLL).headers["authorization"] == SUBSCRIBE_KEY


def test_a_proxy_is_used_but_not_for_loopback(relay, server, monkeypatch):
    """A long poll through the proxy can be cut, too."""
    monkeypatch.setenv("HTTP_PROXY", relay.url)
    with session_with(relay, url="http://relay.example") as session:
        assert ended_in_time(session, relay.wait_for_poll)
    monkeypatch.setenv("HTTP_PROXY", server.url)
    with session_with(relay) as session:
        assert session.messages(0.01) == []
    assert server.requests == []


def test_tls_is_checked_and_can_be_cut(tmp_path, monkeypatch):
    """A server whose certificate is of another name gets no key."""
    pem = tmp_path / "certificate.pem"
    pem.write_text(CERTIFICATE)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *rest: resolve("127.0.0.1", *rest))
    with RelayServer(tls=context) as encrypted:
        port = encrypted.port
        with session_with(encrypted, url=f"https://data.lab.example:{port}") as session:
            assert session.messages(0.01) == []
            assert ended_in_time(session, encrypted.wait_for_poll)
        asked = len(encrypted.requests)
        assert "certificate" in said(encrypted, url=f"https://other.lab.example:{port}")
        assert len(encrypted.requests) == asked


def test_cookies_are_not_kept(relay):
    """A server could fill the memory with them."""
    cookie = {"Set-Cookie": "name=value"}
    relay.on(POLL, ok())
    relay.on(POLL, replace(ok(), headers=cookie))
    with session_with(relay) as session:
        assert session.messages(0.01) == session.messages(0.01) == []
    assert "cookie" not in relay.wait_for(POLL, 2).headers


# --- the variables ---------------------------------------------------------------------------


GOOD = {
    "NOTIFY_RELAY_BASE_URL": " https://relay.example/ ",
    "NOTIFY_RELAY_SUBSCRIBE_KEY": f" {SUBSCRIBE_KEY}\n",
    "NOTIFY_RELAY_SUBSCRIBE_ID": "lab-1",
}


def test_the_variables_are_read():
    """Without white space around them; a repr does not show the key."""
    access = RelayAccess.of(GOOD, insecure=False)
    assert access == RelayAccess("https://relay.example", SUBSCRIBE_KEY, "lab-1")
    assert SUBSCRIBE_KEY not in repr(access)
    assert RelayAccess.of({"NOTIFY_RELAY_BASE_URL": " "}, insecure=False) is None


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"NOTIFY_RELAY_BASE_URL": ""}, "NOTIFY_RELAY_BASE_URL is not set"),
        (
            {"NOTIFY_RELAY_SUBSCRIBE_KEY": "", "NOTIFY_RELAY_SUBSCRIBE_ID": " "},
            "NOTIFY_RELAY_SUBSCRIBE_KEY and NOTIFY_RELAY_SUBSCRIBE_ID are not set",
        ),
        ({"NOTIFY_RELAY_SUBSCRIBE_KEY": "k\n\x07"}, "SUBSCRIBE_KEY holds characters"),
        ({"NOTIFY_RELAY_BASE_URL": "relay.example"}, "NOTIFY_RELAY_BASE_URL 'relay.example' is no"),
        ({"NOTIFY_RELAY_BASE_URL": "http://relay.example"}, "is plain http"),
    ],
)
def test_variables_that_cannot_be_used(variables, text):
    """The error names the variables, and not what is in the key."""
    with pytest.raises(BadSetting, match=text) as caught:
        RelayAccess.of({**GOOD, **variables}, insecure=False)
    assert len(str(caught.value).splitlines()) == 1
    assert SUBSCRIBE_KEY not in str(caught.value)


def test_plain_http_may_be_accepted():
    """As for a worker, on a network of one's own."""
    environ = {**GOOD, "NOTIFY_RELAY_BASE_URL": "http://relay.example"}
    access = RelayAccess.of(environ, insecure=True)
    assert access is not None
    assert access.url == "http://relay.example"
