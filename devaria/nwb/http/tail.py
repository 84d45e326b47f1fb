"""The end of a file, asked for beside its start, before its length is known.

Much of a file's metadata was written last, and HDF5 looks there early. It is a favour: whatever is
wrong with the answer, these bytes are then fetched as any others are.
"""

import threading
from contextlib import suppress
from typing import NamedTuple, Optional, Tuple

import requests

from devaria.nwb.errors import NwbError
from devaria.nwb.http.retry import TransientError
from devaria.nwb.http.session import HttpSession, content_range, taken

#: How long it is waited for in all, in seconds; then its bytes are asked for again.
_PATIENCE_SEC = 2.0


class _End(NamedTuple):
    start: int
    content: bytes
    size: int
    etag: Optional[str]


class FileEnd:
    """The last bytes of a file, on their way as soon as this exists.

    Args:
        session: Asks for them; from a thread of its own.
        num_bytes: How many.
    """

    def __init__(self, session: HttpSession, num_bytes: int) -> None:
        self._session = session
        self._num_bytes = num_bytes
        self._patience_sec = _PATIENCE_SEC
        self._found: Optional[_End] = None
        # A daemon: it may hang in the request when all is over.
        self._thread = threading.Thread(target=self._fetch, name="end", daemon=True)
        self._thread.start()

    def peek(self, position: int, size: int, etag: Optional[str]) -> Optional[Tuple[int, bytes]]:
        """Look at them, once they are there.

        Args:
            position: Offset of a byte.
            size: Length of the file, as the answer for its start told it.
            etag: Its ETag, likewise.

        Returns:
            The offset and the bytes of a stretch that has it; None if there is none of this file.
        """
        if position < size - self._num_bytes:
            return None
        self._thread.join(self._patience_sec)
        self._patience_sec = 0.0
        end = self._found
        if end is None or position < end.start or (end.size, end.etag) != (size, etag):
            return None
        return end.start, end.content

    def _fetch(self) -> None:
        with suppress(TransientError, NwbError), self._session.get(
            self._session.url, f"-{self._num_bytes}"
        ) as response:
            self._found = self._read(response)

    def _read(self, response: requests.Response) -> Optional[_End]:
        told = content_range(response)
        encoding = response.headers.get("Content-Encoding", "identity")
        if response.status_code != 206 or told is None or encoding != "identity":
            return None
        start, stop, size = told
        if stop != size or stop - start > self._num_bytes:
            return None
        content = taken(self._session.pieces(response), stop - start + 1)
        if len(content) != stop - start:
            return None
        return _End(start, content, size, response.headers.get("ETag"))
