"""A file server on loopback with byte ranges, which can be told to misbehave."""

import gzip
import re
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Dict, List, Optional

SECRET = "X-Signature=s3cr3t"

#: The hosts to allow for this server.
LOOPBACK = ("127.0.0.1",)


class FakeTime:
    """A clock that only waiting moves, and the waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: List[float] = []

    def clock(self) -> float:
        """Return the time, in seconds."""
        return self.now

    def wait(self, seconds: float) -> None:
        """Move the clock without waiting."""
        self.waits.append(seconds)
        self.now += seconds


class RangeServer:
    """Serves ``files`` (by path) for the length of a ``with`` block, with TLS if ``tls`` is given.

    ``/to/NAME`` redirects to ``/NAME`` with a signature; ``/loop`` redirects to itself.

    Each request takes one fault from ``faults``; when there are no more, ``always`` applies.
    ``end_fault`` applies to all requests for the last bytes, and only to these. A fault is one of

    - None: the right answer
    - a number: this status
    - "html": a web page with status 200
    - "whole": the whole file; also "whole, short", "whole, unknown length"
      and "whole, gzip"
    - "short": the body breaks off
    - "drop": the connection is closed without an answer
    - "hang": no answer until the server stops; "hang in mid-body": no more of it
    - "drip": a body of one byte every 50 ms; "drip head": a head like that
    - "shifted": the header names another range
    - "new etag", "gzip": the headers of a changed or a compressed file

    Each answer takes ``latency_sec`` longer. ``most_pending`` is how many requests waited at once.
    """

    def __init__(self, files: Dict[str, bytes], tls: Optional[ssl.SSLContext] = None) -> None:
        self.files = files
        self.tls = tls
        self.faults: List[object] = []
        self.always: object = None
        self.end_fault: object = None
        self.redirect_to: Optional[str] = None
        self.end_redirect_to: Optional[str] = None
        self.asked: List[str] = []
        self.hosts: List[str] = []
        self.connections = 0
        self.latency_sec = 0.0
        self.most_pending = 0
        self._pending = 0
        self._counting = threading.Lock()
        self.stopping = threading.Event()
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._server.tls = tls
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> "RangeServer":
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def take_time(self) -> None:
        """Let a request wait, and count it meanwhile."""
        with self._counting:
            self._pending += 1
            self.most_pending = max(self.most_pending, self._pending)
        self.stopping.wait(self.latency_sec)
        with self._counting:
            self._pending -= 1

    def url(self, path: str) -> str:
        """Return the URL of a path."""
        return f"http://127.0.0.1:{self.port}{path}"


class _Server(ThreadingHTTPServer):
    # With the default of 5, connections that come together wait a second for another try.
    request_queue_size = 128
    tls: Optional[ssl.SSLContext] = None

    def finish_request(self, request, client_address) -> None:
        if self.tls is not None:
            with self.tls.wrap_socket(request, server_side=True) as encrypted:
                super().finish_request(encrypted, client_address)
            return
        super().finish_request(request, client_address)

    def handle_error(self, *_args: object) -> None:
        pass  # some tests are about clients that close the connection early


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 64 * 1024  # head and body in one packet, without waiting for acknowledgements
    owner: RangeServer

    def setup(self) -> None:
        super().setup()
        self.owner.connections += 1

    def log_message(self, *_args: object) -> None:
        pass

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        self.owner.asked.append(f"{self.path} {self.headers.get('Range')}")
        self.owner.hosts.append(self.headers["Host"])
        self.owner.take_time()
        if path == "/loop":
            self._redirect("/loop")
        elif path.startswith("/to/"):
            target = self.owner.end_redirect_to if self._is_for_end() else self.owner.redirect_to
            self._redirect(target or f"{path[3:]}?{SECRET}")
        else:
            self._serve(self.owner.files.get(path), self._fault())

    def _fault(self) -> object:
        if self._is_for_end():
            return self.owner.end_fault
        return self.owner.faults.pop(0) if self.owner.faults else self.owner.always

    def _is_for_end(self) -> bool:
        return self.headers.get("Range", "").startswith("bytes=-")

    def _redirect(self, location: str) -> None:
        self.send_response(302)
        self.send_header("Location", location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _serve(self, content: Optional[bytes], fault: object) -> None:
        if fault == "hang":
            self.owner.stopping.wait(30)
        if fault in ("hang", "drop"):
            self.close_connection = True
        elif fault == "html":
            self._send(200, b"<!DOCTYPE html><html><body>Log in</body></html>")
        elif isinstance(fault, int) or content is None:
            self._send(fault if isinstance(fault, int) else 404, b"no")
        elif fault == "drip head":
            self._drip(b"HTTP/1.1 206 Partial Content\r\nX-Filler: " + bytes(b"x" * 1000))
        elif isinstance(fault, str) and fault.startswith("whole"):
            self._send_whole(content, fault)
        elif "Range" not in self.headers:
            self._send_whole(content, str(fault))
        else:
            self._send_range(content, fault)

    def _send_range(self, content: bytes, fault: object) -> None:
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers["Range"])
        assert match is not None
        if match[1]:
            start, stop = int(match[1]), min(int(match[2] or 2**40) + 1, len(content))
        else:
            start, stop = max(0, len(content) - int(match[2])), len(content)
        if start >= len(content):
            self._send(416, b"")
            return
        said = start + 1 if fault == "shifted" else start
        headers = {
            "Content-Range": f"bytes {said}-{stop - 1}/{len(content)}",
            "ETag": '"new"' if fault == "new etag" else '"old"',
        }
        if fault == "gzip":
            headers["Content-Encoding"] = "gzip"
        if fault in ("drip", "hang in mid-body"):
            self._send(206, content[start:stop], headers, cut=stop - start)
            if fault == "drip":
                self._drip(content[start:stop])
            self.owner.stopping.wait(30)
        else:
            self._send(206, content[start:stop], headers, cut=1 if fault == "short" else 0)

    def _send_whole(self, content: bytes, fault: str) -> None:
        if fault.endswith("unknown length"):
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            self._write(content)
        elif fault.endswith("gzip"):
            self._send(200, gzip.compress(content, 1), {"Content-Encoding": "gzip"})
        else:
            self._send(200, content, cut=1000 if fault.endswith("short") else 0)

    def _drip(self, content: bytes) -> None:
        self.close_connection = True
        for byte in content:
            if self.owner.stopping.wait(0.05) or not self._write(bytes([byte])):
                break

    def _send(
        self, status: int, body: bytes, headers: Optional[Dict[str, str]] = None, cut: int = 0
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 429:
            self.send_header("Retry-After", "7")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        is_whole = self._write(body[: len(body) - cut]) and cut == 0
        self.close_connection = self.close_connection or not is_whole

    def _write(self, content: bytes) -> bool:
        try:
            self.wfile.write(content)
            self.wfile.flush()
        except ConnectionError:  # the client closed the connection
            return False
        return True
