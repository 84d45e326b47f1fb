"""Parts of an upload by themselves: lanes, the manifest that is signed ahead, the store's host."""

import io
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

import pytest
from waiting import wait_until

from devaria.figures.upload import lanes
from devaria.figures.upload.lanes import Lanes
from devaria.figures.upload.manifest import ManifestAhead, signed_urls
from devaria.figures.upload.store_hint import remember_store, remembered_store

API = "https://api.example"

# --- lanes -----------------------------------------------------------------------------------


class Uploads:
    """Threads with a file each, that hold a lane until they are let go."""

    def __init__(self, shared: Lanes) -> None:
        self.begun: List[int] = []
        self.expect = shared.expect
        self._lanes = shared
        self._ends: Dict[int, threading.Event] = {}
        self._threads: List[threading.Thread] = []

    def add(self, *sizes: int) -> None:
        """Start a thread for a file of each size."""
        for size in sizes:
            self._ends[size] = threading.Event()
            self._threads.append(threading.Thread(target=self._upload, args=(size,)))
            self._threads[-1].start()

    def end(self, *sizes: int) -> None:
        """Let the threads of these files end."""
        for size in sizes:
            self._ends[size].set()

    def wait_for(self, *sizes: int) -> None:
        """Wait until exactly these have got a lane, in any order of the first ones."""
        wait_until(
            lambda: len(self.begun) >= len(sizes), f"{sizes}", context=lambda: str(self.begun)
        )
        assert sorted(self.begun) == sorted(sizes)

    def join(self) -> None:
        """Let all end."""
        self.end(*self._ends)
        for thread in self._threads:
            thread.join(60)

    def _upload(self, size: int) -> None:
        with self._lanes.lane(size):
            self.begun.append(size)
            self._ends[size].wait(60)


@pytest.fixture
def uploads() -> Iterator[Uploads]:
    """Threads that share two lanes."""
    made = Uploads(Lanes(2))
    yield made
    made.join()


def test_the_largest_of_those_expected_go_first(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although smaller ones come before them."""
    monkeypatch.setattr(lanes, "_GATHERING_SEC", 60.0)
    uploads.expect(4)
    uploads.add(1, 2, 30, 20)
    uploads.wait_for(30, 20)
    uploads.end(20)
    uploads.wait_for(30, 20, 2)
    uploads.end(30)
    uploads.wait_for(30, 20, 2, 1)


def test_files_do_not_wait_for_ever_for_those_expected(uploads: Uploads) -> None:
    """Fewer may come."""
    uploads.expect(100)
    uploads.add(1, 2)
    uploads.wait_for(1, 2)


def test_later_files_wait_for_nobody(uploads: Uploads) -> None:
    """Such as a file that is tried again."""
    uploads.expect(1)
    uploads.add(5)
    uploads.wait_for(5)
    uploads.add(6)
    uploads.wait_for(5, 6)


def test_a_lane_is_free_after_a_failure() -> None:
    """Whatever ends the block."""
    one = Lanes(1)
    for _ in range(3):
        with pytest.raises(ValueError, match="x"), one.lane(1):
            raise ValueError("x")


# --- the manifest ----------------------------------------------------------------------------


class Answer:
    """An answer of the API that signs what was asked for."""

    def __init__(self, request: Any, mode: str = "server-signed") -> None:
        self._content = {
            "mode": mode,
            "signedUrls": [
                {"relativePath": file["relativePath"], "signedUrl": f"{API}/{file['relativePath']}"}
                for file in request["files"]
            ],
        }

    def json(self) -> Any:
        """Return its JSON."""
        return self._content


def batch(*names: str, size: int = 10) -> Dict[str, Any]:
    """Return a request for signed URLs."""
    return {"figureUrl": "u", "files": [{"relativePath": n, "size": size} for n in names]}


def as_figpack_writes_it(timestamp: float, *names: str) -> str:
    """Return the manifest of files of 10 bytes."""
    return json.dumps(
        {
            "timestamp": timestamp,
            "files": [{"path": name, "size": 10} for name in names],
            "total_size": 10 * len(names),
            "total_files": len(names),
        },
        indent=2,
    )


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time, in seconds."""
        return self.now


@pytest.mark.parametrize("timestamp", [1764211234.1234567, 1764211234.5, 1764211234.0])
def test_the_manifest_fits_with_any_timestamp(timestamp: float) -> None:
    """Spaces fill it up to the size that was named."""
    names = ["a", "b/é"]
    manifest = ManifestAhead(2)
    joined = manifest.joined(batch(*names))
    manifest.note(Answer(joined))
    text = as_figpack_writes_it(timestamp, *names)

    own = {"figureUrl": "u", "files": [{"relativePath": "manifest.json", "size": len(text)}]}
    assert manifest.answer_to(own) is not None
    body = manifest.body(f"{API}/manifest.json", io.BytesIO(text.encode()))

    assert len(body) == joined["files"][-1]["size"]
    assert json.loads(body) == json.loads(text)
    other = io.BytesIO(b"x")
    assert manifest.body(f"{API}/a", other) is other


def test_it_joins_the_last_batch() -> None:
    """Which is the one with which all files are named."""
    manifest = ManifestAhead(25)
    first, last = batch(*map(str, range(20))), batch(*map(str, range(20, 25)))
    assert manifest.joined(first) is first
    assert [file["relativePath"] for file in manifest.joined(last)["files"]][-2:] == [
        "24",
        "manifest.json",
    ]


def test_it_does_not_join_a_full_batch() -> None:
    """The API signs 20 files at a time."""
    request = batch(*map(str, range(20)))
    assert ManifestAhead(20).joined(request) is request


@pytest.mark.parametrize(
    "request_",
    [{}, {"files": None}, {"files": ["a"]}, {"files": [{"path": "a"}]}, {"files": []}],
)
def test_requests_of_another_form_are_left_alone(request_: Dict[str, Any]) -> None:
    """A later version of figpack may make them."""
    for count in (None, 0, 1):
        manifest = ManifestAhead(count)
        assert manifest.joined(request_) is request_
        assert manifest.answer_to(request_) is None


@pytest.mark.parametrize(
    ("size_change", "seconds", "mode"),
    [
        (1, 0.0, "server-signed"),  # larger than expected
        (-40, 0.0, "server-signed"),  # another form
        (0, 61.0, "server-signed"),  # signed too long ago
        (0, 0.0, "client-signed"),
    ],
)
def test_what_was_not_expected_is_asked_for(size_change: int, seconds: float, mode: str) -> None:
    """As figpack alone would."""
    clock = Clock()
    manifest = ManifestAhead(1, clock)
    joined = manifest.joined(batch("a"))
    manifest.note(Answer(joined, mode))
    clock.now += seconds
    size = joined["files"][-1]["size"] + size_change
    own = {"files": [{"relativePath": "manifest.json", "size": size}]}
    assert manifest.answer_to(own) is None
    content = io.BytesIO(b"x")
    assert manifest.body(f"{API}/manifest.json", content) is content


@pytest.mark.parametrize("content", [None, [], {}, {"mode": "server-signed", "signedUrls": [1]}])
def test_answers_of_another_form_sign_nothing(content: Any) -> None:
    """Figpack reports them."""

    class Odd:
        def json(self) -> Any:
            return content

    assert signed_urls(Odd()) == {}


# --- the store's host ------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of caches; it does not exist yet."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.mark.parametrize(
    ("url", "store"),
    [
        ("https://store.example/b/file?X-Signature=s3cr3t", "https://store.example"),
        ("http://127.0.0.1:8000/f", "http://127.0.0.1:8000"),
        ("https://[::1]:8000/f", "https://[::1]:8000"),
        ("https://user:secret@store.example/f", None),
        ("ftp://store.example/f", None),
        ("file", None),
    ],
)
def test_the_host_is_remembered_and_no_more(cache: Path, url: str, store: Optional[str]) -> None:
    """Neither a signature nor a login."""
    remember_store(API, url)
    assert remembered_store(API) == store
    assert remembered_store("https://other.example") is None
    kept = "".join(path.read_text() for path in cache.rglob("*.json"))
    assert "s3cr3t" not in kept
    assert "secret" not in kept


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "null",
        '{"api": "https://api.example"}',
        '{"api": "https://api.example", "store": 5}',
        '{"api": "https://api.example", "store": "https://evil.example/path"}',
        '{"api": "https://api.example", "store": "gopher://x"}',
    ],
)
def test_a_file_of_another_form_is_ignored_and_replaced(cache: Path, content: str) -> None:
    """It is only a hint."""
    remember_store(API, "https://store.example/f")
    (path,) = cache.rglob("*.json")
    path.write_text(content)
    assert remembered_store(API) is None
    remember_store(API, "https://store.example/f")
    assert remembered_store(API) == "https://store.example"


@pytest.mark.skipif(sys.platform == "win32", reason="pipes as POSIX has them")
def test_a_pipe_in_the_place_of_the_file_is_no_fault(cache: Path) -> None:
    """Another job may have put it there. Who opens it would wait for ever."""
    remember_store(API, "https://store.example/f")
    (path,) = cache.rglob("*.json")
    path.unlink()
    os.mkfifo(path)
    assert remembered_store(API) is None
    remember_store(API, "https://store.example/f")
    assert remembered_store(API) == "https://store.example"


def test_a_folder_that_cannot_be_written_is_no_fault(cache: Path) -> None:
    """The next upload takes a little longer."""
    cache.write_text("a file, where a folder should be")
    remember_store(API, "https://store.example/f")
    assert remembered_store(API) is None


def test_an_unchanged_host_is_not_written_again(cache: Path) -> None:
    """Each upload would write to the disk."""
    remember_store(API, "https://store.example/f")
    (path,) = cache.rglob("*.json")
    before = path.stat().st_mtime_ns, path.stat().st_ino
    remember_store(API, "https://store.example/g")
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before
