"""What the handlers of figures share: who reads, in which order, and what comes out."""

import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar, Dict, Iterator, List, Mapping, Tuple

import numpy as np
import psutil
import pytest
from nwb_files import units_bytes
from range_server import RangeServer

from devaria.figures.progress import Progress
from devaria.jobs import Param
from devaria.jobs.nwb_figure import Figure, NwbFigureHandler, figure_params


class CountValues(NwbFigureHandler):
    """A figure without a picture, which counts the values of a dataset."""

    title: ClassVar[str] = "Values"
    figure_name: ClassVar[str] = "count"
    path_param: ClassVar[str] = "data_path"
    path_example: ClassVar[str] = "/x/data"
    source_name: ClassVar[str] = "Dataset"
    params: ClassVar[Mapping[str, Param]] = figure_params(
        data_path=Param(str, "path of a dataset"), factor=Param(int, "a factor", default=2)
    )
    published: Tuple[Figure, Dict[str, Any]]

    def read(self, file: Any, path: str, params: Mapping[str, Any], progress: Progress) -> Any:
        """Read all values."""
        del params, progress
        self.reading = psutil.Process().children(recursive=True)
        return file.read(path)

    def draw(self, data: Any, params: Mapping[str, Any], progress: Progress) -> Figure:
        """Count them; see what runs meanwhile."""
        progress.built("Counted", len(data), len(data), "values")
        self.drawing = psutil.Process().children(recursive=True)
        count = len(data) * params["factor"]
        return Figure(np.asarray(data), ["Left `out`\nnothing"], {"count": count})

    def publish(self, figure: Figure, params: Any, *_: Any) -> str:
        """Keep the figure."""
        self.published = figure, params
        return "https://figures/1/index.html"


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve a file, with what a handler needs in the environment."""
    monkeypatch.setenv("FIGPACK_API_KEY", "a-key")
    monkeypatch.setenv("DEVARIA_ALLOW_HOSTS", "127.0.0.1")
    with RangeServer({"/x.nwb": units_bytes([[0.5, 1.25], [2.0]])}) as server:
        yield server.url("/x.nwb")


def run(handler: NwbFigureHandler, folder: Path, **params: Any) -> Tuple[Dict[str, Any], List[Any]]:
    """Run a handler; return its result and the percentages that it reported."""
    told: List[Any] = []

    def heartbeat(
        progress_current: Any = None, progress_total: Any = None, console_output: Any = None
    ) -> None:
        told.append((progress_current, progress_total, console_output))

    return handler.run(params, heartbeat, folder), told


def test_result_console_and_progress(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The result has what was given and what the figure adds; the console has the notes."""
    handler = CountValues()
    result, told = run(
        handler, tmp_path, nwb_url=url, data_path="units/spike_times", dandiset_id="", other=1
    )
    assert result == {
        "figpack_url": "https://figures/1/index.html",
        "nwb_url": url,
        "data_path": "units/spike_times",
        "factor": 2,
        "dandiset_id": "",
        "count": 6,
    }
    console = [line[11:] for line in capsys.readouterr().out.splitlines()]
    assert console[:3] == [
        "Importing libraries",
        f"Loading NWB file from {url}",
        "Data path: /units/spike_times",
    ]
    assert console[3:] == [
        "Left `out`\\x0anothing",
        "Figure URL: https://figures/1/index.html",
        "Completed!",
    ]
    assert [current for current, _, _ in told] == sorted(current for current, _, _ in told)
    assert told[-1] == (100, 100, None)


def test_the_reading_process_is_gone_before_the_figure_is_drawn(url: str, tmp_path: Path) -> None:
    """Its memory is free then."""
    handler = CountValues()
    run(handler, tmp_path, nwb_url=url, data_path="/units/spike_times")
    assert len(handler.reading) == 1
    assert handler.drawing == []
    assert handler.published[0].view.tolist() == [0.5, 1.25, 2.0]


def test_errors_name_the_parameter(url: str, tmp_path: Path) -> None:
    """Each handler has a path parameter of its own."""
    with pytest.raises(ValueError, match="data_path must be the path of a group, such as /x/data"):
        run(CountValues(), tmp_path, nwb_url=url, data_path="/")
    with pytest.raises(ValueError, match="data_path is missing; it must be a string"):
        run(CountValues(), tmp_path, nwb_url=url)
    with pytest.raises(ValueError, match="/units/nothing"):
        run(CountValues(), tmp_path, nwb_url=url, data_path="/units/nothing")


def test_packages_of_its_own_are_required(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason names the package and the extra that brings it."""
    del url  # for the key
    assert CountValues.missing_requirements() == []
    monkeypatch.setattr(CountValues, "packages", {"no_such": ("no-such", "video")})
    assert CountValues.missing_requirements() == [
        'no-such is not installed: `pip install "devaria[video]"`'
    ]


def test_a_module_that_cannot_be_imported_fails_the_job(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is imported in a thread; its error is not lost there."""
    monkeypatch.setattr(CountValues, "modules", ("devaria.figures.no_such",))
    with pytest.raises(ModuleNotFoundError, match="no_such"):
        run(CountValues(), tmp_path, nwb_url=url, data_path="/units/spike_times")


def test_every_job_process_starts_quickly() -> None:
    """Each imports all handlers, so these import nothing that is large."""
    code = (
        "import sys, devaria.jobs;"
        "print({'dataclasses', 'email', 'fractions', 'numpy', 'requests'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    assert done.stdout.split() == [b"set()"]


@pytest.mark.parametrize(("in_pieces", "percent"), [(False, [60, 75, 100]), (True, [75, 100])])
def test_who_reports_the_progress_of_reading(
    in_pieces: bool,
    percent: List[float],
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The bytes of one of many pieces say nothing about the whole."""
    monkeypatch.setattr(CountValues, "in_pieces", in_pieces)
    _, told = run(CountValues(), tmp_path, nwb_url=url, data_path="/units/spike_times")
    assert sorted({current for current, _, _ in told if current > 5}) == percent
