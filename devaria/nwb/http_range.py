"""Byte ranges of one file over HTTP: every answer verified, every fault named.

A file is read in many requests over minutes, from a server that nobody here knows. An error page
taken for data would look like a broken file, so each answer must prove that it is the very range
asked for, of the very file opened (status 206, Content-Range, length, ETag).
"""

import re
import time
from dataclasses import dataclass
from typing import Callable, Optional, Tuple, TypeVar
from urllib.parse import urljoin

import requests
from requests.adapters import BaseAdapter

from devaria.nwb.errors import NwbError
from devaria.nwb.file_kind import foreign_kind
from devaria.nwb.http_faults import (
    REQUEST_ERRORS,
    fault_behind,
    meaning_of,
    transient_fault_of,
)
from devaria.nwb.retry import TransientError, try_often
from devaria.nwb.urls import checked_url, shown_url

#: Bytes that the first request asks for: enough for the start of most files' metadata.
FIRST_BYTES = 256 * 1024

_REDIRECTS = (301, 302, 303, 307, 308)
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")

_T = TypeVar("_T")


@dataclass(frozen=True)
class FetchLimits:
    """How long to wait for a server, and how often to try again.

    Attributes:
        connect_timeout_sec: Longest time to connect.
        read_timeout_sec: Longest silence while an answer is awaited or read.
        tries: Tries of one range; with the default waits and time-outs about five minutes in all.
        max_retry_after_sec: Longest wait that a server may ask for by Retry-After.
        max_redirects: Redirects followed for one request.
    """

    connect_timeout_sec: float = 10.0
    read_timeout_sec: float = 30.0
    tries: int = 8
    max_retry_after_sec: float = 60.0
    max_redirects: int = 5


class HttpRanges:
    """One remote file, read by ranges over one keep-alive session.

    Args:
        url: Where the file is; http or https.
        limits: Time-outs and numbers of tries.
        adapter: What opens the connections, of every hop of a redirect too. It refuses an
            address by raising NwbError, which is final. None means requests' own.
        wait: Called with the seconds to wait before another try.

    Attributes:
        size: Length of the file in bytes.
        head: The first ``FIRST_BYTES`` of the file, or all of it if it is shorter.

    Raises:
        InvalidInputError: The URL is not one of http or https.
        NwbError: The server cannot be reached, has no such file, or has no ranges.
    """

    def __init__(
        self,
        url: str,
        *,
        limits: Optional[FetchLimits] = None,
        adapter: Optional[BaseAdapter] = None,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._url = checked_url(url)
        self._limits = limits or FetchLimits()
        self._wait = wait
        self._session = _new_session(adapter)
        self._current_url = self._url
        self._etag: Optional[str] = None
        try:
            self.head, self.size = self._try_often(self._read_first)
        except BaseException:
            self._session.close()
            raise

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def read(self, start: int, stop: int) -> bytes:
        """Read one range of the file.

        Args:
            start: Offset of the first byte.
            stop: Offset after the last byte; at most ``size``.

        Returns:
            Exactly ``stop - start`` bytes.

        Raises:
            NwbError: The server fails for good, or the file has changed since it was opened.
        """
        return self._try_often(lambda: self._read_once(start, stop))

    def _try_often(self, operation: Callable[[], _T]) -> _T:
        try:
            return try_often(
                operation, self._limits.tries, self._limits.max_retry_after_sec, self._wait
            )
        except TransientError as error:
            raise NwbError(f"{self._shown()}: {error}") from None

    def _read_first(self) -> Tuple[bytes, int]:
        with self._get(self._url, 0, FIRST_BYTES) as response:
            self._refuse_first(response)
            begin, end, size = self._content_range(response)
            if (begin, end) != (0, min(FIRST_BYTES, size)):
                raise TransientError("the server sent another range than was asked for")
            self._etag = response.headers.get("ETag")
            return self._body(response, end), size

    def _refuse_first(self, response: requests.Response) -> None:
        if response.status_code == 416:
            raise NwbError(f"{self._shown()} is an empty file")
        if response.status_code == 200:
            kind = foreign_kind(self._some_bytes(response, 512), self._url)
            fault = f"is {kind}, not an NWB file" if kind else "is on a server without byte ranges"
            raise NwbError(f"{self._shown()} {fault}")
        if response.status_code != 206:
            raise self._refusal(response.status_code)

    def _read_once(self, start: int, stop: int) -> bytes:
        response = self._get(self._current_url, start, stop)
        if response.status_code in (401, 403, 404, 410) and self._current_url != self._url:
            # What a redirect leads to is often signed and expires: ask the first URL again.
            response.close()
            response = self._get(self._url, start, stop)
        with response:
            if response.status_code == 200:
                raise TransientError("the server answered a range with something else")
            if response.status_code != 206:
                raise self._refusal(response.status_code)
            self._refuse_change(response)
            if self._content_range(response) != (start, stop, self.size):
                raise TransientError("the server sent another range than was asked for")
            return self._body(response, stop - start)

    def _get(self, url: str, start: int, stop: int) -> requests.Response:
        headers = {"Range": f"bytes={start}-{stop - 1}"}
        timeout = (self._limits.connect_timeout_sec, self._limits.read_timeout_sec)
        for _ in range(self._limits.max_redirects + 1):
            try:
                response = self._session.get(
                    url, headers=headers, timeout=timeout, stream=True, allow_redirects=False
                )
            except REQUEST_ERRORS as error:
                # Its text holds the whole URL, signature and all, so it must not even be chained.
                fault: Optional[Exception] = fault_behind(error, self._shown())
            else:
                fault = transient_fault_of(response)
            if fault is not None:
                raise fault from None
            location = response.headers.get("Location")
            if response.status_code not in _REDIRECTS or location is None:
                self._current_url = url
                return response
            response.close()
            url = self._hop(url, location)
        raise NwbError(f"{self._shown()} redirects more than {self._limits.max_redirects} times")

    def _hop(self, url: str, location: str) -> str:
        try:
            return checked_url(urljoin(url, location))
        except ValueError:
            raise NwbError(f"{self._shown()} redirects to what is not an http(s) URL") from None

    def _content_range(self, response: requests.Response) -> Tuple[int, int, int]:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if match is None:
            raise NwbError(f"{self._shown()} is on a server that does not tell the file's size")
        first, last, size = (int(number) for number in match.groups())
        return first, last + 1, size

    def _refuse_change(self, response: requests.Response) -> None:
        etag = response.headers.get("ETag")
        size = self._content_range(response)[2]
        if size != self.size or (self._etag and etag and etag != self._etag):
            raise NwbError(f"{self._shown()} changed on the server while it was read")

    def _body(self, response: requests.Response, length: int) -> bytes:
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise NwbError(f"{self._shown()} is on a server that compresses byte ranges")
        body = self._some_bytes(response, length + 1)
        if len(body) != length:
            raise TransientError("the answer has not the promised length")
        return body

    def _some_bytes(self, response: requests.Response, limit: int) -> bytes:
        body = bytearray()
        fault: Optional[Exception] = None
        try:
            for part in response.iter_content(64 * 1024):
                body += part
                if len(body) >= limit:
                    break
        except REQUEST_ERRORS as error:
            fault = fault_behind(error, self._shown())
        if fault is not None:
            raise fault from None
        return bytes(body)

    def _refusal(self, status: int) -> NwbError:
        kind = foreign_kind(b"", self._url)
        if kind is not None:
            return NwbError(f"{self._shown()} is {kind}, not an NWB file")
        return NwbError(f"{self._shown()}: the server {meaning_of(status)} (HTTP {status})")

    def _shown(self) -> str:
        return shown_url(self._url)


def _new_session(adapter: Optional[BaseAdapter]) -> requests.Session:
    session = requests.Session()
    # Neither proxies nor logins of this machine (.netrc) are for a stranger's URL.
    session.trust_env = False
    # A range of a compressed representation would be of no use.
    session.headers["Accept-Encoding"] = "identity"
    if adapter is not None:
        session.mount("http://", adapter)
        session.mount("https://", adapter)
    return session
