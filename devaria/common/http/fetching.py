"""Requests whose answers are bounded, in time and in size: those of a worker and its clients.

requests takes what it gets: a few bytes of gzip may become gigabytes, and a strange header may
raise nearly anything.
"""

import io
import socket
import zlib
from http.client import HTTPResponse
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Callable, List, Mapping, NamedTuple, Optional, Tuple

import requests
from requests.adapters import HTTPAdapter
from urllib3 import PoolManager

from devaria.common.http.addresses import Connect
from devaria.common.http.bounded import (
    BoundedSession,
    CuttableConnection,
    time_limit,
    use_connections,
)
from devaria.common.text import one_line

#: The largest answer, as it is sent and as it is decoded. A worker's list of 50 jobs with the
#: largest parameters has 15 MB.
MAX_ANSWER_BYTES = 64_000_000

#: What the head of an answer and the marks between its chunks may take beside the body.
_MAX_EXTRA_BYTES = 8_000_000
_PIECE_BYTES = 65_536
#: For zlib: the data has a gzip header.
_GZIP = 16 + zlib.MAX_WBITS


class FetchError(Exception):
    """There was no whole answer. The text is a few words on why."""


class TooBigError(FetchError):
    """The answer is over the limit of size."""


class Fetched(NamedTuple):
    """An answer.

    Args:
        status: Its status.
        headers: Its headers; their names are found in upper and lower case.
        body: Its body, decoded; empty if it was not wanted.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Fetcher:
    """Makes one request after another, each with a limit of time for all of it, and of size.

    It follows no redirect and keeps no cookie. One thread may call `fetch`; any thread may call
    `end`.

    Args:
        agent: Sent as `User-Agent`.
        max_bytes: The largest body, as it is sent and as it is decoded.
        takes_gzip: Whether to ask for compressed answers.
        trust_env: Whether the proxies of the environment are used.
        connect: Opens connections, to the hosts that it allows; None to allow all.
    """

    def __init__(
        self,
        agent: str,
        *,
        max_bytes: int = MAX_ANSWER_BYTES,
        takes_gzip: bool = True,
        trust_env: bool = True,
        connect: Optional[Connect] = None,
    ) -> None:
        self.has_ended = False
        self._max_bytes = max_bytes
        self._takes_gzip = takes_gzip
        self._connection: Optional[CuttableConnection] = None
        self._is_late = False
        self._session = BoundedSession()
        adapter = _Adapter(self._note_connection, max_bytes + _MAX_EXTRA_BYTES, connect)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        self._session.trust_env = trust_env
        self._session.headers["User-Agent"] = agent
        self._session.headers["Accept-Encoding"] = "gzip" if takes_gzip else "identity"
        # A server could fill the memory with them.
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))

    def fetch(
        self,
        method: str,
        url: str,
        *,
        limit_sec: float,
        timeout_sec: Tuple[float, float],
        wants_body: Callable[[int], bool] = lambda _status: True,
        **options: Any,
    ) -> Fetched:
        """Make one request, and read its answer.

        Args:
            method: Its method.
            url: Its URL.
            limit_sec: The time for all of it, in seconds.
            timeout_sec: For the connection, and for each silence, in seconds.
            wants_body: Whether the body of an answer with this status is to be read.
            options: Further ones of `requests.Session.request`.

        Raises:
            FetchError: There was no whole answer, for whatever reason.
        """
        self._is_late = False
        fault: Optional[Exception] = None
        with time_limit(limit_sec, self._cut_late) as is_late:
            try:
                with self._session.request(
                    method, url, timeout=timeout_sec, allow_redirects=False, stream=True, **options
                ) as response:
                    status, headers = response.status_code, response.headers
                    body = self._body(response) if wants_body(status) else b""
            # Libraries raise nearly anything while they read what a server has made up.
            except Exception as error:
                fault = error
        if self._connection is not None and self._connection.sock is None:
            self._connection.close()  # the rest of it
        if self.has_ended:
            raise FetchError("it was ended")
        if is_late.is_set():
            raise FetchError(f"no whole answer within {limit_sec:g} s") from fault
        if isinstance(fault, FetchError):
            raise fault
        if fault is not None:
            raise FetchError(_reason_of(fault, timeout_sec[0])) from fault
        return Fetched(status, headers, body)

    def end(self) -> None:
        """Cut the request that is waiting. No later one is answered."""
        self.has_ended = True
        self._cut()

    def close(self) -> None:
        """Close the connections. This is for the thread that calls `fetch`."""
        self._session.close()

    def _body(self, response: requests.Response) -> bytes:
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        is_zipped = self._takes_gzip and encoding in ("gzip", "x-gzip")
        inflater = zlib.decompressobj(_GZIP)
        pieces: List[bytes] = []
        left = self._max_bytes
        while True:
            sent = response.raw.read(_PIECE_BYTES, decode_content=False)
            if not sent:
                break
            piece = inflater.decompress(sent, left + 1) if is_zipped else sent
            left -= len(piece)
            if left < 0:
                raise TooBigError(f"more than {self._max_bytes:,} bytes")
            pieces.append(piece)
        if is_zipped and pieces and not inflater.eof:
            raise FetchError("the answer is cut off")
        return b"".join(pieces)

    def _note_connection(self, connection: CuttableConnection) -> None:
        self._connection = connection
        if self.has_ended or self._is_late:
            self._cut()

    def _cut_late(self) -> None:
        self._is_late = True
        self._cut()

    def _cut(self) -> None:
        if self._connection is not None:
            self._connection.cut()


class _Adapter(HTTPAdapter):
    """Opens connections, also through a proxy, and tells of each."""

    def __init__(
        self,
        note: Callable[[CuttableConnection], None],
        max_bytes: int,
        connect: Optional[Connect],
    ) -> None:
        response = type("BoundedResponse", (_Response,), {"max_bytes": max_bytes})
        self._connections = type(
            "BoundedConnection",
            (CuttableConnection,),
            {"opened": staticmethod(note), "response_class": response, "connecting": (connect,)},
        )
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Set up the connection pools, as requests asks."""
        super().init_poolmanager(*args, **kwargs)
        use_connections(self.poolmanager, self._connections)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> PoolManager:
        """Set up the connection pools for a proxy, as requests asks."""
        manager: PoolManager = super().proxy_manager_for(*args, **kwargs)
        use_connections(manager, self._connections)
        return manager


class _Response(HTTPResponse):
    """An answer that has no more than so many bytes, whatever it says of itself.

    A chunk of size -1, for instance, would be read to the end of the connection.
    """

    max_bytes: int

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_Counted(self.fp.detach(), self.max_bytes))


class _Counted(io.RawIOBase):
    """The bytes of another stream, up to a number."""

    def __init__(self, stream: io.RawIOBase, max_bytes: int) -> None:
        self._stream = stream
        self._left = max_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> Optional[int]:
        count = self._stream.readinto(buffer)
        self._left -= count or 0
        if self._left < 0:
            raise TooBigError("an answer without end")
        return count

    def close(self) -> None:
        self._stream.close()
        super().close()


def _reason_of(error: Exception, connect_timeout_sec: float) -> str:
    """Return one line that says why a request failed.

    requests wraps the cause up to three times, and this finds the innermost one.
    """
    if isinstance(error, requests.ConnectTimeout):
        return f"no connection within {connect_timeout_sec:.0f} s"
    if isinstance(error, requests.ReadTimeout):
        return "no answer in time"
    cause: BaseException = error
    while True:
        inner = getattr(cause, "reason", None) or next(
            (arg for arg in reversed(cause.args) if isinstance(arg, BaseException)), None
        )
        if not isinstance(inner, BaseException):
            break
        cause = inner
    # urllib3 puts the connection object's repr before its text.
    text = str(cause).split(": ", 1)[-1] if "object at 0x" in str(cause) else str(cause)
    return one_line(text) or type(cause).__name__
