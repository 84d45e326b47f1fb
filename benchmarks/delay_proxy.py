"""Delay and record the requests to a worker: `python delay_proxy.py PORT [--delay-ms 50]`.

The proxy listens on loopback and prints its port. It delays the data in both directions. A new
connection costs two more delays, as TCP's handshake would.

``/seen`` returns the number of TCP connections so far and all requests. A request is ``[time sent,
method, path, progress_current of the body or null, status, time answered]``. Times are those of
`time.monotonic`, which all processes share on Linux.
"""

import argparse
import asyncio
import json
import re
import socket
import time
from typing import Any, List

_REQUEST = re.compile(rb"(GET|POST|DELETE|OPTIONS) (\S+) HTTP/1\.1\r\n")
_STATUS = re.compile(rb"HTTP/1\.1 (\d+)")
_PROGRESS = re.compile(rb'"progress_current": ?([\d.]+)')

#: The positions in a request's record that are filled in later.
_PROGRESS_FIELD, _STATUS_FIELD, _END_FIELD = 3, 4, 5


class Proxy:
    """Relay connections with a delay, and record the requests in them.

    Args:
        port: The worker's port.
        delay_sec: The delay in each direction, in seconds.
    """

    def __init__(self, port: int, delay_sec: float) -> None:
        self._port = port
        self._delay_sec = delay_sec
        self._connections = 0
        self._requests: List[List[Any]] = []

    async def serve(self) -> None:
        """Print the port, and serve for ever."""
        server = await asyncio.start_server(self._converse, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.read(65536)
        if first.startswith(b"GET /seen "):
            self._tell(writer)
            return
        self._connections += 1
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        for each in (writer, back):
            each.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        conversation: List[List[Any]] = []
        await asyncio.gather(
            self._pass_on(reader, back, self._note_request, conversation, first),
            self._pass_on(there, writer, self._note_answer, conversation),
        )

    async def _pass_on(self, reader, writer, note, conversation, first=b"") -> None:
        """Relay one direction; each piece is sent after the delay, in order."""
        pieces: asyncio.Queue = asyncio.Queue()
        handshake_sec = 2 * self._delay_sec if first else 0.0
        sender = asyncio.create_task(self._send_late(pieces, writer))
        data = first or await _read(reader)
        while data:
            due_at = time.monotonic() + self._delay_sec + handshake_sec
            note(data, conversation, due_at)
            pieces.put_nowait((due_at, data))
            handshake_sec = 0.0
            data = await _read(reader)
        pieces.put_nowait((time.monotonic() + self._delay_sec, b""))
        await sender

    async def _send_late(self, pieces: asyncio.Queue, writer: asyncio.StreamWriter) -> None:
        while True:
            due_at, data = await pieces.get()
            await asyncio.sleep(max(0.0, due_at - time.monotonic()))
            if not data:
                writer.close()
                return
            writer.write(data)

    def _note_request(self, data: bytes, conversation: List[List[Any]], _due: float) -> None:
        match = _REQUEST.match(data)
        if match is not None:
            record = [time.monotonic(), match[1].decode(), match[2].decode(), None, None, None]
            conversation.append(record)
            self._requests.append(record)
        progress = _PROGRESS.search(data)
        if progress is not None and conversation:
            conversation[-1][_PROGRESS_FIELD] = float(progress[1])

    def _note_answer(self, data: bytes, conversation: List[List[Any]], due: float) -> None:
        match = _STATUS.match(data)
        if match is not None and conversation:
            conversation[-1][_STATUS_FIELD] = int(match[1])
            conversation[-1][_END_FIELD] = due

    def _tell(self, writer: asyncio.StreamWriter) -> None:
        seen = {"connections": self._connections, "requests": self._requests}
        body = json.dumps(seen).encode()
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        writer.close()


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(65536)
    except ConnectionError:  # the runner has ended
        return b""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("port", type=int)
    parser.add_argument("--delay-ms", type=float, default=0.0)
    options = parser.parse_args()
    asyncio.run(Proxy(options.port, options.delay_ms / 1000).serve())
