"""The child's side of `devaria.common.child_process`: its pipes to its parent.

Each job starts a child that imports this module, so it imports little.
"""

import contextlib
import io
import json
import os
import signal
import sys
import threading
from collections import deque
from typing import Any, BinaryIO, Deque, Dict, Optional


class ParentPipes:
    """Receives requests and sends events. A process has one of these.

    It keeps the two pipes for itself and gives the rest of the process ordinary streams: standard
    input is empty, and standard output goes where standard error goes, for C code too. Programs
    that the process starts do not inherit the pipes.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_listening = False
        self._lines: Deque[bytes] = deque()
        self._num_lines = threading.Semaphore(0)
        self._events: BinaryIO = os.fdopen(os.dup(1), "wb")
        self._requests: BinaryIO = os.fdopen(os.dup(0), "rb")
        empty = os.open(os.devnull, os.O_RDONLY)
        os.dup2(empty, 0)
        os.close(empty)
        os.dup2(2, 1)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)

    def send(self, event: Dict[str, Any]) -> None:
        """Send an event. Several threads may call this at a time.

        Args:
            event: JSON values, with an entry `event`.
        """
        line = json.dumps(event).encode("ascii") + b"\n"
        with self._lock:
            self._events.write(line)
            self._events.flush()

    def receive(self, timeout_sec: Optional[float] = None) -> Optional[Dict[str, Any]]:
        """Wait for the next request. After the first one, the process ends when the parent does.

        Args:
            timeout_sec: How long to wait for a request after the first one; None for ever.

        Returns:
            The request; None if the parent closed the pipe without any.

        Raises:
            TimeoutError: No request came in that time.
        """
        if self._is_listening:
            if not self._num_lines.acquire(timeout=timeout_sec):
                raise TimeoutError
            line = self._lines.popleft()
        else:
            line = self._requests.readline()
            if not line:
                return None
            self._is_listening = True
            threading.Thread(target=self._listen, daemon=True).start()
        request: Dict[str, Any] = json.loads(line)
        return request

    def _listen(self) -> None:
        """Take requests until the parent closes its end of the pipe, by dying or otherwise."""
        # Also if it fails, such as for want of memory: nobody else would notice the parent's end.
        with contextlib.suppress(Exception):
            for line in self._requests:
                self._lines.append(line)
                self._num_lines.release()
        # If this process leads its group, the group holds only what it has started. Any other
        # group may hold processes that must go on.
        if hasattr(os, "killpg") and os.getpgid(0) == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)
