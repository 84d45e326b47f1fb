"""Requests for ranges of one file, over one keep-alive session that follows redirects itself."""

import re
import time
from typing import Callable, Iterator, List, Optional, Tuple
from urllib.parse import urljoin

import requests
import urllib3
from requests.adapters import BaseAdapter

from devaria.common.retry import retry_after_sec
from devaria.nwb.errors import NwbError
from devaria.nwb.http.retry import Patience, TransientError
from devaria.nwb.params import checked_url, shown_url

#: Redirects followed for one request.
MAX_REDIRECTS = 5

_REDIRECTS = (301, 302, 303, 307, 308)

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")

_PIECE_BYTES = 256 * 1024


class HttpSession:
    """Requests that start at one URL, for any number of threads.

    Args:
        url: Where the file is; http or https.
        adapter: What opens the connections, of every hop of a redirect too. It refuses an
            address by raising NwbError, which is final.
        patience: Time-outs.
        clock: Monotonic time in seconds.

    Attributes:
        url: The URL as it was given.
        shown_url: The URL as it may be printed.
    """

    def __init__(
        self,
        url: str,
        adapter: BaseAdapter,
        patience: Patience,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = checked_url(url)
        self.shown_url = shown_url(url)
        self._patience = patience
        self._clock = clock
        self._session = requests.Session()
        # Neither proxies nor logins of this machine (.netrc) are for a stranger's URL.
        self._session.trust_env = False
        # A range of a compressed representation would be of no use.
        self._session.headers["Accept-Encoding"] = "identity"
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def get(self, url: str, span: str) -> requests.Response:
        """Ask for one range, and follow redirects.

        Args:
            url: The first URL, or where it led to.
            span: Offsets of the first and the last byte, as ``0-99``; or ``-100`` for the last
                hundred (RFC 9110, 14.1.2).

        Returns:
            An answer of any status that is neither a redirect nor one to be tried again; its body
            is not read yet.

        Raises:
            TransientError: No answer, or one that asks for another try.
            NwbError: The URL, or what it redirects to, can never work.
        """
        headers = {"Range": f"bytes={span}"}
        for _ in range(MAX_REDIRECTS + 1):
            response = self._send(url, headers)
            location = response.headers.get("Location")
            if response.status_code not in _REDIRECTS or location is None:
                return response
            response.close()
            url = self._hop(url, location)
        raise NwbError(f"{self.shown_url} redirects more than {MAX_REDIRECTS} times")

    def pieces(self, response: requests.Response) -> Iterator[bytes]:
        """Read the body of an answer as it comes.

        Args:
            response: An answer of ``get``.

        Yields:
            Its bytes, none of them empty.

        Raises:
            TransientError: It breaks off, falls silent, or comes too slowly.
        """
        # What raises here holds the whole URL, signature and all: it must not even be chained.
        fault: Optional[Exception] = None
        started, count = self._clock(), 0
        while fault is None:
            try:
                piece = response.raw.read1(_PIECE_BYTES, decode_content=False)
            except REQUEST_ERRORS as error:
                fault = fault_behind(error, self.shown_url)
                break
            if not piece:
                return
            yield piece
            count += len(piece)
            fault = self._slowness(count, self._clock() - started)
        raise fault from None

    def _send(self, url: str, headers: "dict[str, str]") -> requests.Response:
        timeout = (self._patience.connect_timeout_sec, self._patience.read_timeout_sec)
        try:
            response = self._session.get(
                url, headers=headers, timeout=timeout, stream=True, allow_redirects=False
            )
        except REQUEST_ERRORS as error:
            fault: Optional[Exception] = fault_behind(error, self.shown_url)
        else:
            fault = transient_fault_of(response)
        if fault is not None:
            raise fault from None
        return response

    def _hop(self, url: str, location: str) -> str:
        try:
            return checked_url(urljoin(url, location))
        except ValueError:
            raise NwbError(f"{self.shown_url} redirects to what is not an http(s) URL") from None

    def _slowness(self, count: int, seconds: float) -> Optional[TransientError]:
        if seconds <= self._patience.read_timeout_sec:
            return None
        if count >= seconds * self._patience.min_bytes_per_sec:
            return None
        return TransientError(f"the server sends {count / seconds:,.0f} bytes a second")


def content_range(response: requests.Response) -> Optional[Tuple[int, int, int]]:
    """Tell which range of the file an answer says it is.

    Args:
        response: An answer.

    Returns:
        Offsets of the first byte and after the last, and the file's length; None if it does not
        tell all three.
    """
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if match is None:
        return None
    first, last, size = (int(number) for number in match.groups())
    return first, last + 1, size


def taken(pieces: Iterator[bytes], num_bytes: int) -> bytes:
    """Join pieces until there are so many bytes, or no more.

    Args:
        pieces: Of a body.
        num_bytes: How many bytes are enough.

    Returns:
        The bytes; a piece's more than enough at most.
    """
    parts: List[bytes] = []
    for piece in pieces:
        parts.append(piece)
        num_bytes -= len(piece)
        if num_bytes <= 0:
            break
    return b"".join(parts)


#: What requests raises, and what it lets through of urllib3 and of the encoding of host names.
REQUEST_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, ValueError)

_MEANINGS = {
    401: "wants a login",
    403: "denies access",
    404: "has no such file",
    410: "has no such file any more",
}


def fault_behind(error: Exception, shown_url: str) -> Exception:
    """Put an exception of a request into words that may be printed.

    Args:
        error: One of ``REQUEST_ERRORS``; its own text may hold a signed URL.
        shown_url: The URL as it may be printed.

    Returns:
        A TransientError; or an NwbError where the URL itself can never work.
    """
    if isinstance(error, ValueError):
        return NwbError(f"{shown_url} has no valid host name")
    if isinstance(error, (requests.Timeout, urllib3.exceptions.TimeoutError)):
        return TransientError("no answer in time")
    if isinstance(error, requests.exceptions.SSLError):
        return TransientError("no secure connection (TLS) with the server")
    return TransientError("the connection failed or broke")


def transient_fault_of(response: requests.Response) -> Optional[TransientError]:
    """Tell whether an answer asks for another try.

    Args:
        response: The answer; closed if it does.

    Returns:
        The fault behind status 429 or 5xx, with the server's Retry-After; None for any other.
    """
    if response.status_code != 429 and response.status_code < 500:
        return None
    response.close()
    seconds = retry_after_sec(response.headers.get("Retry-After", ""), time.time())
    return TransientError(f"the server answers HTTP {response.status_code}", seconds)


def meaning_of(status: int) -> str:
    """Say what a server means by a status that is final.

    Args:
        status: The HTTP status.

    Returns:
        A verb phrase for a sentence that starts with "the server".
    """
    return _MEANINGS.get(status, "does not give the file")
