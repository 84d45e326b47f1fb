"""The figure store: signed URLs, paths, and the real upload client of figpack."""

import json
import os
import socket
import subprocess
import sys
import time
from urllib.parse import quote

import pytest

from devaria.worker.store.figures import FigureStore, UrlSigner, is_safe_path

HOUR_MS = 3600 * 1000
PAGE = b"<!doctype html><title>figure</title>"
BAD_PATHS = [
    *("", "/", "/etc/passwd", "..", "../x", "a/../b", "a/..", ".", "./a", "a//b", "a/", "a\\b"),
    *("..\\x", "C:/x", "c:x", "a\x00b", "a\nb", "\ud800", "a/" + "b" * 256, "a/" * 600 + "b"),
]


class Uploader:
    """Makes the calls that figpack's client makes, one by one."""

    def __init__(self, worker, http):
        self.api, self.http = worker.figpack_api_url, http
        self.headers = {"x-api-key": worker.keys.runner}

    def call(self, path, body, **headers):
        """POST to the figure API."""
        headers = {**self.headers, **headers}
        return self.http.post(self.api + path, json=body, headers=headers, timeout=10)

    def create(self):
        """Create a figure; return its URL."""
        reply = self.call("/figures/create", {"title": "t", "totalFiles": 1})
        assert reply.status_code == 201
        assert reply.json()["success"] is True
        assert reply.json()["figure"]["status"] == "uploading"
        return reply.json()["figure"]["figureUrl"]

    def sign(self, figure_url, path, size):
        """Ask for one signed URL."""
        files = [{"relativePath": path, "size": size}]
        reply = self.call("/upload", {"figureUrl": figure_url, "files": files})
        assert reply.status_code == 200
        assert (reply.json()["success"], reply.json()["mode"]) == (True, "server-signed")
        (signed,) = reply.json()["signedUrls"]
        assert signed["relativePath"] == path
        return signed["signedUrl"]

    def put(self, url, content):
        """PUT to a signed URL, without a key."""
        headers = {"Content-Type": "text/html"}
        return self.http.put(url, data=content, headers=headers, timeout=10)

    def get(self, figure_url, path, **arguments):
        """GET a file of a figure."""
        url = figure_url[: -len("index.html")] + quote(path)
        return self.http.get(url, timeout=10, **arguments)


@pytest.fixture
def uploader(worker, http):
    """An upload client."""
    return Uploader(worker, http)


def test_a_figure_is_created_uploaded_finalized_and_served(worker, uploader, clock):
    """The four calls lead to a page with its figpack.json beside it."""
    url = uploader.create()
    assert url.startswith(f"{worker.url}/figures/")
    assert url.endswith("/index.html")
    assert uploader.put(uploader.sign(url, "index.html", len(PAGE)), PAGE).status_code == 200
    reply = uploader.call("/figures/finalize", {"figureUrl": url})
    assert (reply.status_code, reply.json()["success"]) == (200, True)
    page = uploader.get(url, "index.html")
    assert (page.status_code, page.content) == (200, PAGE)
    described = uploader.get(url, "figpack.json")
    assert described.headers["Content-Type"] == "application/json"
    fields = described.json()
    assert (fields["title"], fields["status"]) == ("t", "completed")
    assert (fields["pinned"], fields["deleted"]) == (False, False)
    assert fields["expiration"] == clock.now + 24 * HOUR_MS


def test_urls_lead_to_the_name_that_the_request_came_to(worker, uploader):
    """A runner on another machine gets URLs with the host name that it used."""
    headers = {"Host": "lab.example:8787"}
    reply = uploader.call("/figures/create", {}, **headers)
    url = reply.json()["figure"]["figureUrl"]
    assert url.startswith("http://lab.example:8787/figures/")
    files = [{"relativePath": "index.html", "size": len(PAGE)}]
    body = {"figureUrl": url, "files": files}
    signed = uploader.call("/upload", body, **headers).json()["signedUrls"][0]["signedUrl"]
    assert signed.startswith("http://lab.example:8787/figpack/")
    # The signature does not depend on the name: a proxy may bring the request by another one.
    local = signed.replace("http://lab.example:8787", worker.url)
    assert uploader.put(local, PAGE).status_code == 200


@pytest.mark.parametrize("path", ["/figures/create", "/upload", "/figures/finalize"])
@pytest.mark.parametrize("key", ["", "wrong", "submit-key", "admin-key"])
def test_only_the_runner_key_may_upload(uploader, path, key):
    """Every other key is refused, with a message that figpack's client shows."""
    reply = uploader.call(path, {}, **{"x-api-key": key})
    assert reply.status_code == 401
    assert reply.json() == {"success": False, "message": "Invalid API key"}


def test_a_signed_url_that_was_tampered_with_is_refused(uploader):
    """A change of the figure, path, size, expiry or signature makes the URL invalid."""
    url, other = uploader.create(), uploader.create()
    signed = uploader.sign(url, "a.json", 2)
    figure_id, other_id = url.split("/")[-2], other.split("/")[-2]
    signature = signed.rpartition("=")[2]
    flipped = ("0" if signature[0] != "0" else "1") + signature[1:]
    tampered = [
        signed.replace(figure_id, other_id),
        signed.replace("a.json", "b.json"),
        signed.replace("a.json", "index.html"),
        signed.replace("a.json", "x%2F..%2Fa.json"),
        signed.replace("size=2", "size=3"),
        signed.replace("size=2", "size=02"),
        signed.replace("expires=1", "expires=2"),
        signed.replace(signature, flipped),
        signed.replace(signature, ""),
        signed.replace(signature, quote("é")),
        signed.replace(signature, signature.upper()),
        signed.partition("?")[0],
        signed.partition("&signature")[0],
        signed.replace("expires=", "expires=x&y="),
    ]
    for bad in tampered:
        assert bad != signed
        reply = uploader.put(bad, b"{}")
        assert reply.status_code == 403, bad
        assert reply.json()["success"] is False
    assert uploader.get(url, "a.json").status_code == 404
    assert uploader.get(other, "a.json").status_code == 404
    assert uploader.put(signed, b"{}").status_code == 200


def test_a_signed_url_expires_after_an_hour(uploader, clock):
    """The URL is valid until the last millisecond of the hour."""
    signed = uploader.sign(uploader.create(), "a.json", 2)
    clock.now += HOUR_MS
    assert uploader.put(signed, b"{}").status_code == 403
    clock.now -= 1
    assert uploader.put(signed, b"{}").status_code == 200


def test_signed_urls_of_another_secret_are_refused(clock):
    """A URL is valid only for the worker that signed it."""
    one, two = UrlSigner(b"1" * 32, clock), UrlSigner(b"2" * 32, clock)
    query = dict(
        pair.split("=") for pair in one.sign("f" * 32, "a", 1).partition("?")[2].split("&")
    )
    assert one.is_valid("f" * 32, "a", query)
    assert not two.is_valid("f" * 32, "a", query)


def test_two_urls_never_have_the_same_signature(clock):
    """Moving a line break from one part to the next does not make another valid URL."""
    signer = UrlSigner(b"1" * 32, clock)
    signed = signer.sign("f", "a", 1)
    expires, signature = signed.split("expires=")[1].split("&signature=")
    query = {"size": "1", "expires": expires, "signature": signature}
    assert signer.is_valid("f", "a", query)
    assert not signer.is_valid("f\na", "1", {**query, "size": ""})
    assert not signer.is_valid("f\na", "1", {**query, "size": expires})
    assert not signer.is_valid("", "f\na", query)


@pytest.mark.parametrize("path", BAD_PATHS)
def test_paths_that_leave_the_figure_are_refused(uploader, path):
    """Such paths get no signed URL."""
    url = uploader.create()
    body = {"figureUrl": url, "files": [{"relativePath": path, "size": 1}]}
    assert not is_safe_path(path)
    reply = uploader.call("/upload", body)
    assert reply.status_code == 400
    assert "relativePath" in reply.json()["message"]


@pytest.mark.parametrize("path", ["figpack.json", "FIGPACK.json"])
def test_the_worker_writes_figpack_json_itself(uploader, path):
    """A client cannot set its figure's expiration."""
    body = {"figureUrl": uploader.create(), "files": [{"relativePath": path, "size": 1}]}
    assert uploader.call("/upload", body).status_code == 400


@pytest.mark.parametrize("path", [".zattrs", "data.zarr/x/0.0", "a b/é+%&?#.txt", "a/..b", "..."])
def test_unusual_paths_that_stay_in_the_figure_are_taken(uploader, path):
    """Names of zarr files and characters that URLs quote arrive as they were sent."""
    url = uploader.create()
    assert uploader.put(uploader.sign(url, path, 4), b"data").status_code == 200
    assert uploader.get(url, path).content == b"data"


@pytest.mark.parametrize("files", [None, [], {}, [{}] * 21, [1], [{"relativePath": "a"}]])
def test_an_invalid_list_of_files_is_400(uploader, files):
    """One request signs 1 to 20 files, each with path and size."""
    reply = uploader.call("/upload", {"figureUrl": uploader.create(), "files": files})
    assert (reply.status_code, reply.json()["success"]) == (400, False)


@pytest.mark.parametrize("size", [-1, 1.5, "1", None, True])
def test_an_invalid_size_is_400(uploader, size):
    """A size is a whole number of bytes."""
    body = {"figureUrl": uploader.create(), "files": [{"relativePath": "a", "size": size}]}
    assert uploader.call("/upload", body).status_code == 400


@pytest.mark.parametrize("content", [b"", b"abc", b"abcde", b"x" * 1_000_000])
def test_a_file_of_another_size_than_declared_is_not_kept(tmp_path, uploader, content):
    """More or fewer bytes than were signed leave nothing behind."""
    url = uploader.create()
    reply = uploader.put(uploader.sign(url, "a.json", 4), content)
    assert (reply.status_code, reply.json()["success"]) == (400, False)
    assert uploader.get(url, "a.json").status_code == 404
    assert list((tmp_path / "worker" / "figures" / ".incoming").iterdir()) == []


def test_a_file_that_is_uploaded_again_is_replaced(uploader):
    """Figpack's client tries a PUT up to five times."""
    url = uploader.create()
    signed = uploader.sign(url, "a.txt", 3)
    assert uploader.put(signed, b"one").status_code == 200
    assert uploader.put(signed, b"two").status_code == 200
    assert uploader.get(url, "a.txt").content == b"two"


def test_a_file_cannot_be_a_directory_too(uploader):
    """A path that would need a file to be a directory too is refused with 400."""
    url = uploader.create()
    assert uploader.put(uploader.sign(url, "a/b", 1), b"1").status_code == 200
    assert uploader.put(uploader.sign(url, "a", 1), b"1").status_code == 400
    assert uploader.put(uploader.sign(url, "a/b/c", 1), b"1").status_code == 400
    assert uploader.get(url, "a/b").content == b"1"


def test_a_figure_without_a_page_is_not_finalized(uploader):
    """The uploader hears at once that the figure cannot be opened."""
    url = uploader.create()
    assert uploader.call("/figures/finalize", {"figureUrl": url}).status_code == 400
    assert uploader.get(url, "figpack.json").json()["status"] == "uploading"


@pytest.mark.parametrize("path", ["/upload", "/figures/finalize"])
@pytest.mark.parametrize(
    "url",
    [None, 1, "", "x", "http://h/figures/../index.html", f"http://h/figures/{'0' * 32}/index.html"],
)
def test_an_unknown_figure_is_404(uploader, path, url):
    """Only URLs of this store's figures are known."""
    files = [{"relativePath": "a", "size": 1}]
    reply = uploader.call(path, {"figureUrl": url, "files": files})
    assert (reply.status_code, reply.json()["message"]) == (404, "Figure not found")


def test_malformed_json_is_400(worker, uploader):
    """The figure API answers a mistake of the caller with 400, not with 500."""
    url = worker.figpack_api_url + "/figures/create"
    reply = uploader.http.post(url, data=b"{", headers=uploader.headers, timeout=10)
    assert reply.status_code == 400


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("index.html", "text/html; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.CSS", "text/css; charset=utf-8"),
        ("a.png", "image/png"),
        ("a.svg", "image/svg+xml; charset=utf-8"),
        ("a.json", "application/json"),
        (".zmetadata", "application/json"),
        ("0.0", "application/octet-stream"),
        ("html", "text/html; charset=utf-8"),
        ("a.exe", "application/octet-stream"),
    ],
)
def test_files_have_the_right_type_and_can_be_read_from_anywhere(uploader, name, content_type):
    """The type follows the name, never the content, and pages of other origins may read it."""
    url = uploader.create()
    uploader.put(uploader.sign(url, name, len(PAGE)), PAGE)
    headers = uploader.get(url, name).headers
    assert headers["Content-Type"] == content_type
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Access-Control-Allow-Origin"] == "*"


def test_ranges_of_a_file_can_be_read(uploader):
    """Zarr readers ask for parts of a file."""
    url = uploader.create()
    uploader.put(uploader.sign(url, "a.dat", 10), b"0123456789")
    reply = uploader.get(url, "a.dat", headers={"Range": "bytes=2-4"})
    assert (reply.status_code, reply.content) == (206, b"234")


RAW_PATHS = [
    "/figures/../jobs.sqlite3",
    "/figures/../../keys.json",
    "/figures/{id}/../../jobs.sqlite3",
    "/figures/{id}/..%2f..%2fjobs.sqlite3",
    "/figures/{id}/%2e%2e/%2e%2e/jobs.sqlite3",
    "/figures/{id}/..\\..\\jobs.sqlite3",
    "/figures/{id}//etc/passwd",
    "/figures/{id}/%00",
    "/figures/{id}/",
    "/figures/{id}",
    "/figures/.incoming/x",
    "/figures/%2e%2e/jobs.sqlite3",
]


@pytest.mark.parametrize("raw", RAW_PATHS)
def test_nothing_outside_a_figure_is_served(worker, uploader, raw):
    """Paths that a client sends without normalising them are not found."""
    figure_id = uploader.create().split("/")[-2]
    host, port = worker.url[len("http://") :].split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        path = raw.format(id=figure_id)
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        reply = b"".join(iter(lambda: connection.recv(65536), b""))
    assert reply.startswith(b"HTTP/1.1 404 ")
    assert b'{"error":"Not found"}' in reply


def test_a_figure_store_reads_its_own_figures_only(tmp_path, clock):
    """The store recognises a URL by the figure's random id, under any host name."""
    store = FigureStore(tmp_path, clock)
    figure_id = store.create({})
    assert store.figure_id(f"http://anything:1/figures/{figure_id}/index.html") == figure_id
    for url in (
        f"http://h/figures/{figure_id}/other.html",
        f"http://h/x/figures/{figure_id}/index.html",
        f"file:///figures/{figure_id}/index.html",
        f"http://h/figures/{'0' * 32}/index.html",
        f"http://h/figures/{figure_id.upper()}x/index.html",
    ):
        assert store.figure_id(url) is None


def test_a_result_with_an_own_figure_is_checked_without_asking_over_http(
    worker, uploader, http, keys, clock
):
    """The host in the URL need not resolve, and the figure expires on time."""
    url = uploader.create().replace(worker.url, "http://no-such-host.invalid:1")
    bearer = {"Authorization": f"Bearer {keys.runner}"}
    reply = http.post(
        f"{worker.url}/api/runner/register",
        json={"name": "r", "capabilities": ["t"]},
        headers=bearer,
        timeout=10,
    )
    runner = {**bearer, "X-Runner-ID": reply.json()["runner_id"]}
    submitter = {"Authorization": f"Bearer {keys.submit}"}

    def submit():
        body = {"job_type": "t", "input_params": {}}
        path = f"{worker.url}/api/jobs/submit"
        return http.post(path, json=body, headers=submitter, timeout=10).json()

    job = f"{worker.url}/api/runner/jobs/{submit()['job_id']}"
    http.post(f"{job}/claim", headers=runner, timeout=10)
    report = {"output_data": {"figpack_url": url}, "console_output": ""}
    assert http.post(f"{job}/complete", json=report, headers=runner, timeout=10).ok
    start = time.monotonic()
    assert submit()["status"] == "completed"
    clock.now += 24 * HOUR_MS - 1
    assert submit()["status"] == "completed"
    clock.now += 1
    assert submit()["status"] == "expired"
    assert submit()["status"] == "pending"
    assert time.monotonic() - start < 2


SHOW = """
import figpack.views
view = figpack.views.Markdown("# A figure")
print("URL", view.show(title="A title", upload=True, wait_for_input=False, open_in_browser=False))
"""


def test_the_real_figpack_client_uploads_a_figure(worker, uploader):
    """`view.show(upload=True)` works with nothing but two environment variables."""
    pytest.importorskip("figpack")
    environ = {
        **os.environ,
        "FIGPACK_API_BASE_URL": worker.figpack_api_url,
        "FIGPACK_API_KEY": worker.keys.runner,
        "NO_PROXY": "127.0.0.1",
    }
    shown = subprocess.run(
        [sys.executable, "-c", SHOW],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    url = shown.stdout.rpartition("URL ")[2].strip()
    page = uploader.get(url, "index.html")
    assert page.status_code == 200
    assert "<script" in page.text
    description = uploader.get(url, "figpack.json").json()
    assert (description["title"], description["status"]) == ("A title", "completed")
    for file in uploader.get(url, "manifest.json").json()["files"]:
        served = uploader.get(url, file["path"])
        assert (served.status_code, len(served.content)) == (200, file["size"])
    assert json.loads(uploader.get(url, "data.zarr/.zmetadata").content)
