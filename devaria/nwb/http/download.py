"""Download a whole file from a server without byte ranges, or one that compresses them."""

import tempfile
import threading
import time
from typing import Callable, Iterable, Optional

from devaria.nwb.errors import NwbError

#: Shortest time between two console lines of one download, in seconds.
_LINE_GAP_SEC = 5.0

_PROGRESS_BYTES = 2 * 1024 * 1024


class DownloadedFile:
    """A copy on this machine's disk that no other process can open. Closing it deletes it.

    Args:
        why: Why the whole file is needed, such as "has no byte ranges".

    Attributes:
        size: Length of the copy in bytes, so far.
    """

    def __init__(self, why: str) -> None:
        self._why = why
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._lock = threading.Lock()
        self.size = 0

    def close(self) -> None:
        """Delete the copy."""
        self._file.close()

    def read(self, start: int, stop: int) -> bytes:
        """Read one range. Several threads may do so at once.

        Args:
            start: Offset of the first byte.
            stop: Offset after the last byte.

        Returns:
            The bytes.
        """
        with self._lock:
            self._file.seek(start)
            return self._file.read(stop - start)

    def fill(
        self,
        pieces: Iterable[bytes],
        expected_bytes: Optional[int],
        max_bytes: int,
        say: Callable[[str], object],
        note_progress: Callable[[], object],
    ) -> None:
        """Write the body of an answer, from the start of the file.

        Args:
            pieces: The body, in order.
            expected_bytes: Length of the body, if the server announced it.
            max_bytes: Longest body that is accepted.
            say: Called with a console line at the start and every few seconds.
            note_progress: Called for every 2 MiB that have arrived.

        Raises:
            NwbError: The body is longer than ``max_bytes``.
        """
        self._file.seek(0)
        self._file.truncate()
        self.size = 0
        last_line_sec = time.monotonic()
        if expected_bytes is not None:
            self._refuse_too_much(expected_bytes, max_bytes)
        say(f"The server {self._why}: fetching the whole file{_of(expected_bytes)}")
        for piece in pieces:
            before = self.size
            self.size += self._file.write(piece)
            self._refuse_too_much(self.size, max_bytes)
            if before // _PROGRESS_BYTES != self.size // _PROGRESS_BYTES:
                note_progress()
            if time.monotonic() - last_line_sec > _LINE_GAP_SEC:
                last_line_sec = time.monotonic()
                say(f"Fetched {self.size / 1e6:,.1f} MB{_of(expected_bytes)}")

    def _refuse_too_much(self, num_bytes: int, max_bytes: int) -> None:
        if num_bytes > max_bytes:
            raise NwbError(
                f"the server {self._why}, and the whole file has more than the "
                f"{max_bytes / 1e6:,.0f} MB that may be downloaded (DEVARIA_MAX_DOWNLOAD_BYTES)"
            )


def _of(expected_bytes: Optional[int]) -> str:
    return "" if expected_bytes is None else f" of {expected_bytes / 1e6:,.1f} MB"
