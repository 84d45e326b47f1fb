"""The example of docs/handlers.md that reads a remote file and publishes a figure of it."""

import io
from pathlib import Path
from typing import Any, Iterator

import h5py
import numpy as np
import pytest
from figure_pages import OpenFigure, chromium
from papers import DOCS, fenced
from range_server import RangeServer
from run_handler import Outcome, run_handler

from devaria.worker.server import LocalWorker

TIMES = np.arange(3000) / 100
PATH = "/acquisition/position"


def content() -> bytes:
    """Return a file with a TimeSeries."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        series = file.create_group(PATH)
        series.attrs["neurodata_type"] = "TimeSeries"
        series.create_dataset("data", data=np.sin(TIMES), compression="gzip")
        series["data"].attrs["unit"] = "metres"
        series["timestamps"] = TIMES
    return buffer.getvalue()


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWorker]:
    """Run the local worker, which is a figure store too."""
    with LocalWorker(tmp_path_factory.mktemp("worker"), port=0, rate_limit=False) as running:
        yield running


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worker: LocalWorker) -> Iterator[Any]:
    """Save the example as the page says, and run it as a runner would."""
    pytest.importorskip("figpack")
    (example,) = (text for text in fenced(DOCS / "handlers.md", "python") if "open_remote" in text)
    (tmp_path / "plot_series.py").write_text(example, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with RangeServer({"/file.nwb": content()}) as files:

        def ran(path: str) -> Outcome:
            return run_handler(
                {"nwb_url": files.url("/file.nwb"), "path": path},
                api_url=worker.figpack_api_url,
                api_key=worker.keys.runner,
                handler="plot_series:PlotSeries",
            )

        yield ran


def test_the_example_draws(run: Any, worker: LocalWorker, tmp_path: Path) -> None:
    """The figure shows the line, with all its points and its unit."""
    outcome = run(PATH)
    assert outcome.error == ""
    assert outcome.left_behind == []
    with chromium(tmp_path / "profile") as browser:
        figure = OpenFigure(browser, outcome.result["figpack_url"])
        # The axis reaches as far as the values only when they are there.
        figure.page.wait_for_function("window.drawnTexts.includes('-0.9')", timeout=15_000)
        texts = figure.exported_texts()
        assert {"metres", "-1", "1", "20 s"} <= set(texts)
        paths = figure.page.locator("svg path").evaluate_all(
            "paths => paths.map(path => path.getAttribute('d').length)"
        )
        assert max(paths) > len(TIMES)  # every tenth value, with ten characters and more
        figure.close(worker.url)


def test_its_errors_are_those_of_a_submitter(run: Any) -> None:
    """A path that names nothing is a wrong parameter."""
    assert run("/acquisition/no").error == "NotInFileError: /acquisition/no is not in the file"
