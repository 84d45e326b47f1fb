"""Video figures in a real browser, served by the local worker, which puts them into a sandbox.

Each frame of the test's movie shows its own number as bright and dark squares. So the picture on
the screen tells which frame it is, whatever the controls say.
"""

import io
from fractions import Fraction
from pathlib import Path
from typing import Any, Callable, Iterator, List

import numpy as np
import pytest
from figure_pages import OpenFigure, chromium, served_folder
from image_files import NUMBER_BITS, numbered_frames, series_bytes
from range_server import RangeServer
from run_handler import run_handler

from devaria.nwb.images.times import ShownFrames
from devaria.worker.server import LocalWorker

av = pytest.importorskip("av", reason="PyAV is not installed")

HANDLER = "devaria.jobs.figpack_nwb_video_preview:FigpackNwbVideoPreviewHandler"

#: The test's movie: so many frames, of which every second one is shown.
FRAMES, SHOWN = 180, 90
RATE_HZ = 20.0

TIMES = "\N{MULTIPLICATION SIGN}"

#: A name that would run a script if it were set as HTML or SVG.
HOSTILE = "<img src=x onerror=window.hacked=1>"

#: The number that the picture on the screen shows, in an object; null while there is none.
NUMBER = """(bits) => {
    if (document.querySelector(".devaria-video video").seeking) return null;
    const picture = document.querySelector(".devaria-video canvas");
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 64;
    const context = canvas.getContext("2d");
    context.drawImage(picture, 0, 0, 64, 64);
    let number = 0;
    for (let bit = 0; bit < bits; bit++) {
        const x = (bit % 4) * 16 + 8;
        const y = Math.floor(bit / 4) * 16 + 8;
        number = 2 * number + (context.getImageData(x, y, 1, 1).data[0] > 128 ? 1 : 0);
    }
    return {number};
}"""


class VideoPage(OpenFigure):
    """A video figure in a page."""

    def number(self) -> int:
        """Return the number of the frame in the picture."""
        found = self.page.wait_for_function(NUMBER, arg=NUMBER_BITS, timeout=15_000)
        return int(found.json_value()["number"])

    def seen(self) -> int:
        """Return the number of the frame that is on the screen."""
        place = self.page.locator(".devaria-video canvas").first.bounding_box()
        with av.open(io.BytesIO(self.page.screenshot(clip=place))) as screenshot:
            (image,) = (frame.to_ndarray(format="gray") for frame in screenshot.decode(video=0))
        height, width = image.shape
        bits = [
            image[height * (8 + 16 * (bit // 4)) // 64, width * (8 + 16 * (bit % 4)) // 64] > 128
            for bit in range(NUMBER_BITS)
        ]
        return sum(1 << (NUMBER_BITS - 1 - bit) for bit, is_set in enumerate(bits) if is_set)

    def said(self) -> str:
        """Return which frame the controls name."""
        return str(self.page.locator(".devaria-video .frame").first.inner_text())

    def wait_for_frame(self, index: int) -> None:
        """Wait until the controls name a frame, counted from 0."""
        self.page.wait_for_function(
            """text => document.querySelector(".devaria-video .frame")
                ?.textContent.startsWith(text)""",
            arg=f"frame {index + 1} of",
            timeout=15_000,
        )

    def move_slider(self, index: int) -> None:
        """Move the slider, as a drag does."""
        slider = self.page.locator(".devaria-video input[type=range]").first
        slider.evaluate(
            """(slider, value) => {
                slider.value = value;
                slider.dispatchEvent(new Event("input", {bubbles: true}));
            }""",
            index,
        )


Open = Callable[..., VideoPage]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Start the machine's Chromium."""
    with chromium(tmp_path_factory.mktemp("profile")) as context:
        yield context


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWorker]:
    """Run the local worker, which is a figure store too."""
    data_dir = tmp_path_factory.mktemp("worker")
    with LocalWorker(data_dir, port=0, rate_limit=False) as running:
        yield running


def publish(worker: LocalWorker, content: bytes, **params: Any) -> str:
    """Make a figure of a file, and return its URL."""
    with RangeServer({"/file.nwb": content}) as files:
        given = {"nwb_url": files.url("/file.nwb"), "image_series_path": "/acquisition/movie"}
        outcome = run_handler(
            {**given, **params},
            api_url=worker.figpack_api_url,
            api_key=worker.keys.runner,
            handler=HANDLER,
        )
    assert outcome.error == "", outcome.console
    assert outcome.left_behind == []
    return str(outcome.result["figpack_url"])


@pytest.fixture(scope="module")
def movie(worker: LocalWorker) -> str:
    """Make the figure of the test's movie, and return its URL."""
    content = series_bytes(numbered_frames(FRAMES), start_sec=50.0, rate_hz=RATE_HZ)
    return publish(worker, content, max_frames=SHOWN)


@pytest.fixture
def open_figure(browser: Any) -> Iterator[Open]:
    """Open a figure; it must cause no error and no request to another server."""
    pages: List[VideoPage] = []

    def open_url(url: str, width: int = 1280, height: int = 800) -> VideoPage:
        pages.append(VideoPage(browser, url))
        pages[-1].page.set_viewport_size({"width": width, "height": height})
        pages[-1].wait_for_frame(0)
        return pages[-1]

    yield open_url
    for page in pages:
        page.close(page.page.url.rpartition("/")[0])


def test_steps_are_exact(movie: str, open_figure: Open) -> None:
    """Keys and buttons show the very next frame, and its number and time."""
    figure = open_figure(movie)
    time = figure.page.locator(".devaria-video .time")
    assert figure.number() == 0
    assert figure.said() == "frame 1 of 90 · data[0] of 180"
    for index in range(1, 8):
        figure.page.keyboard.press("ArrowRight")
        figure.wait_for_frame(index)
        assert figure.number() == figure.seen() == 2 * index
        assert time.inner_text() == f"{50 + 2 * index / RATE_HZ:.2f} s"
    assert figure.said() == "frame 8 of 90 · data[14] of 180"
    figure.page.get_by_role("button", name="One frame back").click()
    figure.wait_for_frame(6)
    assert figure.number() == 12
    for _ in range(3):  # faster than the pictures come
        figure.page.keyboard.press("ArrowLeft")
    figure.wait_for_frame(3)
    assert figure.number() == figure.seen() == 6


def test_slider_shows_any_frame(movie: str, open_figure: Open) -> None:
    """Each place of the slider shows its frame, also the first and the last one."""
    figure = open_figure(movie)
    for index in (45, 89, 31, 0, 29, 30, 88, 1):
        figure.move_slider(index)
        figure.wait_for_frame(index)
        assert figure.number() == 2 * index
    for index in range(10, 80, 3):  # a drag: only its end counts
        figure.move_slider(index)
    figure.wait_for_frame(79)
    assert figure.number() == 158
    slider = figure.page.get_by_role("slider", name="Frame")
    assert slider.get_attribute("aria-valuetext").startswith("57.90 s, frame 80 of 90")
    slider.press("ArrowRight")
    figure.wait_for_frame(80)
    assert figure.number() == 160


@pytest.mark.parametrize("rate_hz", [1000.0, 29.97, 0.2])
def test_any_rate_is_exact(worker: LocalWorker, open_figure: Open, rate_hz: float) -> None:
    """A fast camera's frames and a slow microscope's are found too, at their true rate."""
    content = series_bytes(numbered_frames(70), rate_hz=rate_hz)
    figure = open_figure(publish(worker, content, mode="start"))
    assert figure.page.locator(".devaria-video .badge").inner_text() == "real time"
    for index in (69, 1, 34, 35):
        figure.move_slider(index)
        figure.wait_for_frame(index)
        assert figure.number() == index


def test_plays_pauses_and_ends(movie: str, open_figure: Open) -> None:
    """It plays from where it stands to the end; on pause, it stays on the frame that it names."""
    figure = open_figure(movie)
    figure.page.keyboard.press(" ")
    figure.page.get_by_role("button", name="Pause").wait_for()
    figure.page.wait_for_function(
        "Number(document.querySelector('.devaria-video input').value) > 10", timeout=15_000
    )
    figure.page.keyboard.press(" ")
    figure.page.get_by_role("button", name="Play").wait_for()
    number = figure.number()
    index = int(figure.said().split()[1]) - 1
    assert 10 < index < 89
    assert number == 2 * index
    figure.page.get_by_role("button", name="Play").click()
    figure.wait_for_frame(89)
    figure.page.get_by_role("button", name="Play").wait_for()
    assert figure.number() == 178
    figure.page.locator(".devaria-video canvas").click()
    figure.page.get_by_role("button", name="Pause").wait_for()
    figure.page.wait_for_function(
        "Number(document.querySelector('.devaria-video input').value) < 80", timeout=15_000
    )


def test_a_key_that_another_view_has_taken(movie: str, open_figure: Open) -> None:
    """It moves nothing here."""
    figure = open_figure(movie)
    second = "document.querySelector('.devaria-video video').currentTime"
    before = figure.page.evaluate(second)
    figure.page.evaluate(
        "addEventListener('keydown', event => event.preventDefault(), {capture: true, once: true})"
    )
    figure.page.keyboard.press("ArrowRight")
    assert figure.page.evaluate(second) == before
    figure.page.keyboard.press("ArrowRight")
    figure.wait_for_frame(1)


def test_a_view_that_is_replaced_frees_its_video(movie: str, open_figure: Open) -> None:
    """Once it is out of the page, nothing holds the video's bytes."""
    page = open_figure(movie).page
    page.evaluate(
        """() => {
            window.old = document.querySelector(".devaria-video video");
            window.revoked = [];
            const revoke = URL.revokeObjectURL;
            URL.revokeObjectURL = url => { window.revoked.push(url); revoke.call(URL, url); };
            window.source = window.old.src;
            document.querySelector(".devaria-video").remove();
        }"""
    )
    page.wait_for_function("window.revoked.includes(window.source)", timeout=15_000)
    assert page.evaluate("window.old.hasAttribute('src')") is False


def test_speed_is_said(movie: str, open_figure: Open) -> None:
    """The picture says how many times faster it plays, at the chosen speed."""
    figure = open_figure(movie)
    badge = figure.page.locator(".devaria-video .badge")
    assert badge.inner_text() == f"3{TIMES} real time"  # each 0.1 s of the recording in 1/30 s
    figure.page.get_by_role("combobox", name="Speed").select_option("0.25")
    assert badge.inner_text() == f"0.75{TIMES} real time"
    assert figure.page.evaluate("document.querySelector('video').playbackRate") == 0.25


def test_caption_tells_what_it_is(movie: str, open_figure: Open) -> None:
    """Path, size, choice of frames and grey levels stand below the picture."""
    caption = open_figure(movie).page.locator(".devaria-video .caption").inner_text()
    assert caption.startswith("/acquisition/movie · ImageSeries, 64 x 64 pixels of uint8 · ")
    assert "90 frames, spread over all 180, 50 to 58.9 s: 30 a second, 3 times real time" in caption
    assert "Black is 40 and white 220: the percentiles 0.5 and 99.5 of " in caption


def test_export(movie: str, open_figure: Open) -> None:
    """The exported SVG holds the picture on the screen, and says which frame it is."""
    figure = open_figure(movie)
    figure.move_slider(44)
    figure.wait_for_frame(44)
    texts = figure.exported_texts()
    assert texts[:2] == [
        "/acquisition/movie",
        f"54.40 s · frame 45 of 90 · data[88] of 180 · 3{TIMES} real time",
    ]
    href = figure.page.locator("svg image").first.get_attribute("href")
    assert href.startswith("data:image/png;base64,")
    levels = figure.page.evaluate(
        """async href => {
            const image = new Image();
            image.src = href;
            await image.decode();
            const canvas = document.createElement("canvas");
            canvas.width = canvas.height = 64;
            const context = canvas.getContext("2d");
            context.drawImage(image, 0, 0, 64, 64);
            return [5, 6, 7, 8, 9, 10, 11].map(bit => context.getImageData(
                (bit % 4) * 16 + 8, Math.floor(bit / 4) * 16 + 8, 1, 1).data[0] > 128);
        }""",
        href,
    )
    assert levels == [bit == "1" for bit in f"{88:07b}"]


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 780), (320, 480)])
def test_widths(movie: str, open_figure: Open, width: int, height: int) -> None:
    """On a desktop and on a phone, all of it fits, and the picture is as large as it can be."""
    figure = open_figure(movie, width, height)

    def box(selector: str) -> Any:
        return figure.page.locator(f".devaria-video {selector}").first.bounding_box()

    figure.page.wait_for_function(
        f"document.querySelector('.devaria-video').clientWidth === {width}"
    )
    picture, panel, stage = box("canvas"), box(".panel"), box(".stage")
    assert picture["width"] == pytest.approx(picture["height"], abs=1)
    assert picture["width"] == pytest.approx(min(stage["width"], stage["height"]), abs=1)
    assert picture["width"] > 0.4 * min(width, height)
    assert panel["width"] == width
    for control in figure.page.locator(".devaria-video :is(button, select, input)").all():
        place = control.bounding_box()
        assert place["x"] >= 0
        assert place["x"] + place["width"] <= width
        assert place["y"] + place["height"] <= height
        assert min(place["width"], place["height"]) >= 24  # a finger finds it


def test_names_are_texts(worker: LocalWorker, open_figure: Open) -> None:
    """A name from the file is shown as it is, and never becomes HTML or SVG."""
    content = series_bytes(numbered_frames(2), name=f"acquisition/{HOSTILE}", start_sec=None)
    figure = open_figure(publish(worker, content, image_series_path=f"/acquisition/{HOSTILE}"))
    assert figure.page.locator(".devaria-video b").inner_text() == f"/acquisition/{HOSTILE}"
    assert figure.page.locator(".devaria-video .time").inner_text() == "time unknown"
    assert figure.page.locator(".devaria-video .badge").inner_text() == "times unknown"
    assert figure.exported_texts()[0] == f"/acquisition/{HOSTILE}"
    assert figure.page.evaluate("[window.hacked, document.querySelector('img[src=x]')]") == [
        None,
        None,
    ]


def test_a_single_frame(worker: LocalWorker, open_figure: Open) -> None:
    """A series of one frame shows it, and stepping and playing do no harm."""
    figure = open_figure(publish(worker, series_bytes(numbered_frames(1, 32))))
    for key in (" ", "ArrowRight", "ArrowLeft"):
        figure.page.keyboard.press(key)
    figure.wait_for_frame(0)
    assert figure.said() == "frame 1 of 1 · data[0] of 1"
    assert figure.page.locator(".devaria-video .badge").inner_text() == "one frame"


def test_views_of_a_figure_share_the_time(tmp_path: Path, open_figure: Open) -> None:
    """A frame that is chosen in one view is shown by the other ones, by its time."""
    from figpack.core._bundle_utils import prepare_figure_bundle
    from figpack.views import Box, LayoutItem

    from devaria.figures.video import VideoView
    from devaria.figures.video_encoder import encode_video
    from devaria.figures.video_scaling import ValueRange

    views = []
    for count, rate_hz in ((40, 10.0), (20, 5.0)):
        frames = numbered_frames(count, 32)
        rows = np.arange(count)
        video = encode_video(
            iter(frames),
            ValueRange(0, 255),
            tmp_path / f"{count}.mp4",
            frame_rate=Fraction(30),
            expected_frames=count,
        )
        shown = ShownFrames(rows, rows / rate_hz, has_times=True)
        views.append(VideoView(video, shown, frames_in_file=count, name="x", caption=[]))
    items = [LayoutItem(view, stretch=1) for view in views]
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    prepare_figure_bundle(Box(direction="vertical", items=items), str(bundle), title="Two")
    with served_folder(bundle) as url:
        figure = open_figure(f"{url}/index.html")
        second = figure.page.locator(".devaria-video .frame").nth(1)
        second.get_by_text("frame 1 of 20").wait_for()
        figure.move_slider(27)
        figure.wait_for_frame(27)
        assert figure.number() == 27
        second.get_by_text("frame 14 of 20 · data[13] of 20").wait_for()
        buttons = figure.page.get_by_role("button", name="One frame on")
        buttons.nth(1).click()
        figure.wait_for_frame(28)
        assert figure.number() == 28
