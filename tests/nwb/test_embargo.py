"""Embargoed files of the DANDI Archive: the operator's key goes to the archive's API alone."""

from typing import Any, Dict, Iterator, List
from urllib.parse import urlsplit

import pytest
from range_server import FakeTime
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from scripted_server import Answer, ScriptedServer, drop, redirect

from devaria.nwb.embargo import signed_url
from devaria.nwb.errors import NwbError
from devaria.nwb.http.ranges import HttpRanges
from devaria.nwb.links import may_be_embargoed

KEY = "a-key-of-the-archive"
URL = "https://api.dandiarchive.org/api/assets/1/download/"
SIGNED = "https://bucket.example/blobs/1?X-Signature=s3cr3t"
ALLOWED = {"DEVARIA_DANDI_EMBARGOED": "yes", "DEVARIA_DANDI_API_KEY": KEY}
ROUTE = "GET /api/assets/1/download/"


class ToLoopback(HTTPAdapter):
    """Sends requests for the archive to a server on loopback.

    Args:
        server: That server.
    """

    def __init__(self, server: ScriptedServer) -> None:
        self.url = server.url
        self.hosts: List[str] = []
        super().__init__()

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        """Send one request."""
        assert request.url is not None
        self.hosts.append(str(urlsplit(request.url).hostname))
        request.url = f"{self.url}{request.path_url}"
        return super().send(request, *args, **kwargs)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """Run the archive's API."""
    with ScriptedServer() as running:
        yield running


def asked(server: ScriptedServer, *steps: Answer) -> str:
    """Ask where a file lies."""
    server.on(ROUTE, *steps)
    time = FakeTime()
    adapter = ToLoopback(server)
    try:
        return signed_url(URL, KEY, adapter=adapter, wait=time.wait, clock=time.clock)
    finally:
        assert set(adapter.hosts) == {"api.dandiarchive.org"}
        assert {each.headers["authorization"] for each in server.requests} == {f"token {KEY}"}


@pytest.mark.parametrize("status", [302, 307])
def test_redirect_is_not_followed(server: ScriptedServer, status: int) -> None:
    """The signed URL is returned, and nobody but the API saw the key."""
    assert asked(server, redirect(SIGNED, status)) == SIGNED
    assert len(server.requests) == 1


def test_passing_faults_are_tried_again(server: ScriptedServer) -> None:
    """A broken connection and a busy server may pass."""
    assert asked(server, drop(), Answer(503), redirect(SIGNED)) == SIGNED
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [401, 403])
def test_refused_key_is_the_operators(server: ScriptedServer, status: int) -> None:
    """The error names the variable, and not the key."""
    with pytest.raises(NwbError, match=r"refuses the operator's key .* DEVARIA_DANDI_API_KEY") as e:
        asked(server, Answer(status))
    assert KEY not in str(e.value)


@pytest.mark.parametrize("location", ["http://[::bad", "javascript:1"])
def test_redirect_to_nowhere_is_the_servers_fault(server: ScriptedServer, location: str) -> None:
    """The submitter's parameters are right."""
    with pytest.raises(NwbError, match=r"redirects to what is not an http\(s\) URL"):
        asked(server, redirect(location))


def test_file_that_is_public(server: ScriptedServer) -> None:
    """What the API answers itself is left to the reader."""
    assert asked(server, Answer(404)) == URL


@pytest.mark.parametrize("status", [401, 403])
def test_without_the_key_the_error_tells_why(server: ScriptedServer, status: int) -> None:
    """A refusal of the archive's API probably means an embargo."""
    server.on(ROUTE, Answer(status))
    with pytest.raises(NwbError, match="may be embargoed; the runner's operator can allow it"):
        HttpRanges(URL, adapter=ToLoopback(server))


def test_lasting_fault_ends(server: ScriptedServer) -> None:
    """The archive is given up after a while."""
    with pytest.raises(NwbError, match="given up after"):
        asked(server, drop())


@pytest.mark.parametrize(
    ("url", "environ", "is_allowed"),
    [
        (URL, ALLOWED, True),
        (URL, {}, False),
        (URL, {"DEVARIA_DANDI_API_KEY": KEY}, False),
        (URL, {**ALLOWED, "DEVARIA_DANDI_EMBARGOED": "no"}, False),
        (URL, {**ALLOWED, "DEVARIA_DANDI_API_KEY": " "}, False),
        (URL.replace("https", "http"), ALLOWED, False),
        (URL.replace(".org", ".org:8443"), ALLOWED, False),
        (URL.replace("api.", "api.dandiarchive.org."), ALLOWED, False),
        (URL.replace("https://", "https://example.org/"), ALLOWED, False),
        ("https://bucket.example/blobs/1", ALLOWED, False),
    ],
)
def test_key_is_off_by_default(url: str, environ: Dict[str, str], is_allowed: bool) -> None:
    """It takes the switch, the key, and the API's own address over TLS."""
    assert may_be_embargoed(url, environ) == is_allowed
