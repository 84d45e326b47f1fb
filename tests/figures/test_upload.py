"""Uploads: temporary faults are retried, others end in an error without secrets."""

import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Iterator, List, Tuple

import numpy as np
import pytest
from figure_api import KEY, SIGNATURE, FigureApi

from devaria.figures import publish
from devaria.figures.raster import UnitsRasterPlot
from devaria.figures.upload import UploadLimits, publishing
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


@pytest.fixture
def api(point_figpack_to: Callable[[str], None]) -> Iterator[FigureApi]:
    """Run a figure API that figpack uploads to."""
    with FigureApi() as running:
        point_figpack_to(running.url)
        yield running


def upload(**limits: float) -> Tuple[str, List[Tuple[int, int]]]:
    """Upload a small figure with short waits; return its URL and the progress."""
    told: List[Tuple[int, int]] = []
    short: Any = {"read_timeout_sec": 5, "backoff_sec": 0.01, "max_retry_after_sec": 0.02, **limits}
    url = publish(
        UnitsRasterPlot(TABLE),
        title="T",
        description="D",
        progress=lambda done, total: told.append((done, total)),
        limits=UploadLimits(**short),
    )
    return url, told


def test_figure_arrives(api: FigureApi) -> None:
    """A figure is uploaded file by file and finalized; only the API gets the key."""
    url, told = upload()
    assert url == f"{api.url}/figures/1/index.html"
    assert {"index.html", "data.zarr/.zmetadata", "manifest.json"} <= set(api.files)
    assert told == [(number, len(api.files) - 1) for number in range(len(api.files))]
    assert set(api.keys) == {KEY}
    assert api.asked[0] == "create"
    assert api.asked[-1] == "finalize"


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        ("create", 500),
        ("create", 429),
        ("create", "hang"),
        ("upload", 502),
        ("upload", "hang"),
        ("finalize", 408),
        ("finalize", "hang"),
    ],
)
def test_temporary_faults_are_retried(
    api: FigureApi, call: str, fault: object, capsys: pytest.CaptureFixture[str]
) -> None:
    """After two faults of one call, the third try of the upload succeeds."""
    api.faults = {call: [fault, fault]}
    upload(read_timeout_sec=0.2)
    assert api.asked.count("create") == 3
    assert api.asked[-1] == "finalize"
    assert capsys.readouterr().out.count("trying again in 0 s") == 2


@pytest.mark.parametrize(("status", "shortest"), [(503, [5, 20]), (429, [7, 7])])
def test_waits_between_tries(
    api: FigureApi, status: int, shortest: List[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second wait is four times the first; Retry-After (7 s) replaces both."""
    waits: List[float] = []
    clock = SimpleNamespace(time=time.time, monotonic=time.monotonic, sleep=waits.append)
    monkeypatch.setattr(publishing, "time", clock)
    api.always = {"create": status}
    with pytest.raises(RuntimeError, match="after 3 tries"):
        upload(backoff_sec=5, max_retry_after_sec=60)
    assert len(waits) == 2
    assert all(least <= wait <= 1.2 * least for least, wait in zip(shortest, waits))


@pytest.mark.parametrize("fault", [503, "hang"])
def test_lasting_faults_end_the_upload(api: FigureApi, fault: object) -> None:
    """After three tries, the upload fails."""
    api.always = {"create": fault}
    with pytest.raises(RuntimeError, match="the upload failed after 3 tries: ") as caught:
        upload(read_timeout_sec=0.2)
    assert api.asked == ["create"] * 3
    assert caught.value.__cause__ is caught.value.__context__ is None


@pytest.mark.parametrize(
    ("call", "fault", "text"),
    [
        ("create", 401, "Failed to create figure: no"),
        ("create", "html", "JSONDecodeError"),
        ("create", "no success", "Failed to create figure: no"),
        ("upload", 400, "Failed to get upload info for batch: no"),
        ("put", 403, "to signed URL: HTTP 403"),
        ("finalize", 404, "Failed to finalize figure"),
    ],
)
def test_refusals_are_final(api: FigureApi, call: str, fault: object, text: str) -> None:
    """A refusal of the service is not retried."""
    api.always = {call: fault}
    with pytest.raises(RuntimeError, match=text) as caught:
        upload()
    assert api.asked.count("create") == 1
    assert "tries" not in str(caught.value)


def test_unreachable_store_leaks_no_signature(
    api: FigureApi, capsys: pytest.CaptureFixture[str]
) -> None:
    """If files cannot be stored, neither error nor console holds the signed URL."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        api.put_url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(RuntimeError, match="the upload failed after 2 tries: Conn") as caught:
        upload(tries=2)
    console = capsys.readouterr().out
    assert "Failed to upload" in console
    assert SIGNATURE not in console + str(caught.value)


def test_key_is_cut_out(api: FigureApi, capsys: pytest.CaptureFixture[str]) -> None:
    """A key that the service repeats is cut out of error and console."""
    api.message = f"the key {KEY} is no good, see https://h/login?{SIGNATURE}"
    api.always = {"create": 500}
    with pytest.raises(RuntimeError) as caught:
        upload()
    told = str(caught.value) + capsys.readouterr().out
    assert "the key *** is no good, see https://h/login?…" in told
    assert KEY not in told
    assert SIGNATURE not in told


def test_console_has_what_figpack_prints(
    api: FigureApi, capsys: pytest.CaptureFixture[str]
) -> None:
    """The console has the lines that figpack prints."""
    upload()
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("Uploaded 1/") for line in lines)
    assert "Finalizing figure..." in lines
    assert f"View the figure at: {api.url}/figures/1/index.html" in lines


def test_figure_that_cannot_be_built(
    api: FigureApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure before the first call is not reported as an upload."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(RuntimeError, match=r"^building the figure failed: FileNotFoundError: "):
        upload()
    assert api.asked == []


def test_nothing_is_sent_when_the_time_is_up(api: FigureApi) -> None:
    """After the job's time limit no call is made."""
    with pytest.raises(RuntimeError, match="the upload failed: TimeoutError: the job took more"):
        upload(max_total_sec=0)
    assert api.asked == []


def test_without_a_key_nothing_is_built(api: FigureApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing key is told at once, before a figure is built."""
    monkeypatch.delenv("FIGPACK_API_KEY")
    with pytest.raises(RuntimeError, match="FIGPACK_API_KEY is not set: get a key") as caught:
        publish(None, title="T")  # type: ignore[arg-type]  # a view that nobody touches
    assert "building" not in str(caught.value)
    assert api.asked == []


def test_the_import_is_cheap() -> None:
    """Who names `publish` does not load figpack before the call."""
    code = (
        "import sys; from devaria.figures import publish; print(callable(publish));"
        "print({'figpack', 'requests', 'numpy'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    assert done.stdout.split() == [b"True", b"set()"]


def test_a_title_is_enough(api: FigureApi) -> None:
    """The other arguments have defaults."""
    assert publish(UnitsRasterPlot(TABLE), title="T") == f"{api.url}/figures/1/index.html"
