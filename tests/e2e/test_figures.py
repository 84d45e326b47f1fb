"""Figures of NWB files, uploaded by figpack's own client, draw in a real browser.

The raster is drawn on a canvas, and labels too: neither stands in the page's text. What shows
that spikes were drawn is ink on the canvas; the labels are looked for in the SVG that the
figure exports.
"""

from typing import Any, Callable, Iterator, List

import pytest
from browser import CHROMIUM, FLAGS
from nwb_files import REAL_DIR, REAL_FILES, WITHOUT_UNITS, needs_real_files, units_bytes
from range_server import RangeServer
from run_handler import Outcome, run_handler

from devaria.nwb.synthetic import write_synthetic_nwb
from devaria.worker.server import LocalWorker

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


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
    """Start the machine's Chromium with a profile of its own."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed: `apt-get install chromium`")
    profile = tmp_path_factory.mktemp("profile")
    with sync_api.sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=CHROMIUM,
            headless=True,
            args=FLAGS,
            viewport={"width": 1280, "height": 800},
        )
        yield context
        context.close()


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWorker]:
    """Run the local worker, which is a figure store too."""
    data_dir = tmp_path_factory.mktemp("worker")
    with LocalWorker(data_dir, port=0, rate_limit=False) as running:
        yield running


def publish(worker: LocalWorker, content: bytes, units_path: str) -> Outcome:
    """Serve a file, and run the job that makes a figure of it."""
    with RangeServer({"/file.nwb": content}) as files:
        return run_handler(
            {"nwb_url": files.url("/file.nwb"), "units_path": units_path},
            api_url=worker.figpack_api_url,
            api_key=worker.keys.runner,
        )


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Make the file that the demo shows."""
    path = tmp_path_factory.mktemp("synthetic") / "synthetic.nwb"
    write_synthetic_nwb(path)
    return path.read_bytes()


class OpenFigure:
    """A figure in a browser's page, with the errors and requests of the page."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.errors: List[str] = []
        self.requests: List[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(url)

    def wait_for_spikes(self, pixels: int, *, colored: bool = False) -> None:
        """Wait until that many pixels of the raster are drawn."""
        self.page.wait_for_function(HAS_INK, arg=[pixels, colored], timeout=15_000)

    def exported_texts(self) -> List[str]:
        """Export the figure as SVG, and return the texts in it."""
        self.page.get_by_text("Export as SVG").click()
        self.page.wait_for_selector("svg text", state="attached", timeout=15_000)
        return self.page.locator("svg text").all_text_contents()


@pytest.fixture
def open_figure(browser: Any, worker: LocalWorker) -> Iterator[Callable[[str], OpenFigure]]:
    """Open a figure; it must cause no error and no request to another server."""
    figures: List[OpenFigure] = []

    def open_url(url: str) -> OpenFigure:
        figures.append(OpenFigure(browser.new_page(), url))
        return figures[-1]

    yield open_url
    for figure in figures:
        figure.page.close()
        assert figure.errors == []
        assert [url for url in figure.requests if not url.startswith(worker.url)] == []


@needs_real_files
@pytest.mark.parametrize("name", REAL_FILES)
def test_real_file_draws(
    name: str, worker: LocalWorker, open_figure: Callable[[str], OpenFigure]
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
    synthetic: bytes, worker: LocalWorker, open_figure: Callable[[str], OpenFigure]
) -> None:
    """The figure of the demo's file shows spikes and ten minutes; 60 units are too many labels."""
    outcome = publish(worker, synthetic, "/units")
    assert "spikes of 60 units" in outcome.console
    figure = open_figure(outcome.result["figpack_url"])
    figure.wait_for_spikes(50_000)
    assert {f"{minute} min" for minute in range(1, 10)} <= set(figure.exported_texts())


def test_one_unit_shows_single_spikes(
    worker: LocalWorker, open_figure: Callable[[str], OpenFigure]
) -> None:
    """Single spikes of one unit, all of whose unit numbers are 0, are drawn in its colour.

    The view is short enough for single spikes, which the front end takes from other arrays than
    the counts that it draws of long views.
    """
    outcome = publish(worker, units_bytes([[number / 2 for number in range(40)]]), "/units")
    open_figure(outcome.result["figpack_url"]).wait_for_spikes(1000, colored=True)


@pytest.mark.parametrize("trains", [[[5.0]], [[5.0, 5.25, 5.5]]], ids=["one", "half a second"])
def test_short_session_draws(
    trains: List[List[float]], worker: LocalWorker, open_figure: Callable[[str], OpenFigure]
) -> None:
    """Spikes within a second, which figpack's own figure does not show, are drawn."""
    outcome = publish(worker, units_bytes(trains), "/units")
    figure = open_figure(outcome.result["figpack_url"])
    figure.wait_for_spikes(300, colored=True)
    assert "Unit 0" in figure.exported_texts()
