"""Byte ranges of one file over HTTP: every answer verified, every fault named.

A file is read in many requests over minutes, from a server that nobody here knows. An error page
taken for data would look like a broken file, so each answer must prove that it is the very range
asked for, of the very file opened (status 206, Content-Range, length, ETag).
"""

import re
import threading
import time
from itertools import chain
from typing import Callable, Iterable, Optional, Tuple, TypeVar

import requests
from requests.adapters import BaseAdapter

from devaria.nwb.errors import NwbError
from devaria.nwb.hdf5.file_kind import foreign_fault, foreign_kind
from devaria.nwb.http.address_guard import AddressGuard, GuardedAdapter
from devaria.nwb.http.download import WholeFile
from devaria.nwb.http.retry import Patience, Retry, TransientError
from devaria.nwb.http.session import HttpSession, content_range, meaning_of, taken
from devaria.nwb.http.tail import FileEnd
from devaria.nwb.limits import ReadLimits

#: Bytes that the first request asks for: enough for the start of most files' metadata.
FIRST_BYTES = 256 * 1024

#: Requests that may be under way at once. From 8 to 16 a fast line is full.
CONNECTIONS = 16

_T = TypeVar("_T")


class HttpRanges:
    """One remote file, read by ranges by any number of threads.

    Args:
        url: Where the file is; http or https.
        limits: How much is fetched at most.
        end_bytes: Bytes of the file's end that are asked for beside its start; 0 for none.
        patience: Time-outs.
        allow_hosts: Names and addresses that may be connected to although they are not on the
            public internet.
        say: Is told what whoever waits may want to know, a line at a time.
        adapter: What opens the connections, instead of the address guard.
        wait: Called with the seconds to wait before another try.
        clock: Monotonic time in seconds.

    Attributes:
        url: Where the file is.
        size: Length of the file in bytes.
        head: The first ``FIRST_BYTES`` of the file, or all of it if it is shorter.

    Raises:
        InvalidInputError: The URL is not one of http or https.
        NwbError: The server may not be connected to, cannot be reached, or has no such file; or
            it has no ranges, and the file is too long or not HDF5.
    """

    def __init__(
        self,
        url: str,
        *,
        limits: Optional[ReadLimits] = None,
        end_bytes: int = 0,
        patience: Optional[Patience] = None,
        allow_hosts: Iterable[str] = (),
        say: Callable[[str], object] = lambda _line: None,
        adapter: Optional[BaseAdapter] = None,
        wait: Optional[Callable[[float], object]] = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        patience = patience or Patience()
        self.url = url
        self._session = HttpSession(
            url,
            adapter
            or GuardedAdapter(AddressGuard(allow_hosts), CONNECTIONS, patience.read_timeout_sec),
            patience,
            clock,
        )
        self._limits = limits or ReadLimits()
        self._say = say
        self._closed = threading.Event()
        self._retry = Retry(patience, wait or self._closed.wait, clock)
        self._fetched = 0
        self._counting = threading.Lock()
        self._etag: Optional[str] = None
        self._current_url = url  # where the last range came from
        self._whole: Optional[WholeFile] = None
        self._end = FileEnd(self._session, end_bytes) if end_bytes else None
        try:
            self.head, self.size = self._patiently(self._read_first)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connections, and end the waiting of other threads."""
        self._closed.set()
        self._session.close()
        if self._whole is not None:
            self._whole.close()

    def read(self, start: int, stop: int) -> bytes:
        """Read one range of the file.

        Args:
            start: Offset of the first byte.
            stop: Offset after the last byte; at most ``size``.

        Returns:
            Exactly ``stop - start`` bytes.

        Raises:
            NwbError: The server fails for good, the file has changed since it was opened, or too
                much has been fetched.
        """
        if self._whole is not None:
            return self._whole.read(start, stop)
        self._count(stop - start)
        return self._patiently(lambda: self._read_once(start, stop))

    def peek_end(self, position: int) -> Optional[Tuple[int, bytes]]:
        """Look at the end of the file, if that was asked for.

        Args:
            position: Offset of a byte.

        Returns:
            The offset and the bytes of a stretch that has it; None if there is none.
        """
        return self._end.peek(position, self.size, self._etag) if self._end else None

    def _patiently(self, operation: Callable[[], _T]) -> _T:
        try:
            return self._retry.run(operation)
        except TransientError as error:
            raise NwbError(f"{self._session.shown_url}: {error}") from None

    def _count(self, num_bytes: int) -> None:
        with self._counting:
            self._fetched += num_bytes
        if self._fetched > self._limits.max_fetch_bytes:
            raise self._error(
                f"takes more than the {self._limits.max_fetch_bytes / 1e6:,.0f} MB that are "
                "fetched (DEVARIA_MAX_FETCH_BYTES)"
            )

    def _read_first(self) -> Tuple[bytes, int]:
        with self._session.get(self.url, f"0-{FIRST_BYTES - 1}") as response:
            if response.status_code == 200:
                return self._read_whole(response)
            if response.status_code == 416:
                raise self._error("is an empty file")
            if response.status_code != 206:
                raise self._refusal(response.status_code)
            told = content_range(response)
            if told is None:
                raise self._error("is on a server that does not tell the file's size")
            begin, end, size = told
            if (begin, end) != (0, min(FIRST_BYTES, size)):
                raise TransientError("the server sent another range than was asked for")
            self._current_url, self._etag = response.url, response.headers.get("ETag")
            return self._body(response, end), size

    def _read_whole(self, response: requests.Response) -> Tuple[bytes, int]:
        self._refuse_encoding(response)
        pieces = self._session.pieces(response)
        head = taken(pieces, FIRST_BYTES)
        fault = foreign_fault(head, self.url)
        if fault is not None:
            raise self._error(fault)
        length = response.headers.get("Content-Length", "")
        expected = int(length) if re.fullmatch(r"\d{1,18}", length) else None
        whole = WholeFile()
        try:
            limit, progress = self._limits.max_download_bytes, self._retry.note_progress
            whole.fill(chain([head], pieces), expected, limit, self._say, progress)
            if expected not in (None, whole.size):
                raise TransientError("the answer has not the promised length")
        except BaseException:
            whole.close()
            raise
        self._whole = whole
        return head[:FIRST_BYTES], whole.size

    def _read_once(self, start: int, stop: int) -> bytes:
        url, span = self._current_url, f"{start}-{stop - 1}"
        response = self._session.get(url, span)
        if response.status_code in (401, 403, 404, 410) and url != self.url:
            # What a redirect leads to is often signed and expires: ask the first URL again.
            response.close()
            response = self._session.get(self.url, span)
        with response:
            if response.status_code == 200:
                raise TransientError("the server answered a range with something else")
            if response.status_code != 206:
                raise self._refusal(response.status_code)
            told = content_range(response)
            if told is not None:
                self._refuse_change(response, told[2])
            if told != (start, stop, self.size):
                raise TransientError("the server sent another range than was asked for")
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
        body = taken(self._session.pieces(response), length + 1)
        if len(body) != length:
            raise TransientError("the answer has not the promised length")
        return body

    def _refusal(self, status: int) -> NwbError:
        kind = foreign_kind(b"", self.url)
        if kind is not None:
            return self._error(f"is {kind}, not an NWB file")
        shown = self._session.shown_url
        return NwbError(f"{shown}: the server {meaning_of(status)} (HTTP {status})")

    def _error(self, fault: str) -> NwbError:
        return NwbError(f"{self._session.shown_url} {fault}")
