"""The raster job: parameters, console, progress, result, and errors that leak nothing."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterator

import numpy as np
import psutil
import pytest
import requests
from core_fixtures import environment
from figure_api import FigureApi
from job_processes import is_gone, job_pid
from nwb_files import units_bytes
from range_server import SECRET, RangeServer
from run_handler import Outcome, run_handler
from waiting import wait_until

from devaria.cli.worker import _job_forms
from devaria.common.child_process import Sentinel
from devaria.common.timing import Timing
from devaria.execution.limits import JobLimits
from devaria.execution.preloaded import PreloadedProcess
from devaria.execution.process import JobProcess
from devaria.execution.signals import Wakeup
from devaria.figures.raster_notes import notes_on
from devaria.jobs.figpack_nwb_raster_plot import FigpackNwbRasterPlotHandler
from devaria.nwb.errors import NwbError
from devaria.nwb.units.table import UnitsTable
from devaria.worker.dashboard.job_forms import FIELD_PREFIX, params_of
from devaria.worker.server import LocalWorker

JOB_TYPE = "figpack_nwb_raster_plot"
GOOD = units_bytes([[0.5, 1.25, 8.75], [], [2.0, float("nan")]], ids=[7, 8, 9])


@pytest.fixture(scope="module")
def files() -> Iterator[RangeServer]:
    """Serve the files of this module."""
    with RangeServer({"/good.nwb": GOOD, "/page.nwb": b"<html>no</html>"}) as server:
        yield server


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWorker]:
    """Run a figure store."""
    data_dir = tmp_path_factory.mktemp("worker")
    with LocalWorker(data_dir, port=0, rate_limit=False) as worker:
        yield worker


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set a figpack key that opens nothing, and allow loopback."""
    monkeypatch.setenv("FIGPACK_API_KEY", "a-key")
    monkeypatch.setenv("DEVARIA_ALLOW_HOSTS", "example.org,127.0.0.1")


def execute(**input_params: Any) -> Dict[str, Any]:
    """Run a job in this process, up to where it fails."""
    return FigpackNwbRasterPlotHandler().execute(input_params, lambda **_news: None)


def publish(figures: LocalWorker, **input_params: Any) -> Outcome:
    """Run a job in its own process, with uploads to the figure store."""
    return run_handler(input_params, api_url=figures.figpack_api_url, api_key=figures.keys.runner)


@pytest.fixture(scope="module")
def published(files: RangeServer, figures: LocalWorker) -> Outcome:
    """Run a good job, of a file with a signed URL."""
    return publish(figures, nwb_url=files.url(f"/to/good.nwb?{SECRET}"), units_path="/units")


def test_result(published: Outcome, files: RangeServer, figures: LocalWorker) -> None:
    """The result is the figure's URL and the two parameters as they were given, no more."""
    assert published.error == ""
    assert list(published.result) == ["figpack_url", "nwb_url", "units_path"]
    assert published.result["figpack_url"].startswith(f"{figures.url}/figures/")
    assert published.result["figpack_url"].endswith("/index.html")
    assert published.result["nwb_url"] == files.url(f"/to/good.nwb?{SECRET}")
    assert published.result["units_path"] == "/units"


def test_console_tells_the_steps(published: Outcome, files: RangeServer) -> None:
    """Each step is in the console with its time, and figpack's own lines are between."""
    steps = [
        "Importing libraries",
        f"Loading NWB file from {files.url('/to/good.nwb')}?…",
        "Units path: /units",
        "Read 4 spikes of 2 units",
        "Left out 1 units without spikes",
        "Left out 1 spike times that are NaN or infinite",
        "Created the raster plot",
        "Uploading the figure",
        f"Figure URL: {published.result['figpack_url']}",
        "Completed!",
    ]
    own = [line for line in published.console.splitlines() if line.startswith("[")]
    assert [line[11:] for line in own] == steps
    assert "Finalizing figure..." in published.console
    assert "s3cr3t" not in published.console


def test_progress_rises_to_the_end(published: Outcome) -> None:
    """Progress is reported at each step in percent, and ends at 100."""
    assert {total for _, total in published.progress} == {100}
    current = [done for done, _ in published.progress]
    assert current == sorted(current)
    assert len(current) >= 5
    assert current[-1] == 100


def test_nothing_is_left_behind(published: Outcome) -> None:
    """All temporary files of a job are gone at its end."""
    assert published.left_behind == []


def test_a_job_after_the_imports_ahead(files: RangeServer, figures: LocalWorker) -> None:
    """It runs as any job does; the process that waited reads the file."""
    environ = environment(
        FIGPACK_API_BASE_URL=figures.figpack_api_url,
        FIGPACK_API_KEY=figures.keys.runner,
        DEVARIA_ALLOW_HOSTS="127.0.0.1",
        PYTHONPATH=os.pathsep.join(sys.path),
    )
    wakeup, sentinel = Wakeup(), Sentinel()
    process = PreloadedProcess([JOB_TYPE], wakeup, environ, [], sentinel, "r", Timing())
    try:
        wait_until(lambda: process.is_ready, "the imports", context=process.console.text)
        (reader,) = psutil.Process(job_pid(process)).children()
        assert "devaria.nwb.sandbox.child" in reader.cmdline()
        process.drop_console()
        params = {"nwb_url": files.url("/good.nwb"), "units_path": "/units"}
        process.hand_over(JOB_TYPE, params, lambda *_news: None)
        outcome = process.wait(JobLimits(60.0, float("inf")), lambda: None)
        assert outcome.error_message is None
        assert outcome.output_data["figpack_url"].startswith(f"{figures.url}/figures/")
        assert "Read 4 spikes of 2 units" in outcome.console_output
        assert is_gone(reader.pid)
    finally:
        process.close()
    assert not Path(process.scratch).exists()


def test_title_and_description(published: Outcome) -> None:
    """The figure says where it comes from, without the signature of the URL."""
    attrs = metadata(published)
    assert attrs["title"] == "Raster Plot from NWB Units Table: good.nwb, /units"
    assert "/to/good.nwb?…`" in attrs["description"]
    assert "Units table: `/units`" in attrs["description"]
    assert "s3cr3t" not in attrs["description"]
    assert attrs["unit_ids"] == ["7", "9"]


def metadata(outcome: Outcome) -> Dict[str, Any]:
    """Return the attributes of a figure."""
    root = outcome.result["figpack_url"].replace("index.html", "data.zarr/.zmetadata")
    attrs: Dict[str, Any] = requests.get(root, timeout=10).json()["metadata"][".zattrs"]
    return attrs


def test_odd_table_is_drawn_and_said(files: RangeServer, figures: LocalWorker) -> None:
    """Equal ids, times out of order and times since 1970 are in console and description."""
    trains = 1.7e9 + np.array([[0.5, 1.5, 2.5], [3.5, 1.25, 9.0], [4.0, 5.0, 6.0]])
    files.files["/odd.nwb"] = units_bytes(trains, ids=[5, 5, 6])
    outcome = publish(figures, nwb_url=files.url("/odd.nwb"), units_path="/units")
    assert outcome.error == ""
    attrs = metadata(outcome)
    assert attrs["unit_ids"] == ["5", "5 (2)", "6"]
    assert (attrs["start_time_sec"], attrs["end_time_sec"]) == (0.5, 9.0)
    assert attrs["title"].endswith(": odd.nwb, /units, from second 1,700,000,000 on")
    for note in (
        "Several units have the same id: the later ones are labelled 5 (2)",
        "Spikes of unit 5 (2) are out of order: the file's spike_times or spike_times_index may",
        "from second 1,700,000,000 on (2023-11-14 22:13:20 UTC, if they count from 1970)",
    ):
        assert note in outcome.console
        assert note in attrs["description"].replace("\\", "")


def test_form_left_empty_asks_for_nothing() -> None:
    """A job of the dashboard's form has only what somebody filled in."""
    form = _job_forms([])[JOB_TYPE]
    fields = {FIELD_PREFIX + name: field.initial for name, field in form.items()}
    filled = {f"{FIELD_PREFIX}nwb_url": "https://h/x.nwb", f"{FIELD_PREFIX}units_path": "/units"}
    given = params_of(form, {**fields, **filled})
    assert given == {"nwb_url": "https://h/x.nwb", "units_path": "/units"}
    given = params_of(form, {**fields, **filled, f"{FIELD_PREFIX}units": "[3, 7]"})
    assert given["units"] == [3, 7]


def test_many_odd_units_are_counted() -> None:
    """A note names twenty units and says how many more there are."""
    table = UnitsTable(
        unit_ids=[f"{number}\x1b" for number in range(50)],
        unit_rows=np.arange(50),
        spike_times_sec=np.tile(np.array([2.0, 1.0], np.float32), 50),
        unit_stops=np.arange(2, 102, 2),
        start_time_sec=1.0,
        end_time_sec=2.0,
        num_rows=50,
        num_dropped=0,
    )
    (note,) = notes_on(table)
    assert "Spikes of units 0\\x1b, 1\\x1b" in note
    assert "19\\x1b and 30 more are out of order" in note


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({}, "nwb_url must be a string"),
        ({"nwb_url": "/etc/passwd", "units_path": "/units"}, "nwb_url must be an http or https"),
        ({"nwb_url": "file:///etc/passwd", "units_path": "/units"}, "nwb_url must be an http or"),
        ({"nwb_url": "http://h/x"}, "units_path must be a string"),
        ({"nwb_url": "http://h/x", "units_path": "/"}, "units_path must be the path"),
        ({"nwb_url": "http://h/x", "units_path": "/a/../b"}, "units_path must not hold"),
    ],
)
def test_invalid_parameters(params: Dict[str, Any], text: str) -> None:
    """Malformed parameters are a ValueError before anything is fetched."""
    with pytest.raises(ValueError, match=text):
        execute(**params)


@pytest.mark.usefixtures("key")
def test_mistaken_units_path(files: RangeServer) -> None:
    """A path that names no units table is an invalid parameter; the right ones are listed."""
    with pytest.raises(ValueError, match="units tables in the file: /units"):
        execute(nwb_url=files.url("/good.nwb"), units_path="/processing/units")


@pytest.mark.usefixtures("key")
def test_useless_file(files: RangeServer) -> None:
    """A file that is not an NWB file fails the job; its parameters are valid."""
    with pytest.raises(NwbError, match="is a web page"):
        execute(nwb_url=files.url("/page.nwb"), units_path="/units")


def test_missing_key_is_found_before_reading(
    files: RangeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a figpack key nothing is fetched."""
    monkeypatch.delenv("FIGPACK_API_KEY", raising=False)
    files.asked.clear()
    with pytest.raises(RuntimeError, match="FIGPACK_API_KEY is not set"):
        execute(nwb_url=files.url("/good.nwb"), units_path="/units")
    assert files.asked == []


@pytest.mark.usefixtures("key")
def test_loopback_is_refused_unless_allowed(
    files: RangeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the operator allows it, no address of this machine or its network is connected to."""
    monkeypatch.delenv("DEVARIA_ALLOW_HOSTS")
    files.asked.clear()
    with pytest.raises(NwbError, match="DEVARIA_ALLOW_HOSTS"):
        execute(nwb_url=files.url("/good.nwb"), units_path="/units")
    assert files.asked == []


@pytest.mark.usefixtures("key")
def test_odd_bound_is_the_operators_fault(
    files: RangeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bound that is not a number is a missing requirement, not an invalid parameter."""
    monkeypatch.setenv("DEVARIA_MAX_SPIKES", "many")
    reasons = FigpackNwbRasterPlotHandler.missing_requirements()
    assert [reason[:26] for reason in reasons] == ["DEVARIA_MAX_SPIKES must be"]
    with pytest.raises(RuntimeError, match="DEVARIA_MAX_SPIKES must be"):
        execute(nwb_url=files.url("/good.nwb"), units_path="/units")


@pytest.mark.usefixtures("key")
def test_bounds_reach_the_reader(files: RangeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound that the operator sets is kept where the file is read."""
    monkeypatch.setenv("DEVARIA_MAX_SPIKES", "3")
    with pytest.raises(NwbError, match="has 5 spikes; at most 3"):
        execute(nwb_url=files.url("/good.nwb"), units_path="/units")


def test_missing_requirements(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each missing package and the missing key are named, with what to do."""
    monkeypatch.setenv("FIGPACK_API_KEY", "a-key")
    assert FigpackNwbRasterPlotHandler.missing_requirements() == []
    monkeypatch.delenv("FIGPACK_API_KEY")
    packages = {"surely_not_installed": ("surely-not-installed", "figpack")}
    monkeypatch.setattr(FigpackNwbRasterPlotHandler, "packages", packages)
    package, key = FigpackNwbRasterPlotHandler.missing_requirements()
    assert package.startswith("surely-not-installed is not installed: `pip install")
    assert key.startswith("FIGPACK_API_KEY is not set: get a key")


def test_importing_the_handler_is_cheap() -> None:
    """Neither the handler's module nor its requirements load any of the heavy packages."""
    code = (
        "import sys, devaria.jobs.figpack_nwb_raster_plot as m;"
        "m.FigpackNwbRasterPlotHandler.missing_requirements();"
        "print({'numpy', 'h5py', 'figpack', 'figpack_spike_sorting', 'requests'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    assert done.stdout.split() == [b"set()"]


def test_failed_upload_leaks_no_signature(files: RangeServer) -> None:
    """The error of an upload says what happened without a signed URL, and no file is left."""
    with FigureApi() as api:
        api.message = f"no room at https://store/put?{SECRET}"
        api.always = {"create": 403}
        outcome = run_handler(
            {"nwb_url": files.url("/good.nwb"), "units_path": "/units"},
            api_url=api.url,
            api_key="a-key",
        )
    assert outcome.error == (
        "RuntimeError: the upload failed: Exception: "
        "Failed to create figure: no room at https://store/put?…"
    )
    assert "s3cr3t" not in outcome.console
    assert outcome.left_behind == []


def test_killed_job_leaves_nothing(
    files: RangeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A job that the runner ends in mid-upload leaves no file and no process."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    params = {"nwb_url": files.url("/good.nwb"), "units_path": "/units"}
    with FigureApi() as api:
        api.always = {"put": "hang"}
        environ = {
            **os.environ,
            "FIGPACK_API_BASE_URL": api.url,
            "FIGPACK_API_KEY": "a-key",
            "DEVARIA_ALLOW_HOSTS": "127.0.0.1",
        }
        process = JobProcess(Wakeup(), environ)
        process.hand_over("figpack_nwb_raster_plot", params, lambda *_news: None)
        outcome = process.wait(
            JobLimits(timeout_sec=60, memory_bytes=1e10),
            lambda: "it is enough" if "put" in api.asked else None,
        )
    assert "it is enough" in (outcome.error_message or "")
    assert "Uploading the figure" in outcome.console_output
    assert list(tmp_path.iterdir()) == []
    assert psutil.Process().children(recursive=True) == []
