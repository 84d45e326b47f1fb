"""Read byte ranges of one file over HTTP, verify every answer, and explain every fault.

Reading a file takes many requests to an unknown server, over minutes. An error page taken for data
would look like a broken file. So each answer is checked: it must be the requested range of the
file that was opened (status 206, Content-Range, length, ETag).
"""

import re
import threading
import time
from itertools import chain
from typing import Callable, Iterable, Optional, Tuple, TypeVar

import requests
from requests.adapters import BaseAdapter

from devaria.nwb.errors import NoFileError, NwbError
from devaria.nwb.file_kind import foreign_fault, foreign_kind, is_lindi
from devaria.nwb.http.address_guard import AddressGuard, GuardedAdapter
from devaria.nwb.http.download import DownloadedFile
from devaria.nwb.http.retry import HttpTiming, Retry, RetryableFault
from devaria.nwb.http.session import HttpSession, content_range, joined_bytes, status_meaning
from devaria.nwb.http.tail import FileTail
from devaria.nwb.limits import ReadLimits

#: Length of the first request: enough for the metadata at the start of most files.
FIRST_BYTES = 256 * 1024

#: Most requests at once. 8 to 16 fill a fast line.
CONNECTIONS = 16

#: Most requests at once for short ranges, which mostly wait for their first byte.
MOST_CONNECTIONS = 32

#: Connections that are kept open: for data, and beside them for metadata.
_KEPT = MOST_CONNECTIONS + CONNECTIONS

_T = TypeVar("_T")


class HttpRanges:
    """One remote file, read in ranges. Any number of threads may use it.

    Args:
        url: URL of the file, http or https.
        limits: How much is fetched at most.
        end_bytes: How many bytes of the file's end to request together with its start.
        timing: Time-outs.
        allow_hosts: Names and addresses that may be connected to although they are not on the
            public internet.
        say: Called with console lines.
        adapter: Opens the connections, instead of the address guard.
        wait: Called with the seconds to wait before another try.
        clock: Returns monotonic time in seconds.

    Attributes:
        url: URL of the file.
        size: Length of the file in bytes.
        head: The first ``FIRST_BYTES`` of the file, or all of it if it is shorter.

    Raises:
        InvalidInputError: The URL is not an http or https URL.
        NwbError: The server's address is not allowed, the server cannot be reached, or it has no
            such file. Or the server has no ranges, and the file is too long or not HDF5.
    """

    def __init__(
        self,
        url: str,
        *,
        limits: Optional[ReadLimits] = None,
        end_bytes: int = 0,
        timing: Optional[HttpTiming] = None,
        allow_hosts: Iterable[str] = (),
        say: Callable[[str], object] = lambda _line: None,
        adapter: Optional[BaseAdapter] = None,
        wait: Optional[Callable[[float], object]] = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        timing = timing or HttpTiming()
        self.url = url
        self._session = HttpSession(
            url,
            adapter or GuardedAdapter(AddressGuard(allow_hosts), _KEPT, timing.read_timeout_sec),
            timing,
            clock,
        )
        self._limits = limits or ReadLimits()
        self._say = say
        self._closed = threading.Event()
        self._retry = Retry(timing, wait or self._closed.wait, clock)
        self._fetched = 0
        self._counting = threading.Lock()
        self._etag: Optional[str] = None
        self._current_url = url  # of the last range, after redirects
        self._download: Optional[DownloadedFile] = None
        self._tail = FileTail(self._session, end_bytes, timing.tail_wait_sec) if end_bytes else None
        try:
            self.head, self.size = self._with_retries(self._read_first)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connections, and end waits between tries in other threads."""
        self._closed.set()
        self._session.close()
        if self._download is not None:
            self._download.close()

    def read(self, start: int, stop: int) -> bytes:
        """Read one range of the file.

        Args:
            start: Offset of the first byte.
            stop: Offset after the last byte; at most ``size``.

        Returns:
            Exactly ``stop - start`` bytes.

        Raises:
            NwbError: The server fails for too long or refuses, the file has changed since it was
                opened, or the limit of bytes is reached.
        """
        if self._download is not None:
            return self._download.read(start, stop)
        self._count(stop - start)
        return self._with_retries(lambda: self._read_once(start, stop))

    def known(self, start: int, stop: int) -> Optional[bytes]:
        """Return a range that lies within what was requested first: the file's start or its end.

        Args:
            start: Offset of the first byte.
            stop: Offset after the last byte.

        Returns:
            The bytes; None if they lie elsewhere, or the end cannot be used.
        """
        if stop <= len(self.head):
            return self.head[start:stop]
        tail = self.peek_tail(start)
        return None if tail is None else tail[1][start - tail[0] : stop - tail[0]]

    def peek_tail(self, position: int) -> Optional[Tuple[int, bytes]]:
        """Return the end of the file, if it was requested and holds a given byte.

        Args:
            position: Offset of the byte.

        Returns:
            The offset of the end's first byte, and the bytes; None if it cannot be used.
        """
        return self._tail.peek(position, self.size, self._etag) if self._tail else None

    def _with_retries(self, operation: Callable[[], _T]) -> _T:
        try:
            return self._retry.run(operation)
        except RetryableFault as error:
            raise NwbError(f"{self._session.shown_url}: {error}") from None

    def _count(self, num_bytes: int) -> None:
        with self._counting:
            self._fetched += num_bytes
        if self._fetched > self._limits.max_fetch_bytes:
            raise self._error(
                f"needs more than the {self._limits.max_fetch_bytes / 1e6:,.0f} MB that may be "
                "fetched (DEVARIA_MAX_FETCH_BYTES)"
            )

    def _read_first(self) -> Tuple[bytes, int]:
        with self._session.get(self.url, f"0-{FIRST_BYTES - 1}") as response:
            if response.status_code == 200:
                return self._download_whole(response)
            if response.status_code == 416:
                raise self._error("is an empty file")
            if response.status_code != 206:
                raise self._refusal(response.status_code)
            answered = content_range(response)
            if answered is None:
                raise self._error("is on a server that does not give the file's size")
            begin, end, size = answered
            if (begin, end) != (0, min(FIRST_BYTES, size)):
                raise RetryableFault("the server sent another range than requested")
            self._current_url, self._etag = response.url, response.headers.get("ETag")
            return self._body(response, end), size

    def _download_whole(self, response: requests.Response) -> Tuple[bytes, int]:
        self._refuse_encoding(response)
        pieces = self._session.pieces(response)
        head = joined_bytes(pieces, FIRST_BYTES)
        fault = foreign_fault(head, self.url)
        if fault is not None and not is_lindi(head):
            raise NoFileError(str(self._error(fault)))
        length = response.headers.get("Content-Length", "")
        expected = int(length) if re.fullmatch(r"\d{1,18}", length) else None
        download = DownloadedFile()
        try:
            limit, progress = self._limits.max_download_bytes, self._retry.note_progress
            download.fill(chain([head], pieces), expected, limit, self._say, progress)
            if expected not in (None, download.size):
                raise RetryableFault("the answer does not have the announced length")
        except BaseException:
            download.close()
            raise
        self._download = download
        return head[:FIRST_BYTES], download.size

    def _read_once(self, start: int, stop: int) -> bytes:
        url, span = self._current_url, f"{start}-{stop - 1}"
        response = self._session.get(url, span)
        if response.status_code in (401, 403, 404, 410) and url != self.url:
            # Redirects often lead to signed URLs, which expire: start again at the file's URL.
            response.close()
            response = self._session.get(self.url, span)
        with response:
            if response.status_code == 200:
                raise RetryableFault("the server answered a range request with status 200")
            if response.status_code != 206:
                raise self._refusal(response.status_code)
            answered = content_range(response)
            if answered is not None:
                self._refuse_change(response, answered[2])
            if answered != (start, stop, self.size):
                raise RetryableFault("the server sent another range than requested")
            self._current_url = response.url
            return self._body(response, stop - start)

    def _refuse_change(self, response: requests.Response, size: int) -> None:
        etag = response.headers.get("ETag")
        if size != self.size or (self._etag and etag and etag != self._etag):
            raise self._error("changed on the server while it was read")

    def _refuse_encoding(self, response: requests.Response) -> None:
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise self._error("is on a server that compresses what it sends")

    def _body(self, response: requests.Response, length: int) -> bytes:
        self._refuse_encoding(response)
        body = joined_bytes(self._session.pieces(response), length + 1)
        if len(body) != length:
            raise RetryableFault("the answer does not have the announced length")
        return body

    def _refusal(self, status: int) -> NwbError:
        kind = foreign_kind(b"", self.url)
        if kind is not None:
            return NoFileError(str(self._error(f"is {kind}, not an NWB file")))
        shown = self._session.shown_url
        return NoFileError(f"{shown}: the server {status_meaning(status)} (HTTP {status})")

    def _error(self, fault: str) -> NwbError:
        return NwbError(f"{self._session.shown_url} {fault}")
