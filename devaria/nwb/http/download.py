"""A file taken from its server as a whole, where that knows no byte ranges."""

import tempfile
import threading
import time
from typing import Callable, Iterable, Optional

from devaria.nwb.errors import NwbError

#: The console hears of a long download at most this often.
_TELL_EVERY_SEC = 5.0

_PROGRESS_BYTES = 2 * 1024 * 1024


class WholeFile:
    """A copy on this machine's disk that nobody else sees, gone when it is closed.

    Attributes:
        size: Its length in bytes so far.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._lock = threading.Lock()
        self.size = 0

    def close(self) -> None:
        """Let go of the copy."""
        self._file.close()

    def read(self, start: int, stop: int) -> bytes:
        """Read one range; several threads may.

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
        """Write what comes from the server, anew from the start.

        Args:
            pieces: The bytes of the file.
            expected_bytes: Their number, if the server told it.
            max_bytes: How many may come.
            say: Is told at the start, and every few seconds, how far it has got.
            note_progress: Called for every 2 MiB that have come.

        Raises:
            NwbError: There are more than ``max_bytes``.
        """
        self._file.seek(0)
        self._file.truncate()
        self.size = 0
        told = time.monotonic()
        if expected_bytes is not None:
            _refuse_too_much(expected_bytes, max_bytes)
        say(f"The server has no byte ranges: fetching the whole file{_of(expected_bytes)}")
        for piece in pieces:
            before = self.size
            self.size += self._file.write(piece)
            _refuse_too_much(self.size, max_bytes)
            if before // _PROGRESS_BYTES != self.size // _PROGRESS_BYTES:
                note_progress()
            if time.monotonic() - told > _TELL_EVERY_SEC:
                told = time.monotonic()
                say(f"Fetched {self.size / 1e6:,.1f} MB{_of(expected_bytes)}")


def _refuse_too_much(num_bytes: int, max_bytes: int) -> None:
    if num_bytes > max_bytes:
        raise NwbError(
            f"the server has no byte ranges, and the whole file has more than the "
            f"{max_bytes / 1e6:,.0f} MB that are fetched (DEVARIA_MAX_DOWNLOAD_BYTES)"
        )


def _of(expected_bytes: Optional[int]) -> str:
    return "" if expected_bytes is None else f" of {expected_bytes / 1e6:,.1f} MB"
