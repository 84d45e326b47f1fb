"""The end of a file, requested together with its start, before its length is known.

HDF5 reads the end early, because much of a file's metadata was written last. This request only
saves time: if it fails in any way, the same bytes are fetched later as all others are.
"""

import threading
from contextlib import suppress
from typing import NamedTuple, Optional, Tuple

import requests

from devaria.nwb.errors import NwbError
from devaria.nwb.http.answers import Version, codings_of, part_of, version_of
from devaria.nwb.http.retry import RetryableFault
from devaria.nwb.http.session import HttpSession, joined_bytes


class _Tail(NamedTuple):
    start: int
    content: bytes
    version: Version


class FileTail:
    """The last bytes of a file. The request starts with this object.

    Args:
        session: Sends the request, in a thread of its own.
        num_bytes: How many bytes to request.
        wait_sec: How long ``peek`` waits for them, in all.
    """

    def __init__(self, session: HttpSession, num_bytes: int, wait_sec: float) -> None:
        self._session = session
        self._num_bytes = num_bytes
        self._wait_sec = wait_sec
        self._found: Optional[_Tail] = None
        # A daemon: its request may still hang when the process ends.
        self._thread = threading.Thread(target=self._fetch, name="tail", daemon=True)
        self._thread.start()

    def peek(self, position: int, version: Version) -> Optional[Tuple[int, bytes]]:
        """Return the last bytes, if they hold a given one.

        Args:
            position: Offset of a byte in the file.
            version: The file's version, by the answer for its start.

        Returns:
            The offset of the last bytes, and the bytes. None if the byte lies before them, or if
            they failed, are late, or belong to another version of the file.
        """
        if position < version.size - self._num_bytes:
            return None
        self._thread.join(self._wait_sec)
        self._wait_sec = 0.0
        tail = self._found
        if tail is None or position < tail.start or tail.version.differs_from(version):
            return None
        return tail.start, tail.content

    def _fetch(self) -> None:
        with suppress(RetryableFault, NwbError), self._session.get(
            self._session.url, f"-{self._num_bytes}"
        ) as response:
            self._found = self._read(response)

    def _read(self, response: requests.Response) -> Optional[_Tail]:
        part = part_of(response) if response.status_code == 206 else None
        if part is None or codings_of(response):
            return None
        start, stop, size = part
        if stop != (size or stop) or stop - start > self._num_bytes:
            return None
        content = joined_bytes(self._session.pieces(response), stop - start + 1)
        if len(content) != stop - start:
            return None
        return _Tail(start, content, version_of(response, stop))
