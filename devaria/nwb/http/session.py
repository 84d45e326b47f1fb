"""Range requests for one file, over a keep-alive session that checks every redirect."""

import time
from typing import Callable, Dict, Iterator, List, Optional, Set
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import BaseAdapter

from devaria.common.http.bounded import BoundedSession
from devaria.common.http.warm_connections import open_ahead
from devaria.common.retry import retry_after_sec
from devaria.nwb.errors import NwbError
from devaria.nwb.http.retry import HttpTiming, RetryableFault
from devaria.nwb.params import checked_url, shown_url

#: Most redirects that are followed for one request.
MAX_REDIRECTS = 5

#: The statuses of redirects.
REDIRECTS = (301, 302, 303, 307, 308)

#: Statuses of faults that may pass, beside 5xx (RFC 9110, RFC 8470, RFC 6585).
_PASSING = (408, 425, 429)

_PIECE_BYTES = 256 * 1024


class HttpSession:
    """Sends range requests for one file. Any number of threads may use it.

    Args:
        url: URL of the file, http or https.
        adapter: Opens the connections, also for every redirect. It refuses an address by raising
            NwbError.
        timing: Time-outs.
        clock: Returns monotonic time in seconds.

    Attributes:
        url: The URL as it was given, without white space around it.
        shown_url: The URL without its query, safe to print.
    """

    def __init__(
        self,
        url: str,
        adapter: BaseAdapter,
        timing: HttpTiming,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = checked_url(url)
        self.shown_url = shown_url(self.url)
        self._timing = timing
        self._clock = clock
        self._session = BoundedSession()
        # A stranger's URL must not use this machine's proxies or logins (.netrc).
        self._session.trust_env = False
        # A range of a compressed body cannot be decompressed.
        self._session.headers["Accept-Encoding"] = "identity"
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        self._prepared: Dict[str, requests.PreparedRequest] = {}
        self._heard: Set[str] = set()  # the hosts that have answered

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def get(self, url: str, span: Optional[str], method: str = "GET") -> requests.Response:
        """Request one range or the whole file, and follow redirects.

        Args:
            url: The file's URL, or the one to which that redirected before.
            span: Offsets of the first and the last byte, such as ``0-99``; or ``-100`` for the
                last hundred bytes (RFC 9110, 14.1.2). None for the whole file.
            method: ``GET``, or ``HEAD`` for the head of the answer alone.

        Returns:
            An answer whose body is not read yet. Its status is final: it is neither a redirect
            nor one that may be retried.

        Raises:
            RetryableFault: No answer, or status 408, 425, 429 or 5xx.
            NwbError: The URL, or a redirect, cannot be used.
        """
        headers = {} if span is None else {"Range": f"bytes={span}"}
        for _ in range(MAX_REDIRECTS + 1):
            response = self.send(method, url, headers)
            location = response.headers.get("Location")
            if response.status_code not in REDIRECTS or location is None:
                return response
            response.close()
            url = redirect_target(url, location, self.shown_url)
        raise NwbError(f"{self.shown_url} redirects more than {MAX_REDIRECTS} times")

    def open_ahead(self, response: requests.Response, count: int) -> None:
        """Open more connections to the host of an answer, in the background.

        Args:
            response: The answer, of ``get``.
            count: How many.
        """
        pool = getattr(response.raw, "_pool", None)
        if pool is not None:
            open_ahead(pool, count, self._timing.connect_timeout_sec)

    def pieces(self, response: requests.Response) -> Iterator[bytes]:
        """Read the body of an answer as it arrives.

        Args:
            response: An answer of ``get``.

        Yields:
            Pieces of the body, never empty.

        Raises:
            RetryableFault: The body breaks off, stops, or arrives too slowly.
        """
        # The exceptions of requests name the whole URL, with its signature: none may be chained.
        fault: Optional[Exception] = None
        started, count = self._clock(), 0
        while fault is None:
            try:
                piece = response.raw.read1(_PIECE_BYTES, decode_content=False)
            except REQUEST_ERRORS as error:
                fault = printable_fault(error, self.shown_url)
                break
            if not piece:
                return
            yield piece
            count += len(piece)
            fault = self.slowness(count, self._clock() - started)
        raise fault from None

    def send(self, method: str, url: str, headers: "Dict[str, str]") -> requests.Response:
        """Send one request, and follow no redirect.

        Args:
            method: ``GET`` or ``HEAD``.
            url: The URL.
            headers: Headers of this request alone.

        Raises:
            RetryableFault: As for ``get``.
            NwbError: The URL cannot be used.
        """
        timeout = (self._timing.connect_timeout_sec, self._timing.read_timeout_sec)
        host = urlsplit(url).netloc
        fault: Optional[Exception]
        try:
            request = self._request(url)
            request.method = method
            request.headers.update(headers)
            response = self._session.send(
                request, timeout=timeout, stream=True, allow_redirects=False
            )
        except REQUEST_ERRORS as error:
            fault = printable_fault(error, self.shown_url)
        except RetryableFault as error:
            fault = error
        else:
            self._heard.add(host)
            fault = retryable_fault(response)
        if isinstance(fault, RetryableFault) and host not in self._heard:
            fault.give_up_after_sec = self._timing.unheard_sec
        if fault is not None:
            raise fault from None
        return response

    def _request(self, url: str) -> requests.PreparedRequest:
        """Prepare a request: once for a URL, since that takes as long as sending it."""
        prepared = self._prepared.get(url)
        if prepared is None or self._session.cookies:
            prepared = self._session.prepare_request(requests.Request("GET", url))
            self._prepared = {url: prepared}
        return prepared.copy()

    def slowness(self, count: int, seconds: float) -> Optional[RetryableFault]:
        """Return the fault of a server that is too slow, or None.

        Args:
            count: How many bytes it has sent.
            seconds: How long that took.
        """
        if seconds <= self._timing.read_timeout_sec:
            return None
        if count >= seconds * self._timing.min_bytes_per_sec:
            return None
        return RetryableFault(f"the server sends {count / seconds:,.0f} bytes a second")


def redirect_target(url: str, location: str, shown_url: str) -> str:
    """Return where a redirect leads.

    Args:
        url: The URL that was requested.
        location: The header ``Location`` of the answer.
        shown_url: The file's URL without its query.

    Raises:
        NwbError: It leads to what is not an http or https URL.
    """
    try:
        return checked_url(urljoin(url, location))
    except ValueError:
        raise NwbError(f"{shown_url} redirects to what is not an http(s) URL") from None


def joined_bytes(pieces: Iterator[bytes], num_bytes: int) -> bytes:
    """Join pieces of a body, up to a number of bytes.

    Args:
        pieces: The body. What lies beyond the last piece needed is not read.
        num_bytes: How many bytes to read.

    Returns:
        The bytes: fewer if the body is shorter, and up to a piece more if it is longer.
    """
    parts: List[bytes] = []
    for piece in pieces:
        parts.append(piece)
        num_bytes -= len(piece)
        if num_bytes <= 0:
            break
    return b"".join(parts)


#: The exceptions of requests, and those that it passes on from urllib3 and from the encoding of
#: host names.
REQUEST_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, ValueError)


def printable_fault(error: Exception, shown_url: str) -> Exception:
    """Replace an exception of a request by one that is safe to print.

    Args:
        error: One of ``REQUEST_ERRORS``. Its own text may hold a signed URL.
        shown_url: The URL without its query.

    Returns:
        A RetryableFault; or an NwbError if the URL itself is wrong.
    """
    if isinstance(error, ValueError):
        return NwbError(f"{shown_url} has no valid host name")
    if isinstance(error, (requests.Timeout, urllib3.exceptions.TimeoutError)):
        return RetryableFault("no answer in time")
    if isinstance(error, requests.exceptions.SSLError):
        return RetryableFault("no secure connection (TLS) with the server")
    return RetryableFault("the connection failed or broke")


def retryable_fault(response: requests.Response) -> Optional[RetryableFault]:
    """Return the fault of an answer that may be retried.

    Args:
        response: The answer. It is closed if there is such a fault.

    Returns:
        A fault for status 408, 425, 429 or 5xx, with the server's Retry-After; None for any other
        status.
    """
    if response.status_code not in _PASSING and response.status_code < 500:
        return None
    response.close()
    seconds = retry_after_sec(response.headers.get("Retry-After", ""), time.time())
    return RetryableFault(f"the server answers HTTP {response.status_code}", seconds)
