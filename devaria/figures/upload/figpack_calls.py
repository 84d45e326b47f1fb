"""The HTTP calls that figpack makes during an upload: over kept connections, and with time-outs.

figpack 0.4.1 calls ``requests.post`` and ``requests.put``, which make a session and a connection
for each call, without time-outs. Both end in ``requests.Session.request``. During an upload this
module stands in that place.
"""

import contextlib
import ssl
import threading
import time
from typing import Any, Callable, Dict, Iterator, Optional, Set

import requests
from requests.utils import super_len

from devaria.common.retry import retry_after_sec
from devaria.figures.upload.connections import STORE_CONNECTIONS, KeptSession, UploadConnections
from devaria.figures.upload.lanes import Lanes
from devaria.figures.upload.manifest import ManifestAhead, signed_urls
from devaria.figures.upload.store_hint import remember_store

#: How many files figpack uploads at a time.
_FIGPACK_THREADS = 16

#: What a connection raises that the other side has closed.
_CLOSED = (
    ConnectionResetError,
    ConnectionAbortedError,
    BrokenPipeError,
    ssl.SSLEOFError,
    ssl.SSLZeroReturnError,
)

#: Held during an upload: the class of all sessions is changed for its length.
_one_upload = threading.Lock()

#: Sends one call by a session, with changes to its options.
_Send = Callable[..., requests.Response]


class FigpackCalls:
    """The calls of one upload and its retries, and how they ended.

    Args:
        connections: The connections to use.
        timeouts_sec: Longest time to connect, and longest silence while an answer is awaited.
        max_retry_after_sec: Longest wait that a server may ask for.
        max_total_sec: After this time nothing more is sent.
    """

    def __init__(
        self,
        connections: UploadConnections,
        timeouts_sec: "tuple[float, float]",
        max_retry_after_sec: float,
        max_total_sec: float,
    ) -> None:
        self._connections = connections
        self._timeouts_sec = timeouts_sec
        self._max_retry_after_sec = max_retry_after_sec
        self._end_sec = time.monotonic() + max_total_sec
        self._max_total_sec = max_total_sec
        self._lanes = Lanes(STORE_CONNECTIONS)
        self._manifest = ManifestAhead(0)
        self._file_urls: Set[str] = set()
        self._may_pass = False
        #: Whether a call was made.
        self.began = False
        #: The longest wait that a server has asked for in this try, in seconds.
        self.retry_after_sec = 0.0

    @property
    def may_pass(self) -> bool:
        """Whether another try makes sense: the last fault was the network's or the server's."""
        return self._may_pass and time.monotonic() < self._end_sec

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Route all calls of this process through this object, for the length of one try."""
        with _one_upload:
            self._may_pass, self.retry_after_sec = False, 0.0
            plain = requests.Session.request

            def request(
                session: requests.Session, method: str, url: str, **options: Any
            ) -> requests.Response:
                def send(by: requests.Session = session, **changes: Any) -> requests.Response:
                    return self._sent(plain, by, method, url, {**options, **changes})

                self.began = True
                options.setdefault("timeout", self._timeouts_sec)
                return self._answer(send, url, options.get("json"), options.get("data"))

            requests.Session.request = request  # type: ignore[assignment,method-assign]
            try:
                yield
            finally:
                requests.Session.request = plain  # type: ignore[method-assign]

    # --- the steps of an upload ------------------------------------------------------------

    def _answer(self, send: _Send, url: str, content: Any, data: Any) -> requests.Response:
        """Make one call, over the connections that are kept for it."""
        api_url = self._connections.api_url
        if url in self._file_urls:
            return self._stored(send, url, data)
        if url == f"{api_url}/upload" and isinstance(content, dict):
            return self._signed(send, content)
        if url == f"{api_url}/figures/create" and isinstance(content, dict):
            return self._created(send, content)
        if url.startswith(f"{api_url}/"):
            return send(self._connections.api)
        return send()

    def _created(self, send: _Send, content: Dict[str, Any]) -> requests.Response:
        self._manifest = ManifestAhead(content.get("totalFiles"))
        response = send(self._connections.api)
        with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
            self._connections.note_figure(response.json()["figure"]["figureUrl"])
        return response

    def _signed(self, send: _Send, content: Dict[str, Any]) -> requests.Response:
        known: Optional[requests.Response] = self._manifest.answer_to(content)
        if known is not None:
            return known
        joined = self._manifest.joined(content)
        response = send(self._connections.api, json=joined)
        if joined is not content:
            if 400 <= response.status_code < 500 and response.status_code not in (401, 403, 429):
                response = send(self._connections.api)  # as figpack 0.4.1 has it
            self._manifest.note(response)
        urls = set(signed_urls(response).values())
        if urls:
            remember_store(self._connections.api_url, min(urls))
        self._file_urls |= urls
        num_files = len(urls) - (joined is not content)  # the manifest comes after the others
        self._lanes.expect(min(num_files, _FIGPACK_THREADS))
        return response

    def _stored(self, send: _Send, url: str, data: Any) -> requests.Response:
        body = self._manifest.body(url, data)
        num_bytes: int = super_len(body)  # type: ignore[no-untyped-call]
        with self._lanes.lane(num_bytes):
            return send(self._connections.store, data=body)

    # --- one call --------------------------------------------------------------------------

    def _sent(
        self, plain: _Send, session: requests.Session, method: str, url: str, options: Any
    ) -> requests.Response:
        if time.monotonic() > self._end_sec:
            raise TimeoutError(f"the job took more than {self._max_total_sec:,.0f} s")
        try:
            response = _sent_once_more_if_closed(plain, session, method, url, options)
        except requests.RequestException:
            self._may_pass = True
            raise
        if not response.ok:
            self._note_fault(response)
        return response

    def _note_fault(self, response: requests.Response) -> None:
        self._may_pass = response.status_code in (408, 429) or response.status_code >= 500
        asked_sec = retry_after_sec(response.headers.get("Retry-After", ""), time.time()) or 0.0
        self.retry_after_sec = min(max(self.retry_after_sec, asked_sec), self._max_retry_after_sec)


def _sent_once_more_if_closed(
    plain: _Send, session: requests.Session, method: str, url: str, options: Any
) -> requests.Response:
    """Send a call. A server may close a kept connection at the moment in which it is used."""
    try:
        return plain(session, method, url, **options)
    except requests.ConnectionError as error:
        if not (isinstance(session, KeptSession) and _is_closed(error)):
            raise
    data = options.get("data")
    if hasattr(data, "seek"):
        data.seek(0)
    with KeptSession(1) as new:
        return plain(new, method, url, **options)


def _is_closed(error: requests.ConnectionError) -> bool:
    cause: Any = error.args[0] if error.args else None
    cause = getattr(cause, "reason", cause)
    return any(isinstance(each, _CLOSED) for each in getattr(cause, "args", ()))
