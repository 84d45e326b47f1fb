"""Read the objects beneath one URL over HTTP, such as the files of a Zarr folder."""

import threading
import time
from typing import Callable, Iterable, Optional, Tuple
from urllib.parse import quote, urlsplit, urlunsplit

import requests
from requests.adapters import BaseAdapter

from devaria.common.http.addresses import Connect
from devaria.nwb.errors import NwbError
from devaria.nwb.http.address_guard import AddressGuard, GuardedAdapter
from devaria.nwb.http.answers import WRONG_LENGTH, announced_size, body_of, codings_of, decoded
from devaria.nwb.http.refusals import checked_part, meaning_of
from devaria.nwb.http.retry import HttpTiming, Retry, RetryableFault
from devaria.nwb.http.session import HttpSession, joined_bytes
from devaria.nwb.limits import FetchCount, ReadLimits
from devaria.nwb.params import shown_url

#: Most requests at once.
OBJECT_CONNECTIONS = 32

_ABSENT = (404, 410)


class HttpObjects:
    """Objects beneath one URL. Any number of threads may read them.

    The requests, the addresses and the time limits are those of `HttpRanges`.

    Args:
        url: URL of the folder, http or https. Its query is sent with each request.
        limits: How much is fetched at most.
        timing: Time-outs.
        allow_hosts: Names and addresses that may be connected to although they are not on the
            public internet.
        connect: Opens connections, instead of an address guard of this process.
        adapter: Opens the connections, instead of the address guard.
        wait: Called with the seconds to wait before another try.
        clock: Returns monotonic time in seconds.

    Attributes:
        url: URL of the folder.
        shown_url: The same without its query, safe to print.

    Raises:
        InvalidInputError: The URL is not an http or https URL.
    """

    def __init__(
        self,
        url: str,
        *,
        limits: ReadLimits,
        timing: Optional[HttpTiming] = None,
        allow_hosts: Iterable[str] = (),
        connect: Optional[Connect] = None,
        adapter: Optional[BaseAdapter] = None,
        wait: Optional[Callable[[float], object]] = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        timing = timing or HttpTiming()
        self.url = url
        self.shown_url = shown_url(url)
        connect = connect or AddressGuard(allow_hosts).connect
        guarded = GuardedAdapter(connect, OBJECT_CONNECTIONS, timing.read_timeout_sec)
        self._session = HttpSession(url, adapter or guarded, timing, clock)
        self._limits = limits
        self._closed = threading.Event()
        self._retry = Retry(timing, wait or self._closed.wait, clock)
        self._fetched = FetchCount(self.shown_url, limits.max_fetch_bytes)

    def close(self) -> None:
        """Close the connections, and end waits between tries in other threads."""
        self._closed.set()
        self._session.close()

    def read(self, key: str, most_bytes: int, *, is_probe: bool = False) -> Optional[bytes]:
        """Read an object as a whole.

        Args:
            key: Its path beneath the folder.
            most_bytes: The longest that it may be.
            is_probe: Whether an object that the server does not give counts as absent. Some stores
                say of absent objects that access to them is denied.

        Returns:
            The bytes; None if there is no such object.

        Raises:
            NwbError: The server fails for too long or refuses, the object is too long, or the limit
                of bytes is reached.
        """
        content, size = b"", 1
        while len(content) < size:  # a proxy may cap a range
            start = len(content)
            part = self._try(self._url_of(key), f"{start}-", most_bytes - start, is_probe)
            if part is None:
                return None
            content += part[0]
            size = part[1]
            if not part[0] and size:
                raise _error(self._url_of(key), "breaks off")
        return content

    def read_root(self, query: str, most_bytes: int) -> Optional[bytes]:
        """Read what the root of the server answers to a query, such as S3's list of a folder.

        Args:
            query: The query.
            most_bytes: The longest that the answer may be.

        Returns:
            The bytes; None if there is no answer.

        Raises:
            NwbError: As for `read`.
        """
        parts = urlsplit(self.url)
        url = urlunsplit((parts.scheme, parts.netloc, "/", query, ""))
        part = self._try(url, "0-", most_bytes, is_probe=True)
        return None if part is None else part[0]

    def read_end(self, key: str, num_bytes: int) -> Optional[bytes]:
        """Read the last bytes of an object.

        Args:
            key: Its path beneath the folder.
            num_bytes: How many.

        Returns:
            The bytes; None if there is no such object.

        Raises:
            NwbError: As for `read`.
        """
        part = self._try(self._url_of(key), f"-{num_bytes}", num_bytes)
        return None if part is None else part[0]

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """Read a range of an object that is there.

        Args:
            key: Its path beneath the folder.
            start: Offset of the first byte.
            stop: Offset after the last byte.

        Returns:
            The bytes.

        Raises:
            NwbError: As for `read`; or the object is shorter.
        """
        url = self._url_of(key)
        part = self._try(url, f"{start}-{stop - 1}", stop - start)
        if part is None or len(part[0]) != stop - start:
            raise _error(url, "is shorter than its index says: it is damaged")
        return part[0]

    def _try(
        self, url: str, span: str, most_bytes: int, is_probe: bool = False
    ) -> Optional[Tuple[bytes, int]]:
        try:
            return self._retry.run(lambda: self._once(url, span, most_bytes, is_probe))
        except RetryableFault as error:
            raise _error(url, str(error), ": ") from None

    def _once(
        self, url: str, span: str, most_bytes: int, is_probe: bool
    ) -> Optional[Tuple[bytes, int]]:
        with self._session.get(url, span) as response:
            status = response.status_code
            if status in _ABSENT or (is_probe and 400 <= status < 500 and status != 416):
                return None
            if status == 416:  # of an empty object
                return b"", 0
            if status not in (200, 206):
                raise _error(url, meaning_of(response, self._session), ": ")
            return self._body(response, url, span, most_bytes)

    def _body(
        self, response: requests.Response, url: str, span: str, most_bytes: int
    ) -> Tuple[bytes, int]:
        if response.status_code == 200:
            if span != "0-":
                raise _error(url, "is on a server without byte ranges, which are needed for it")
            content = self._whole(response, url, most_bytes)
            self._fetched.add(len(content))
            return content, len(content)
        part = checked_part(response, self._session)
        if part is None:
            raise RetryableFault("the server does not tell which range it sends")
        first = span.split("-")[0]
        if first and part.start != int(first):
            raise RetryableFault("the server sent another range than requested")
        if part.stop - part.start > most_bytes:
            raise _too_long(url, most_bytes)
        content = body_of(part, self._session.pieces(response), part.stop)
        self._fetched.add(len(content))
        return content, part.stop if part.size is None else part.size

    def _whole(self, response: requests.Response, url: str, most_bytes: int) -> bytes:
        pieces, codings = self._session.pieces(response), codings_of(response)
        expected = None if codings else announced_size(response)
        if codings:
            pieces = decoded(pieces, codings, self._limits.max_download_bytes)
        try:
            content = joined_bytes(pieces, most_bytes + 1)
        except NwbError as error:
            raise _error(url, str(error), ": ") from None
        if len(content) > most_bytes:
            raise _too_long(url, most_bytes)
        if expected is not None and len(content) != expected:
            raise RetryableFault(WRONG_LENGTH)
        return content

    def _url_of(self, key: str) -> str:
        parts = urlsplit(self.url)
        path = f"{parts.path.rstrip('/')}/{quote(key)}"
        return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def _too_long(url: str, most_bytes: int) -> NwbError:
    return _error(url, f"has more than the {most_bytes:,} bytes that it may have")


def _error(url: str, fault: str, separator: str = " ") -> NwbError:
    return NwbError(f"{shown_url(url)}{separator}{fault}")
