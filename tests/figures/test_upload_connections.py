"""The connections of an upload: few, opened ahead, proved, replaced when stale, and closed."""

import json
import socket
import threading
import time
from pathlib import Path
from typing import Any, Callable, Iterator, List

import numpy as np
import pytest
import requests
from certificates import server_context
from figure_api import FigureApi
from waiting import wait_until

from devaria.figures import publish
from devaria.figures.raster import UnitsRasterPlot
from devaria.figures.upload import UploadLimits, connections, lanes, opened_connections
from devaria.figures.upload.store_hint import remember_store
from devaria.nwb.units.table import UnitsTable

TABLE = UnitsTable(
    unit_ids=["0"],
    unit_rows=np.arange(1),
    spike_times_sec=np.array([0.5, 1.5, 8.75], dtype=np.float32),
    unit_stops=np.array([3]),
    start_time_sec=0.5,
    end_time_sec=8.75,
    num_rows=1,
    num_dropped=0,
)
#: A figure's files, and how often each call is made for them.
NUM_FILES = 8
CALLS = ["create", "upload", *["put"] * (NUM_FILES + 1), "finalize"]

MAX_CONNECTIONS = 8


@pytest.fixture
def api(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    point_figpack_to: Callable[[str], None],
) -> Iterator[FigureApi]:
    """Run a figure API that speaks TLS, and whose certificate is trusted."""
    tls = server_context(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "loopback.pem"))
    with FigureApi(tls) as running:
        point_figpack_to(running.url)
        yield running
        wait_until(lambda: running.open_connections == 0, "the end of all connections")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FigureApi]:
    """Run another server with the same certificate."""
    with FigureApi(server_context(tmp_path)) as running:
        yield running
        wait_until(lambda: running.open_connections == 0, "the end of all connections")


def upload(**options: Any) -> str:
    """Upload a small figure."""
    return publish(UnitsRasterPlot(TABLE), title="T", **options)


def test_an_upload_takes_few_connections(api: FigureApi) -> None:
    """Eight in all, for twelve requests; figpack alone takes a new one for each of thirteen."""
    upload()
    assert api.asked == CALLS
    assert api.connections <= MAX_CONNECTIONS


def test_a_store_on_another_host_takes_no_more(api: FigureApi, store: FigureApi) -> None:
    """One for the API, seven for the store, also when the store is known and opened ahead."""
    api.put_url, api.figures_url = store.url, "https://figures.example"
    for number in (1, 2):
        upload()
        assert api.connections == number
        assert store.connections <= number * (MAX_CONNECTIONS - 1)
    assert store.asked == ["put"] * 2 * (NUM_FILES + 1)


def test_connections_are_open_before_the_first_call(api: FigureApi, store: FigureApi) -> None:
    """Those to the API, and those to the store of the last upload."""
    api.put_url = store.url
    remember_store(api.url, f"{store.url}/file?signature")
    with opened_connections() as kept:
        wait_until(lambda: api.connections == 1, "a connection to the API")
        wait_until(lambda: store.connections == MAX_CONNECTIONS - 1, "those to the store")
        assert api.asked == store.asked == []

        upload(connections=kept)

        assert api.connections + store.connections == MAX_CONNECTIONS


def test_an_api_that_shows_figures_is_taken_for_their_store(api: FigureApi) -> None:
    """Until the store is known, as in the first upload to devaria's local worker."""
    seen: List[bool] = []

    def note(call: str) -> None:
        if call == "upload":
            seen.append(wait_until(lambda: api.connections == MAX_CONNECTIONS, "all connections"))

    api.answer_later = note  # type: ignore[method-assign] # a test may
    upload()
    assert seen == [True]


def test_the_large_files_go_first(api: FigureApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that waits for a connection is the smallest."""
    monkeypatch.setattr(lanes, "_GATHERING_SEC", 60.0)

    def hold(call: str) -> None:
        if call == "put":
            wait_until(lambda: len(api.begun) >= NUM_FILES - 1, "all files but one")

    api.answer_later = hold  # type: ignore[method-assign] # a test may
    upload()
    sizes = [len(api.files[path]) for path in api.begun[:NUM_FILES]]
    assert sizes[-1] == min(sizes)


def test_the_manifest_is_signed_with_the_other_files(api: FigureApi) -> None:
    """It comes last, in the size that was named, and lists the files as figpack writes them."""
    upload()
    assert len(api.batches) == 1
    assert list(api.files)[-1] == "manifest.json"
    assert {path: len(content) for path, content in api.files.items()} == api.sizes
    manifest = json.loads(api.files.pop("manifest.json"))
    assert {file["path"]: file["size"] for file in manifest["files"]} == {
        path: len(content) for path, content in api.files.items()
    }
    assert manifest["total_files"] == NUM_FILES
    assert manifest["total_size"] == sum(map(len, api.files.values()))
    assert abs(manifest["timestamp"] - time.time()) < 600


def test_an_api_may_want_the_manifest_apart(api: FigureApi) -> None:
    """Then the files are signed as figpack asks for it."""
    api.refuses_joined = True
    upload()
    assert api.asked == ["create", "upload", *CALLS[1:-2], "upload", "put", "finalize"]
    assert api.batches[1] == ["manifest.json"]
    assert {path: len(content) for path, content in api.files.items()} == api.sizes


# --- connections that do not hold ------------------------------------------------------------


@pytest.mark.parametrize("call", ["create", "upload"])
def test_a_kept_connection_that_was_closed_costs_no_failure(
    api: FigureApi, call: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next call opens another one."""
    api.closes_after = [call]
    upload()
    assert api.asked == CALLS
    assert "again" not in capsys.readouterr().out


@pytest.mark.parametrize("call", ["create", "upload", "put", "finalize"])
def test_a_connection_that_closes_under_a_call_costs_no_failure(
    api: FigureApi, call: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The call is made once more at once, with all of its body."""
    api.faults = {call: ["drop"]}
    upload()
    assert len(api.asked) == len(CALLS) + 1
    assert {path: len(content) for path, content in api.files.items()} == api.sizes
    printed = capsys.readouterr().out
    assert "again" not in printed
    assert "retrying" not in printed


def test_a_server_that_always_closes_is_a_fault(api: FigureApi) -> None:
    """Each try makes a call twice, no more."""
    api.always = {"create": "drop"}
    with pytest.raises(RuntimeError, match="the upload failed after 2 tries: "):
        upload(limits=UploadLimits(tries=2, backoff_sec=0.01))
    assert api.asked == ["create"] * 4


def test_an_idle_connection_is_replaced(api: FigureApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something on the way may have forgotten it."""
    with opened_connections() as kept:
        wait_until(lambda: api.connections == 1, "a connection to the API")
        monkeypatch.setattr(connections, "_MAX_IDLE_SEC", -1.0)
        upload(connections=kept)
    assert api.connections > len(CALLS)


def test_connections_can_be_opened_again(api: FigureApi) -> None:
    """Those that a server has closed meanwhile; the others are left."""
    with opened_connections() as kept:
        wait_until(lambda: api.connections == 1, "a connection to the API")
        kept.open_ahead()
        upload(connections=kept)
    assert api.connections <= MAX_CONNECTIONS


def test_a_store_that_is_gone_is_met_by_the_upload_alone(
    api: FigureApi, store: FigureApi, closed_port: int
) -> None:
    """What was remembered wrongly does no harm, and is corrected."""
    remember_store(api.url, f"https://127.0.0.1:{closed_port}/file")
    api.put_url, api.figures_url = store.url, "https://figures.example"
    upload()
    assert store.asked == ["put"] * (NUM_FILES + 1)
    with opened_connections():
        wait_until(lambda: store.connections > MAX_CONNECTIONS, "the store's connections")


# --- as requests does ------------------------------------------------------------------------


def test_a_certificate_that_is_not_trusted_is_refused(
    api: FigureApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(RuntimeError, match=r"SSLError: .*certificate"):
        upload(limits=UploadLimits(tries=1))
    assert api.asked == []


@pytest.fixture
def another_name(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a name of this machine that is not in the certificate."""
    plain = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        return plain("127.0.0.1" if host == "figures.example" else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return "figures.example"


def test_a_certificate_of_another_host_is_refused(
    api: FigureApi, another_name: str, point_figpack_to: Callable[[str], None]
) -> None:
    """Nothing is sent."""
    point_figpack_to(api.url.replace("127.0.0.1", another_name))
    with pytest.raises(RuntimeError, match=r"SSLError: .*match"):
        upload(limits=UploadLimits(tries=1))
    assert api.asked == []


def test_a_store_that_is_not_trusted_is_refused(
    api: FigureApi, store: FigureApi, another_name: str
) -> None:
    """Its connections are proved as those of the API are."""
    api.put_url = store.url.replace("127.0.0.1", another_name)
    with pytest.raises(RuntimeError, match=r"SSLError: .*match"):
        upload(limits=UploadLimits(tries=1))
    assert store.asked == []


def test_proxies_of_the_environment_are_used(
    monkeypatch: pytest.MonkeyPatch, point_figpack_to: Callable[[str], None]
) -> None:
    """All calls go through them, over few connections."""
    with FigureApi() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        proxy.figures_url = proxy.put_url = "http://store.example"
        point_figpack_to("http://figpack.example")
        upload()
        assert proxy.asked == CALLS
        assert proxy.connections <= MAX_CONNECTIONS


def test_a_host_without_proxy_is_reached_without_it(
    api: FigureApi, monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    """NO_PROXY holds."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{closed_port}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    upload()
    assert api.asked == CALLS


def test_two_uploads_at_a_time_do_not_mix(api: FigureApi) -> None:
    """In one process, one comes after the other; each has its own progress."""
    told: List[List[int]] = [[], []]
    threads = [
        threading.Thread(
            target=upload, kwargs={"progress": lambda done, _all, own=own: own.append(done)}
        )
        for own in told
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert told == [list(range(NUM_FILES + 1))] * 2
    assert api.asked == CALLS * 2


def test_other_sessions_are_left_alone(api: FigureApi) -> None:
    """A call that is not figpack's goes its own way, with its own headers."""
    with FigureApi() as other:
        own = requests.Session()
        own.headers["x-api-key"] = "another"

        def call(*_news: int) -> None:
            own.post(f"{other.url}/create", json={}, timeout=10)

        upload(progress=call)
        own.close()
    assert set(other.keys) == {"another"}
    assert other.connections == 1
    assert api.asked == CALLS
