"""Figures of NWB files, uploaded by figpack's own client, draw in a real browser.

The raster is drawn on a canvas, and labels too: neither stands in the page's text. What shows
that spikes were drawn is ink on the canvas; the labels are looked for in the SVG that the
figure exports.
"""

from typing import Any, Callable, Iterator, List

import pytest
from figure_pages import OpenFigure, chromium
from nwb_files import REAL_DIR, REAL_FILES, WITHOUT_UNITS, needs_real_files, units_bytes
from range_server import RangeServer
from run_handler import Outcome, run_handler

from devaria.nwb.synthetic import write_synthetic_nwb
from devaria.worker.server import LocalWorker

#: Whether any canvas but the first has so many pixels of ink right of the labels, coloured ones if
#: that is asked. The first holds the axes; what the others hold there is spikes, and else nothing.
HAS_INK = """([wanted, colored]) =>
    [...document.querySelectorAll("canvas")].slice(1).some(canvas => {
        const left = 60;
        if (canvas.width <= left || !canvas.height) return false;
        const image = canvas.getContext("2d")
            .getImageData(left, 0, canvas.width - left, canvas.height).data;
        let ink = 0;
        for (let i = 0; i < image.length; i += 4) {
            const low = Math.min(image[i], image[i + 1], image[i + 2]);
            const high = Math.max(image[i], image[i + 1], image[i + 2]);
            if (image[i + 3] > 0 && low < 250 && (!colored || high - low > 25)) ink++;
        }
        return ink > wanted;
    })"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Run Chromium."""
    with chromium(tmp_path_factory.mktemp("profile")) as context:
        yield context


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWorker]:
    """Run the local worker, which is a figure store too."""
    data_dir = tmp_path_factory.mktemp("worker")
    with LocalWorker(data_dir, port=0, rate_limit=False) as running:
        yield running


def publish(worker: LocalWorker, content: bytes, units_path: str, **texts: str) -> Outcome:
    """Serve a file, and run the job that makes a figure of it."""
    with RangeServer({"/file.nwb": content}) as files:
        return run_handler(
            {"nwb_url": files.url("/file.nwb"), "units_path": units_path, **texts},
            api_url=worker.figpack_api_url,
            api_key=worker.keys.runner,
        )


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Make the file that the demo shows."""
    path = tmp_path_factory.mktemp("synthetic") / "synthetic.nwb"
    write_synthetic_nwb(path)
    return path.read_bytes()


class OpenRaster(OpenFigure):
    """A raster plot in a browser's page."""

    def wait_for_spikes(self, pixels: int, *, colored: bool = False) -> None:
        """Wait until that many pixels of the raster are drawn."""
        self.page.wait_for_function(HAS_INK, arg=[pixels, colored], timeout=15_000)

    def exported_ticks(self) -> int:
        """Export the figure as SVG, and return how many spikes it has."""
        self.exported_texts()
        return int(self.page.locator("svg path[clip-path]").count())


@pytest.fixture
def open_figure(browser: Any, worker: LocalWorker) -> Iterator[Callable[[str], OpenRaster]]:
    """Open a figure; it must cause no error and no request to another server."""
    figures: List[OpenRaster] = []

    def open_url(url: str) -> OpenRaster:
        figures.append(OpenRaster(browser, url))
        return figures[-1]

    yield open_url
    for figure in figures:
        figure.close(worker.url)


@needs_real_files
@pytest.mark.parametrize("name", REAL_FILES)
def test_real_file_draws(
    name: str, worker: LocalWorker, open_figure: Callable[[str], OpenRaster]
) -> None:
    """The figure of a real file shows its spikes and names its units."""
    units_path, num_units, num_spikes = REAL_FILES[name]
    outcome = publish(worker, (REAL_DIR / name).read_bytes(), units_path)
    assert outcome.error == ""
    figure = open_figure(outcome.result["figpack_url"])
    # Six spikes are six thin lines, of which the first and the last lie on the frame.
    figure.wait_for_spikes(50_000 if num_spikes > 1000 else 1000)
    labels = [text for text in figure.exported_texts() if text.startswith("Unit ")]
    assert len(labels) == num_units


@needs_real_files
@pytest.mark.parametrize("name", WITHOUT_UNITS)
def test_real_file_without_units_names_what_there_is(name: str, worker: LocalWorker) -> None:
    """A file without a table at the path ends in an error that lists its units tables."""
    outcome = publish(worker, (REAL_DIR / name).read_bytes(), "/units")
    assert outcome.error == (
        "InvalidInputError: units_path /units is not in the file; "
        f"units tables in the file: {WITHOUT_UNITS[name]}"
    )


def test_synthetic_file_draws(
    synthetic: bytes, worker: LocalWorker, open_figure: Callable[[str], OpenRaster]
) -> None:
    """The figure of the demo's file shows spikes and ten minutes; names 60 units."""
    outcome = publish(worker, synthetic, "/units")
    assert "spikes of 60 units" in outcome.console
    figure = open_figure(outcome.result["figpack_url"])
    figure.wait_for_spikes(50_000)
    texts = set(figure.exported_texts())
    assert {f"{minute} min" for minute in range(1, 10)} <= texts
    assert {f"Unit {number}" for number in range(60)} <= texts


def test_one_unit_shows_single_spikes(
    worker: LocalWorker, open_figure: Callable[[str], OpenRaster]
) -> None:
    """Single spikes of one unit, all of whose unit numbers are 0, are drawn in its colour.

    The view is short enough for single spikes, which the front end takes from other arrays than
    the counts that it draws of long views.
    """
    outcome = publish(worker, units_bytes([[number / 2 for number in range(40)]]), "/units")
    open_figure(outcome.result["figpack_url"]).wait_for_spikes(1000, colored=True)


@pytest.mark.parametrize("trains", [[[5.0]], [[5.0, 5.25, 5.5]]], ids=["one", "half a second"])
def test_short_session_draws(
    trains: List[List[float]], worker: LocalWorker, open_figure: Callable[[str], OpenRaster]
) -> None:
    """Spikes within a second, which figpack's own figure does not show, are drawn."""
    outcome = publish(worker, units_bytes(trains), "/units")
    figure = open_figure(outcome.result["figpack_url"])
    figure.wait_for_spikes(300, colored=True)
    assert "Unit 0" in figure.exported_texts()


def test_description_has_a_link_and_no_foreign_markup(
    worker: LocalWorker, open_figure: Callable[[str], OpenRaster]
) -> None:
    """The page that asked for the figure is a link; what else a submitter wrote is text."""
    page = "https://neurosift.app/nwb?url=https://h/a_b_c.nwb&dandisetId=000123"
    evil = "<img src=x onerror=alert(1)>[x](javascript:alert(1)) $x^2$"
    outcome = publish(
        worker, units_bytes([[1.0, 2.0]]), "/units", neurosift_url=page, dandiset_id=evil
    )
    assert outcome.result["neurosift_url"] == page
    figure = open_figure(outcome.result["figpack_url"])
    figure.wait_for_spikes(100)
    figure.page.wait_for_load_state("networkidle")  # until then the page may close the dialog
    figure.page.get_by_text("Figure Info").click()
    shown = figure.page.locator(".about-dialog-description")
    assert f"Neurosift: {page}" in shown.inner_text()
    assert f"Dandiset: {evil}" in shown.inner_text()
    links = shown.locator("a").evaluate_all("links => links.map(link => link.href)")
    assert links == [page]


def test_every_spike_is_drawn(
    worker: LocalWorker, open_figure: Callable[[str], OpenRaster]
) -> None:
    """The picture has a tick for each spike, also for those of the last second."""
    trains = [[0.25 + number * 0.45 for number in range(40)], [3.5, 17.6, 17.7, 17.79]]
    outcome = publish(worker, units_bytes(trains), "/units")
    figure = open_figure(outcome.result["figpack_url"])
    figure.wait_for_spikes(1000, colored=True)
    assert figure.exported_ticks() == sum(map(len, trains))


@pytest.fixture
def ticks_in_long_views(browser: Any) -> Iterator[None]:
    """Have figures draw a tick for each spike in views of any length, in place of counts."""
    script, limit = "**/extension-figpack-spike-sorting.js", '>120?"heatmap"'

    def changed(route: Any) -> None:
        text = route.fetch().text()
        assert text.count(limit) == 1
        route.fulfill(body=text.replace(limit, '>1e9?"heatmap"'), content_type="text/javascript")

    browser.route(script, changed)
    yield
    browser.unroute(script)


@needs_real_files
@pytest.mark.usefixtures("ticks_in_long_views")
@pytest.mark.parametrize("name", [name for name in REAL_FILES if REAL_FILES[name][2] < 50_000])
def test_every_spike_of_a_real_file_is_drawn(
    name: str, worker: LocalWorker, open_figure: Callable[[str], OpenRaster]
) -> None:
    """The picture has as many ticks as the file has spikes, though figpack's own has fewer.

    A file of 200,000 spikes would take half a minute. One of 34,000 takes some seconds.
    """
    units_path, _, num_spikes = REAL_FILES[name]
    outcome = publish(worker, (REAL_DIR / name).read_bytes(), units_path)
    figure = open_figure(outcome.result["figpack_url"])
    figure.wait_for_spikes(1000, colored=True)
    assert figure.exported_ticks() == num_spikes
