"""A figure API on loopback for figpack's client, which can be told to misbehave."""

import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Dict, List, Optional

SIGNATURE = "X-Signature=s3cr3t"

#: The key of the figpack service.
KEY = "fp-0123456789"


class FigureApi:
    """Accepts uploads for the length of a ``with`` block.

    There are four calls: "create", "upload", "put" and "finalize". Each request takes one fault
    from the list of its call in ``faults``; when there are no more, that in ``always`` applies. A
    fault is a status (sent with ``message``), "hang" (no answer until the server stops), "drop"
    (the connection is closed without an answer), "html", or "no success".

    Args:
        tls: Speaks TLS with this context; None for plain HTTP.

    Attributes:
        url: The value for FIGPACK_API_BASE_URL; a test may put a proxy's URL in its place.
        put_url: Where files go: to this server, unless a test changes it.
        figures_url: Where figures are shown; None for this server.
        refuses_joined: Refuse to sign the manifest along with other files.
        closes_after: A connection is closed after an answer to one of these calls.
        connections: How many connections were opened, by calls or without any.
        open_connections: How many are open.
        asked: The calls, in the order in which they arrived.
        batches: The files of each "upload" call.
        sizes: How large each file was said to be, by path.
        begun: The paths of the files, in the order in which they began to arrive.
        files: What was uploaded, by path, in the order in which it had arrived.
    """

    def __init__(self, tls: Optional[ssl.SSLContext] = None) -> None:
        self.faults: Dict[str, List[object]] = {}
        self.always: Dict[str, object] = {}
        self.message = "no"
        self.figures_url: Optional[str] = None
        self.refuses_joined = False
        self.closes_after: List[str] = []
        self.connections = 0
        self.open_connections = 0
        self.asked: List[str] = []
        self.batches: List[List[str]] = []
        self.sizes: Dict[str, int] = {}
        self.begun: List[str] = []
        self.files: Dict[str, bytes] = {}
        self.keys: List[str] = []
        self.stopping = threading.Event()
        self.counting = threading.Lock()
        handler = type("Handler", (_Handler,), {"api": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._server.tls, self._server.api = tls, self
        self.port = int(self._server.server_port)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.put_url = self.url
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> "FigureApi":
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer_later(self, call: str) -> None:
        """Do something before a call is answered; a test may replace it."""

    def fault(self, call: str) -> object:
        """Return the next fault of a call; None for a right answer."""
        waiting = self.faults.get(call)
        return waiting.pop(0) if waiting else self.always.get(call)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    tls: Optional[ssl.SSLContext] = None
    api: FigureApi

    def process_request(self, request, client_address) -> None:
        with self.api.counting:
            self.api.connections += 1
            self.api.open_connections += 1
        super().process_request(request, client_address)

    def shutdown_request(self, request) -> None:
        super().shutdown_request(request)
        with self.api.counting:
            self.api.open_connections -= 1

    def finish_request(self, request, client_address) -> None:
        if self.tls is not None:
            with self.tls.wrap_socket(request, server_side=True) as encrypted:
                super().finish_request(encrypted, client_address)
            return
        super().finish_request(request, client_address)

    def handle_error(self, *_args: object) -> None:
        pass  # some tests are about clients that give up


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 64 * 1024
    api: FigureApi

    def log_message(self, *_args: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.api.keys.append(self.headers["x-api-key"])
        call = self.path.rpartition("/")[2]
        paths = [file["relativePath"] for file in body.get("files", [])]
        if self.api.refuses_joined and "manifest.json" in paths[1:]:
            self.api.asked.append(call)
            self._send(400, {"message": "manifest.json is not a figure's file"})
        elif not self._misbehaves(call):
            self._send(201 if call == "create" else 200, self._right_answer(call, body))
            self.close_connection = self.close_connection or call in self.api.closes_after

    def do_PUT(self) -> None:
        path = self.path.partition("?")[0].lstrip("/")
        self.api.begun.append(path)
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if not self._misbehaves("put"):
            self.api.files[path] = content
            self._send(200, {})

    def _right_answer(self, call: str, body: Dict[str, Any]) -> Dict[str, Any]:
        if call == "create":
            base = self.api.figures_url or self.api.url
            figure = {"figureUrl": f"{base}/figures/1/index.html", "status": "uploading"}
            return {"success": True, "figure": figure}
        files = body.get("files", [])
        if call == "upload":
            self.api.batches.append([file["relativePath"] for file in files])
            self.api.sizes.update((file["relativePath"], file["size"]) for file in files)
        signed = [
            {"relativePath": path, "signedUrl": f"{self.api.put_url}/{path}?{SIGNATURE}"}
            for file in files
            for path in [file["relativePath"]]
        ]
        return {"success": True, "mode": "server-signed", "signedUrls": signed}

    def _misbehaves(self, call: str) -> bool:
        self.api.asked.append(call)
        self.api.answer_later(call)
        fault = self.api.fault(call)
        if fault == "hang":
            self.api.stopping.wait(30)
        if fault in ("hang", "drop"):
            self.close_connection = True
        elif fault == "html":
            self._send(200, "<html>Sign in</html>")
        elif fault == "no success":
            self._send(200, {"success": False, "message": self.api.message})
        elif isinstance(fault, int):
            self._send(fault, {"message": self.api.message})
        return fault is not None

    def _send(self, status: int, content: object) -> None:
        body = (content if isinstance(content, str) else json.dumps(content)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 429:
            self.send_header("Retry-After", "7")
        self.end_headers()
        self.wfile.write(body)
