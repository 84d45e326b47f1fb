"""Read byte ranges of one file over HTTP, verify every answer, and explain every fault.

Reading a file takes many requests to an unknown server, over minutes. An error page taken for data
would look like a broken file. So each answer is checked: it must be the requested range of the
file that was opened (status 206, Content-Range, length, version).
"""

import threading
import time
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import Callable, Iterable, List, Optional, Tuple, TypeVar

import requests
from requests.adapters import BaseAdapter

from devaria.common.http.addresses import Connect
from devaria.nwb.errors import NoFileError, NwbError
from devaria.nwb.file_kind import foreign_fault, is_lindi
from devaria.nwb.http.address_guard import AddressGuard, GuardedAdapter
from devaria.nwb.http.answers import (
    WRONG_LENGTH,
    Version,
    announced_size,
    body_of,
    codings_of,
    decoded,
    part_of,
    unsatisfied_size,
    version_of,
)
from devaria.nwb.http.download import DownloadedFile
from devaria.nwb.http.refusals import MAY_BE_EXPIRED, checked_part, refusal
from devaria.nwb.http.retry import HttpTiming, Retry, RetryableFault
from devaria.nwb.http.session import HttpSession, joined_bytes
from devaria.nwb.http.tail import FileTail
from devaria.nwb.limits import FetchCount, ReadLimits

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
        connections_ahead: How many connections to open while the file's start arrives, for the
            ranges that follow; fewer for a short file.
        timing: Time-outs.
        allow_hosts: Names and addresses that may be connected to although they are not on the
            public internet.
        say: Called with console lines.
        connect: Opens connections, instead of an address guard of this process.
        adapter: Opens the connections, instead of the address guard.
        wait: Called with the seconds to wait before another try.
        clock: Returns monotonic time in seconds.

    Attributes:
        url: URL of the file.
        head: The first ``FIRST_BYTES`` of the file, or all of it if it is shorter.

    Raises:
        InvalidInputError: The URL is not an http or https URL.
        NwbError: The server is not allowed, cannot be reached, or has no such file; or it has no
            ranges, and the file is too long or not HDF5.
    """

    def __init__(
        self,
        url: str,
        *,
        limits: Optional[ReadLimits] = None,
        end_bytes: int = 0,
        connections_ahead: int = 0,
        timing: Optional[HttpTiming] = None,
        allow_hosts: Iterable[str] = (),
        say: Callable[[str], object] = lambda _line: None,
        connect: Optional[Connect] = None,
        adapter: Optional[BaseAdapter] = None,
        wait: Optional[Callable[[float], object]] = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        timing = timing or HttpTiming()
        connect = connect or AddressGuard(allow_hosts).connect
        guarded = GuardedAdapter(connect, _KEPT, timing.read_timeout_sec)
        self._session = HttpSession(url, adapter or guarded, timing, clock)
        self.url = self._session.url
        self._limits, self._say = limits or ReadLimits(), say
        self._connections_ahead, self._end_bytes = connections_ahead, end_bytes
        self._closed = threading.Event()
        self._retry = Retry(timing, wait or self._closed.wait, clock)
        self._clock = clock
        self._fetched = FetchCount(self._session.shown_url, self._limits.max_fetch_bytes)
        self._version = Version(0, None, None)
        self._current_url = self.url  # of the last range, after redirects
        self._download: Optional[DownloadedFile] = None
        self._tail = FileTail(self._session, end_bytes, timing.tail_wait_sec) if end_bytes else None
        try:
            self.head = self._with_retries(self._read_first)
        except BaseException:
            self.close()
            raise

    @property
    def size(self) -> int:
        """Length of the file in bytes."""
        return self._version.size

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
        self._fetched.add(stop - start)
        return self._read_range(start, stop)

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
        return self._tail.peek(position, self._version) if self._tail else None

    def _with_retries(self, operation: Callable[[], _T]) -> _T:
        try:
            return self._retry.run(operation)
        except RetryableFault as error:
            raise NwbError(f"{self._session.shown_url}: {error}") from None

    def _read_first(self) -> bytes:
        """Read the first bytes of the file, and find out its version."""
        with self._session.get(self.url, f"0-{FIRST_BYTES - 1}") as response:
            is_beyond = response.status_code == 416
            if not is_beyond and not (response.status_code == 206 and codings_of(response)):
                return self._start_of(response)
            size = unsatisfied_size(response) if is_beyond else None
        if size == 0:
            raise self._error("is an empty file")
        # Some servers refuse a range beyond the end. A range of compressed bytes is of no use.
        with self._session.get(self.url, f"0-{size - 1}" if size else None) as response:
            return self._start_of(response)

    def _start_of(self, response: requests.Response) -> bytes:
        if response.status_code == 200:
            return self._download_whole(response)
        part = checked_part(response, self._session)
        if part is None:
            raise self._error("is on a server that does not tell which range it sends")
        if part.start:
            raise RetryableFault("the server sent another range than requested")
        size = part.size or self._size_beyond(part.stop)
        if size is None:
            with self._session.get(self.url, None) as whole:
                return self._download_whole(whole)
        most = max(0, size - FIRST_BYTES - self._end_bytes) // FIRST_BYTES
        self._session.open_ahead(response, min(self._connections_ahead, most))
        start = body_of(part, self._session.pieces(response), FIRST_BYTES)
        self._current_url, self._version = response.url, version_of(response, size)
        return start + self._read_range(len(start), min(size, FIRST_BYTES))

    def _size_beyond(self, stop: int) -> Optional[int]:
        """Ask for the length of a file whose server does not tell it with a range."""
        with suppress(RetryableFault), self._session.get(self.url, "-1") as response:
            last = part_of(response) if response.status_code == 206 else None
            if last is not None and last.stop == last.start + 1 and last.stop >= stop:
                return last.stop
        with suppress(RetryableFault), self._session.get(self.url, None, "HEAD") as response:
            size = announced_size(response) if response.status_code == 200 else None
            return size if size is not None and size >= stop else None
        return None

    def _download_whole(self, response: requests.Response) -> bytes:
        if response.status_code != 200:
            raise refusal(response, self._session)
        why, pieces = "has no byte ranges", self._session.pieces(response)
        codings, expected = codings_of(response), announced_size(response)
        if codings:
            why, expected = "compresses what it sends", None
            pieces = decoded(pieces, codings, self._limits.max_download_bytes)
        head = joined_bytes(pieces, FIRST_BYTES)
        fault = foreign_fault(head, self.url) if head else "is an empty file"
        if fault is not None and not is_lindi(head):
            raise NoFileError(str(self._error(fault)))
        download = DownloadedFile(why)
        try:
            limit, progress = self._limits.max_download_bytes, self._retry.note_progress
            download.fill(chain([head], pieces), expected, limit, self._say, progress)
            if expected not in (None, download.size):
                raise RetryableFault(WRONG_LENGTH)
        except BaseException:
            download.close()
            raise
        self._download = download
        self._version = version_of(response, download.size)
        return head[:FIRST_BYTES]

    def _read_range(self, start: int, stop: int) -> bytes:
        """Read a range, in several answers if the server gives less than it is asked for."""
        parts: List[bytes] = []
        first, busy_sec = start, 0.0
        while start < stop:
            part, seconds = self._with_retries(partial(self._read_timed, start, stop))
            parts.append(part)
            start += len(part)
            busy_sec += seconds
            fault = self._session.slowness(start - first, busy_sec)
            if fault is not None:
                raise NwbError(f"{self._session.shown_url}: {fault}")
        return b"".join(parts)

    def _read_timed(self, start: int, stop: int) -> Tuple[bytes, float]:
        started = self._clock()
        return self._read_part(start, stop), self._clock() - started

    def _read_part(self, start: int, stop: int) -> bytes:
        with self._answer(start, stop) as response:
            if response.status_code == 200:
                raise RetryableFault("the server answered a range request with status 200")
            part = checked_part(response, self._session)
            if part is None:
                raise RetryableFault("the server does not tell which range it sends")
            if version_of(response, part.size or self.size).differs_from(self._version):
                raise self._error("changed on the server while it was read")
            if not part.start <= start < part.stop <= self.size:
                raise RetryableFault("the server sent another range than requested")
            self._fetched.add(start - part.start)  # what comes before it, of no use
            self._current_url = response.url
            return body_of(part, self._session.pieces(response), stop)[start - part.start :]

    def _answer(self, start: int, stop: int) -> requests.Response:
        url, span = self._current_url, f"{start}-{stop - 1}"
        response = self._session.get(url, span)
        if url == self.url or response.status_code not in MAY_BE_EXPIRED:
            return response
        # Redirects often lead to signed URLs, which expire: start again at the file's URL.
        response.close()
        return self._session.get(self.url, span)

    def _error(self, fault: str) -> NwbError:
        return NwbError(f"{self._session.shown_url} {fault}")
