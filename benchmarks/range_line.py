"""Serve files on loopback with the latency and bandwidth of a distant server.

    python benchmarks/range_line.py FOLDER

The first byte of an answer comes after 40 ms; a new connection takes 40 ms before its first
request arrives. One connection carries 40 MB/s, and all connections together 400 MB/s. Byte
ranges are supported. The server prints its port. ``/to/NAME`` redirects to ``/NAME``. ``/counts``
returns the requests, bytes and connections since its last call.
"""

import asyncio
import contextlib
import json
import mmap
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, Iterator, Tuple

LATENCY_SEC = 0.040
CONNECTION_BYTES_PER_SEC = 40e6
LINE_BYTES_PER_SEC = 400e6
PIECE_BYTES = 128 * 1024

_REQUEST = re.compile(rb"(GET|HEAD) (\S+) HTTP/1\.[01]\r\n")
_RANGE = re.compile(rb"(?i)\r\nrange: *bytes=(\d*)-(\d*)")


@contextlib.contextmanager
def running_line(folder: Path) -> Iterator[str]:
    """Serve a folder from a process of its own, for the length of a ``with`` block.

    Yields:
        The URL of the folder, without a slash at its end.
    """
    command = [sys.executable, __file__, str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.terminate()
        process.wait()


class Line:
    """Serves the files, limits the bandwidth, and counts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: Dict[str, memoryview] = {}
        self._free_sec = 0.0
        self._counts = {"requests": 0, "bytes": 0, "connections": 0}

    async def serve(self) -> None:
        """Print the port, and serve until the process ends."""
        loop = asyncio.get_running_loop()
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        listener.setblocking(False)
        print(listener.getsockname()[1], flush=True)
        tasks = set()
        while True:
            connection, _ = await loop.sock_accept(listener)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # A large kernel buffer would send a delayed piece at once, and hide the delay.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * PIECE_BYTES)
            tasks.add(asyncio.create_task(self._converse(connection)))
            tasks = {task for task in tasks if not task.done()}

    async def _converse(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        connected_sec = time.monotonic() + LATENCY_SEC
        self._counts["connections"] += 1
        with connection:
            while True:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    data = await loop.sock_recv(connection, 65536)
                    if not data:
                        return
                    head += data
                late_sec = max(0.0, connected_sec - time.monotonic())
                try:
                    await self._answer(connection, head, late_sec + LATENCY_SEC)
                except ConnectionError:  # the client has closed the connection
                    return

    async def _answer(self, connection: socket.socket, head: bytes, late_sec: float) -> None:
        loop = asyncio.get_running_loop()
        match = _REQUEST.match(head)
        assert match is not None, head
        method, path = match[1], match[2].decode()
        if path == "/counts":
            body = json.dumps(self._counts).encode()
            self._counts = dict.fromkeys(self._counts, 0)
            await loop.sock_sendall(connection, _head("200 OK", len(body)) + body)
            return
        self._counts["requests"] += 1
        await asyncio.sleep(late_sec)
        if path.startswith("/to/"):
            location = f"Location: {path[3:]}\r\n"
            await loop.sock_sendall(connection, _head("302 Found", 0, location))
            return
        if not (self._folder / path.lstrip("/")).is_file():
            await loop.sock_sendall(connection, _head("404 Not Found", 0))
            return
        content = self._content(path)
        status, extra, body = _ranged(content, _RANGE.search(head))
        await loop.sock_sendall(connection, _head(status, len(body), extra))
        if method == b"GET":
            await self._send(connection, body)

    async def _send(self, connection: socket.socket, body: memoryview) -> None:
        loop = asyncio.get_running_loop()
        due_sec = time.monotonic()
        for start in range(0, len(body), PIECE_BYTES):
            piece = body[start : start + PIECE_BYTES]
            now = time.monotonic()
            self._free_sec = max(now, self._free_sec) + len(piece) / LINE_BYTES_PER_SEC
            due_sec += len(piece) / CONNECTION_BYTES_PER_SEC
            await asyncio.sleep(max(0.0, max(due_sec, self._free_sec) - now))
            await loop.sock_sendall(connection, piece)
            self._counts["bytes"] += len(piece)

    def _content(self, path: str) -> memoryview:
        if path not in self._files:
            with (self._folder / path.lstrip("/")).open("rb") as file:
                self._files[path] = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        return self._files[path]


def _ranged(content: memoryview, wanted: "re.Match[bytes] | None") -> Tuple[str, str, memoryview]:
    if wanted is None:
        return "200 OK", "", content
    if wanted[1]:
        start = int(wanted[1])
        stop = min(int(wanted[2]) + 1 if wanted[2] else len(content), len(content))
    else:
        start, stop = max(0, len(content) - int(wanted[2])), len(content)
    content_range = f"Content-Range: bytes {start}-{stop - 1}/{len(content)}\r\n"
    return "206 Partial Content", content_range, content[start:stop]


def _head(status: str, length: int, extra: str = "") -> bytes:
    return (
        f"HTTP/1.1 {status}\r\nContent-Length: {length}\r\nAccept-Ranges: bytes\r\n"
        f'ETag: "1"\r\n{extra}\r\n'
    ).encode()


if __name__ == "__main__":
    asyncio.run(Line(Path(sys.argv[1])).serve())
