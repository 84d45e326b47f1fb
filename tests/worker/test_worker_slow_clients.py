"""Clients that are slow, or have no key: they take neither connections nor memory from others."""

import contextlib
import errno
import json
import socket
import threading
from pathlib import Path

import pytest
import requests
from waiting import BOUND_SEC, wait_until

from devaria.worker import connections
from devaria.worker.server import LocalWorker

NUM_SLOW = 300
GIB = 1024**3


class Slow:
    """Many connections that send a byte now and then."""

    def __init__(self, worker, head):
        self._address = ("127.0.0.1", int(worker.url.rpartition(":")[2]))
        self._head = head
        self._stop = threading.Event()
        self.sockets = []

    def open(self, number):
        """Open connections; each begins a request."""
        for _ in range(number):
            self.sockets.append(socket.create_connection(self._address, timeout=BOUND_SEC))
            self.sockets[-1].sendall(self._head)

    def drip(self):
        """Send a byte over each, again and again."""
        while not self._stop.wait(0.2):
            for each in self.sockets:
                with contextlib.suppress(OSError):
                    each.sendall(b"x")

    @contextlib.contextmanager
    def dripping(self):
        """Drip in a thread for the time of a block."""
        thread = threading.Thread(target=self.drip)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()
            for each in self.sockets:
                each.close()


def num_connections(worker):
    """Return how many connections the worker has."""
    return len(worker._server.active_channels)


def head(path, length, *lines):
    """Return the head of a POST."""
    first = (f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {length}", *lines)
    return "\r\n".join([*first, "", ""]).encode()


HALF_HEAD = b"POST /api/jobs/submit HTTP/1.1\r\nHost: x\r\nX-Slow: "
#: With the public key, a body may be sent.
HALF_BODY = head("/api/jobs/submit", 100_000, "Authorization: Bearer submit-key")


@pytest.fixture
def bearer(keys):
    """Return the header for a key."""
    return lambda level: {"Authorization": f"Bearer {getattr(keys, level)}"}


def submit(http, worker, bearer, number=0):
    """Submit a job; return the answer."""
    body = {"job_type": "t", "input_params": {"n": number}}
    url = f"{worker.url}/api/jobs/submit"
    return http.post(url, json=body, headers=bearer("submit"), timeout=BOUND_SEC)


@pytest.mark.parametrize("begun", [HALF_HEAD, HALF_BODY], ids=["head", "body"])
def test_slow_requests_keep_nobody_from_being_served(worker, http, bearer, begun):
    """With 300 slow requests open, jobs are submitted, claimed and kept alive."""
    slow = Slow(worker, begun)
    slow.open(NUM_SLOW)
    with slow.dripping():
        wait_until(lambda: num_connections(worker) >= NUM_SLOW)
        job_id = submit(http, worker, bearer).json()["job_id"]
        body = {"name": "r", "capabilities": ["t"]}
        api = f"{worker.url}/api/runner"
        runner = bearer("runner")
        reply = http.post(f"{api}/register", json=body, headers=runner, timeout=BOUND_SEC)
        runner["X-Runner-ID"] = reply.json()["runner_id"]
        url = f"{api}/jobs/{job_id}"
        assert http.post(f"{url}/claim", headers=runner, timeout=BOUND_SEC).ok
        beat = {"progress_current": 1, "progress_total": 2, "console_output": ""}
        assert http.post(f"{url}/heartbeat", json=beat, headers=runner, timeout=BOUND_SEC).ok
        # Nothing had to wait until the slow ones were gone.
        assert num_connections(worker) >= NUM_SLOW


@pytest.mark.parametrize(
    ("name", "begun"), [("HEAD_SEC", HALF_HEAD), ("BODY_SEC", HALF_BODY)], ids=["head", "body"]
)
def test_a_request_has_a_time_in_all(worker, monkeypatch, name, begun):
    """Each byte is in time, and the connection is closed all the same."""
    monkeypatch.setattr(connections, name, 1.0)
    monkeypatch.setattr(connections, "BODY_BYTES_PER_SEC", GIB)
    slow = Slow(worker, begun)
    slow.open(3)
    with slow.dripping():
        wait_until(lambda: num_connections(worker) == 3)
        wait_until(lambda: num_connections(worker) == 0)


def test_empty_lines_are_no_activity(worker, monkeypatch):
    """HTTP allows empty lines before a request; a connection does not live on them."""
    monkeypatch.setattr(connections, "HEAD_SEC", 1.0)
    slow = Slow(worker, b"\r\n\r\n")
    slow.open(1)

    def drip():
        with contextlib.suppress(OSError):
            slow.sockets[0].sendall(b"\r\n\r\n")
        return num_connections(worker) == 0

    wait_until(lambda: num_connections(worker) == 1)
    wait_until(drip)
    slow.sockets[0].close()


def test_for_a_new_connection_the_slowest_request_is_given_up(worker, http, bearer, monkeypatch):
    """More slow requests than there may be connections keep nobody out; idle runners stay."""
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 20)
    with requests.Session() as idle:
        idle.trust_env = False
        assert idle.get(worker.url + "/health", timeout=BOUND_SEC).ok
        slow = Slow(worker, HALF_HEAD)
        slow.open(60)
        with slow.dripping():
            for number in range(5):
                assert submit(http, worker, bearer, number).status_code == 201
            wait_until(lambda: num_connections(worker) <= 20)
            first, last = slow.sockets[0], slow.sockets[-1]
            with contextlib.suppress(ConnectionError):
                assert first.recv(1) == b""
            last.setblocking(False)
            with pytest.raises(BlockingIOError):
                last.recv(1)


def test_requests_that_wait_are_not_given_up(worker, http, bearer, monkeypatch):
    """A runner's held poll is a complete request, however many slow ones come after it."""
    body = {"name": "r", "capabilities": ["t"]}
    url = f"{worker.url}/api/runner"
    reply = http.post(f"{url}/register", json=body, headers=bearer("runner"), timeout=BOUND_SEC)
    headers = {**bearer("runner"), "X-Runner-ID": reply.json()["runner_id"], "Prefer": "wait=60"}
    told = []

    def poll():
        path = f"{url}/jobs/available?types[]=t"
        told.append(requests.get(path, headers=headers, timeout=BOUND_SEC).json()["jobs"])

    waiting = threading.Thread(target=poll)
    waiting.start()
    wait_until(lambda: worker._database.news.waits._line)
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 5)
    slow = Slow(worker, HALF_HEAD)
    slow.open(20)
    with slow.dripping():
        wait_until(lambda: num_connections(worker) <= 5)
        job_id = submit(http, worker, bearer).json()["job_id"]
        waiting.join(BOUND_SEC)
    assert [job["job_id"] for job in told[0]] == [job_id]


# Bodies


def answer_to(worker, request):
    """Send bytes; return status and body of the answer, which must end the connection."""
    port = int(worker.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=BOUND_SEC) as connection:
        connection.sendall(request)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    first, _, content = received.partition(b"\r\n\r\n")
    assert b"\r\nConnection: close" in first
    return int(first.split()[1]), content


SIGNED = f"/figpack/signed/{'0' * 32}/index.html?size=1&expires=9999999999999&signature=x"
REFUSED = [
    ("/api/jobs/submit", "Authorization: Bearer wrong", 401),
    ("/api/jobs/submit", "Authorization: Bearer runner-key", 401),
    ("/api/runner/register", "Authorization: Bearer submit-key", 401),
    ("/api/runner/jobs/x/complete", "Authorization: Bearer runner-key", 400),
    ("/api/admin/jobs/batch-delete", "X: y", 401),
    ("/figpack/figures/create", "X-API-Key: wrong", 401),
    (f"/dashboard/{'0' * 32}/submit", "Cookie: devaria-session=x", 403),
]


@pytest.mark.parametrize(("path", "line", "status"), REFUSED)
@pytest.mark.parametrize("sends", ["Content-Length: 900000000", "Transfer-Encoding: chunked"])
def test_a_request_without_key_is_answered_before_its_body(worker, path, line, status, sends):
    """Nobody waits for the body, and nothing of it is kept."""
    request = f"POST {path} HTTP/1.1\r\nHost: x\r\n{line}\r\n{sends}\r\n\r\n"
    request += "5\r\nhello\r\n" if "chunked" in sends else ""
    assert answer_to(worker, request.encode())[0] == status


def test_an_upload_without_signature_is_answered_before_its_body(worker):
    """Only who has the figure key gets signed URLs."""
    request = f"PUT {SIGNED} HTTP/1.1\r\nHost: x\r\nContent-Length: 900000000\r\n\r\n"
    assert answer_to(worker, request.encode())[0] == 403


def test_a_refused_client_that_sends_on_reads_why(worker, http):
    """The connection is not reset while the client still sends its body."""
    headers = {"Authorization": "Bearer wrong"}
    url = f"{worker.url}/api/jobs/submit"
    reply = http.post(url, data=b"x" * 700_000, headers=headers, timeout=BOUND_SEC)
    assert (reply.status_code, reply.json()) == (401, {"error": "Invalid API key"})


def test_the_body_of_a_refused_request_is_no_request(worker, stores):
    """A body that looks like a request of somebody with a key does nothing."""
    job_id = stores.job("pending")
    inside = f"DELETE /api/admin/jobs/{job_id} HTTP/1.1\r\nAuthorization: Bearer admin-key\r\n\r\n"
    request = head("/api/jobs/submit", len(inside), "Authorization: Bearer wrong")
    assert answer_to(worker, request + inside.encode())[0] == 401
    assert stores.jobs.get(job_id) is not None


def test_a_refused_client_is_not_asked_to_send_its_body(worker):
    """`Expect: 100-continue` asks for permission."""
    line = "Authorization: Bearer wrong"
    request = head("/api/jobs/submit", 1000, line, "Expect: 100-continue")
    assert answer_to(worker, request)[0] == 401


def test_a_body_that_nobody_reads_is_not_kept(worker):
    """A look at a job needs neither a key nor a body."""
    request = head("/api/admin/jobs/none", 700_000).replace(b"POST", b"GET", 1)
    assert answer_to(worker, request)[0] == 404  # before its body is there


LIMITS = [
    ("/api/jobs/submit", "submit", 1_000_000),
    ("/api/jobs/check", "submit", 1_000_000),
    ("/api/admin/jobs/batch-delete", "admin", 1_000_000),
    ("/api/runner/register", "runner", 20_000_000),
]


@pytest.mark.parametrize(("path", "level", "size"), LIMITS)
@pytest.mark.parametrize("is_chunked", [False, True])
def test_bodies_are_small(worker, bearer, path, level, size, is_chunked):
    """Also with the key, a body that no request needs is answered before all of it is there."""
    lines = [f"Authorization: {bearer(level)['Authorization']}"]
    if is_chunked:
        start = "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", *lines])
        piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        request = f"{start}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        request += piece * (size // 0x10000 + 1)
    else:
        request = head(path, size, *lines)
    status, body = answer_to(worker, request)
    assert status == 500
    assert json.loads(body)["details"].startswith("Request body exceeds ")


@pytest.mark.parametrize("path", ["/api/admin/jobs/x", "/figpack/api/x", "/api/jobs/x"])
def test_the_body_of_a_get_is_not_kept(worker, path):
    """Such routes read none, and some of them check no key."""
    begun = f"GET {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 700000\r\n\r\n".encode()
    address = ("127.0.0.1", int(worker.url.rpartition(":")[2]))
    with socket.create_connection(address, timeout=BOUND_SEC) as connection:
        connection.sendall(begun)
        assert connection.recv(4) == b"HTTP"


def test_the_largest_valid_submission_still_passes(worker, http, bearer):
    """Every character escaped, as a client may write it."""
    text = "\\u0001" * 17_000  # each is 6 units in the worker's JSON
    data = f'{{"job_type":"t","input_params":{{"a":"{text}"}}}}'.encode()
    url = f"{worker.url}/api/jobs/submit"
    assert http.post(url, data=data, headers=bearer("submit"), timeout=BOUND_SEC).status_code == 201
    escaped = "\\u00e9" * 102_000
    data = f'{{"job_type":"t","input_params":{{"a":"{escaped}"}}}}'.encode()
    assert http.post(url, data=data, headers=bearer("submit"), timeout=BOUND_SEC).status_code == 201


def test_nothing_is_written_for_clients_without_key(tmp_path, keys, monkeypatch):
    """Bodies over a megabyte go to a file, but only with a key."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    opened = []
    with LocalWorker(tmp_path / "data", port=0, keys=keys) as worker:
        monkeypatch.setattr(
            "waitress.buffers.TempfileBasedBuffer.newfile",
            lambda *_: opened.append(1) or (scratch / str(len(opened))).open("w+b"),
        )
        for authorization in ("Bearer wrong", f"Bearer {keys.runner}"):
            headers = {"Authorization": authorization, "X-Runner-ID": "x"}
            url = f"{worker.url}/api/runner/jobs/x/complete"
            body = b'{"output_data":1,"console_output":"' + b"x" * 1_500_000 + b'"}'
            requests.post(url, data=body, headers=headers, timeout=BOUND_SEC)
            opened.append(authorization)
    assert opened[0] == "Bearer wrong"
    assert len(opened) > 2
    assert Path(scratch).is_dir()


def test_two_hundred_idle_runners_keep_their_connections(worker):
    """Connections that wait between two requests are kept, and answer again."""
    port = int(worker.url.rpartition(":")[2])
    ask = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    with contextlib.ExitStack() as stack:
        runners = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=BOUND_SEC))
            for _ in range(200)
        ]
        for _ in range(2):
            for each in runners:
                each.sendall(ask)
            for each in runners:
                received = b""
                while b"devaria-worker" not in received.partition(b"\r\n\r\n")[2]:
                    received += each.recv(4096)


def test_without_a_file_for_a_new_connection_an_old_one_is_closed(
    worker, http, monkeypatch, caplog
):
    """The client gets in, and the log says it once."""
    real = socket.socket.accept
    failed = []

    def accept(listener):
        if len(failed) < 3:
            failed.append(listener)
            raise OSError(errno.EMFILE, "Too many open files")
        return real(listener)

    slow = Slow(worker, HALF_HEAD)
    slow.open(3)
    wait_until(lambda: num_connections(worker) == 3)
    monkeypatch.setattr(socket.socket, "accept", accept)
    assert http.get(f"{worker.url}/health", timeout=BOUND_SEC).ok
    for each in slow.sockets:
        with contextlib.suppress(ConnectionError):
            assert each.recv(1) == b""
        each.close()
    said = [each.getMessage() for each in caplog.records if "open files" in each.getMessage()]
    assert len(said) == 1
    assert not any(each.exc_info for each in caplog.records)
