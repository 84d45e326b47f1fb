"""A job's console: all that the job prints, or the head and the tail of a long one."""

import contextlib
import threading
from io import FileIO
from pathlib import Path
from typing import Callable, Optional

from devaria.common.files import open_new
from devaria.common.text import HEAD_BYTES, TAIL_BYTES, joined

#: A line that is longer than this is written to the file before it ends.
_MAX_BEGUN_LINE_BYTES = 8_000


class Console:
    """Collects the bytes that a job prints, in bounded memory; for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._head = bytearray()
        self._tail = bytearray()
        self._left_out_bytes = 0
        self._file: Optional[FileIO] = None
        self._clean: Callable[[str], str] = str
        self._begun_line = b""
        self._listener: Optional[Callable[[bytes], None]] = None

    def keep_in(self, path: Path, clean: Callable[[str], str] = str) -> None:
        """Keep the console in a file, too, in case this process dies.

        Args:
            path: The file, readable for its owner only. If it cannot be written, the console is
                in memory only.
            clean: Removes from whole lines what must not be kept on disk.
        """
        with self._lock, contextlib.suppress(OSError):
            self._file = FileIO(open_new(path), "w")
            self._clean = clean
            self._keep(bytes(self._head + self._tail))

    def echo_to(self, listener: Callable[[bytes], None]) -> None:
        """Pass on all that is printed as it comes, beginning with what is there already.

        Args:
            listener: Called with the bytes, cut anywhere, from the thread that writes.
        """
        with self._lock:
            self._listener = listener
            listener(bytes(self._head + self._tail))

    def write(self, data: bytes) -> None:
        """Add bytes that were printed, cut anywhere. If there is no memory, the text says so."""
        with self._lock:
            try:
                self._add(data)
            except MemoryError:
                self._left_out_bytes += len(data)

    def _add(self, data: bytes) -> None:
        if self._listener is not None:
            self._listener(data)
        room = HEAD_BYTES - len(self._head)
        self._head += data[:room]
        self._tail += data[room:] if room > 0 else data
        # Trimmed in large steps, since each step moves the whole tail.
        if len(self._tail) > 2 * TAIL_BYTES:
            self._trim()
            self._rewrite_file()
        else:
            with contextlib.suppress(OSError):
                self._keep(data)

    def text(self) -> str:
        """Return the console so far.

        Bytes that are not UTF-8 become U+FFFD. A line says where the middle is missing.
        """
        with self._lock:
            self._trim()
            return joined(bytes(self._head), bytes(self._tail), self._left_out_bytes)

    def end(self) -> str:
        """Close the file, and return the console."""
        with self._lock, contextlib.suppress(OSError):
            if self._file is not None:
                self._file.close()
            self._file = None
        return self.text()

    def _trim(self) -> None:
        too_many = len(self._tail) - TAIL_BYTES
        if too_many > 0:
            del self._tail[:too_many]
            self._left_out_bytes += too_many

    def _rewrite_file(self) -> None:
        if self._file is None:
            return
        with contextlib.suppress(OSError):
            self._file.seek(0)
            self._file.truncate()
            self._begun_line = b""
            text = joined(bytes(self._head), bytes(self._tail), self._left_out_bytes)
            self._keep(text.encode("utf-8"))

    def _keep(self, data: bytes) -> None:
        """Add whole lines to the file, so that `clean` never sees a secret cut in two."""
        if self._file is None:
            return
        self._begun_line += data
        end = 1 + max(self._begun_line.rfind(b"\n"), self._begun_line.rfind(b"\r"))
        if len(self._begun_line) - end > _MAX_BEGUN_LINE_BYTES:
            end = len(self._begun_line)
        lines, self._begun_line = self._begun_line[:end], self._begun_line[end:]
        if lines:
            self._file.write(self._clean(lines.decode("utf-8", "replace")).encode("utf-8"))
