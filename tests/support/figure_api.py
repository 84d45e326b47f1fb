"""A figure API on loopback for figpack's client, which can be told to misbehave."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Dict, List

SIGNATURE = "X-Signature=s3cr3t"


class FigureApi:
    """Accepts uploads for the length of a ``with`` block.

    There are four calls: "create", "upload", "put" and "finalize". Each request takes one fault
    from the list of its call in ``faults``; when there are no more, that in ``always`` applies. A
    fault is a status (sent with ``message``), "hang" (no answer until the server stops), "html", or
    "no success". Files go to ``put_port``, which is this server's unless a test changes it.
    """

    def __init__(self) -> None:
        self.faults: Dict[str, List[object]] = {}
        self.always: Dict[str, object] = {}
        self.message = "no"
        self.asked: List[str] = []
        self.files: Dict[str, bytes] = {}
        self.keys: List[str] = []
        self.stopping = threading.Event()
        handler = type("Handler", (_Handler,), {"api": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.put_port = self.port = int(self._server.server_port)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> "FigureApi":
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """The value for FIGPACK_API_BASE_URL."""
        return f"http://127.0.0.1:{self.port}"

    def fault(self, call: str) -> object:
        """Return the next fault of a call; None for a right answer."""
        waiting = self.faults.get(call)
        return waiting.pop(0) if waiting else self.always.get(call)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

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
        if not self._misbehaves(call):
            self._send(201 if call == "create" else 200, self._right_answer(call, body))

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if not self._misbehaves("put"):
            self.api.files[self.path.partition("?")[0].lstrip("/")] = content
            self._send(200, {})

    def _right_answer(self, call: str, body: Dict[str, Any]) -> Dict[str, Any]:
        if call == "create":
            figure = {"figureUrl": f"{self.api.url}/figures/1/index.html", "status": "uploading"}
            return {"success": True, "figure": figure}
        base = f"http://127.0.0.1:{self.api.put_port}"
        signed = [
            {"relativePath": file["relativePath"], "signedUrl": f"{base}/{path}?{SIGNATURE}"}
            for file in body.get("files", [])
            for path in [file["relativePath"]]
        ]
        return {"success": True, "mode": "server-signed", "signedUrls": signed}

    def _misbehaves(self, call: str) -> bool:
        self.api.asked.append(call)
        fault = self.api.fault(call)
        if fault == "hang":
            self.api.stopping.wait(30)
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
