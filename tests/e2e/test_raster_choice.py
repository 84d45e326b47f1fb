"""A raster plot with the optional parameters, in a real browser."""

from typing import Any, Iterator

import pytest
from choice_files import choice_file
from figure_pages import OpenFigure, chromium
from range_server import RangeServer
from run_handler import Outcome, run_handler

from devaria.worker.server import LocalWorker

ALIGN_TO = "/intervals/trials/start_time"

#: Whether all these texts are drawn on canvases.
DRAWN = "texts => texts.every(text => window.drawnTexts.includes(text))"

#: Whether the view says something, or says how many spikes there are and not that.
SAYS = """text => [...document.querySelectorAll("[role=status]")]
    .some(each => each.textContent === text)"""
SAYS_OTHER = """text => [...document.querySelectorAll("[role=status]")]
    .some(each => /^[0-9,]+ spikes/.test(each.textContent) && each.textContent !== text)"""


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWorker]:
    """Run a figure store."""
    with LocalWorker(tmp_path_factory.mktemp("worker"), port=0, rate_limit=False) as running:
        yield running


def publish(worker: LocalWorker, **params: Any) -> Outcome:
    """Run a job with a file of 12 units in three regions."""
    with RangeServer({"/file.nwb": choice_file(12)}) as files:
        return run_handler(
            {"nwb_url": files.url("/file.nwb"), "units_path": "/units", **params},
            api_url=worker.figpack_api_url,
            api_key=worker.keys.runner,
        )


def test_all_choices_in_one_figure(
    worker: LocalWorker, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Chosen units stand in named groups; the second tab shows a unit's spikes around trials."""
    choice = {"units": [100, 101, 103], "sort_by": "depth", "group_by": "region"}
    outcome = publish(worker, **choice, align_to=ALIGN_TO)
    assert outcome.error == ""
    assert {name: outcome.result[name] for name in choice} == choice
    assert f"around 24 of 24 events of {ALIGN_TO}; 1 have no time" in outcome.console
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        figure = OpenFigure(browser, outcome.result["figpack_url"])
        units = ["Unit 100", "Unit 101", "Unit 103"]
        figure.page.wait_for_function(DRAWN, arg=["CA1", "CA3", *units])
        assert "Unit 102" not in figure.drawn_texts()
        figure.page.get_by_text("Around start_time").click()
        figure.page.wait_for_function(DRAWN, arg=["Time from start_time (s)", "Spikes/s", "24"])
        status = figure.page.get_by_role("status").filter(has_text="around 24 events")
        first = status.inner_text()
        figure.page.get_by_label("The next unit").click()
        figure.page.wait_for_function(SAYS_OTHER, arg=first)
        figure.page.get_by_label("The unit before").click()
        figure.page.wait_for_function(SAYS, arg=first)
        figure.close(worker.url)


def test_wrong_choices_are_invalid_parameters(worker: LocalWorker) -> None:
    """The error says what there is; nothing is uploaded."""
    outcome = publish(worker, group_by="location")
    assert outcome.error == (
        "InvalidInputError: group_by location is no column of /units with one number or text for "
        "each unit; such columns: depth, id, quality, region"
    )
    outcome = publish(worker, units=[1.5])
    assert outcome.error.startswith("InvalidInputError: units must hold ids or rows only")
    assert outcome.console == ""  # before anything is fetched
