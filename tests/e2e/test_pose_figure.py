"""Pose figures in a real browser, served by the local worker, which puts them into a sandbox.

Two parts of the test's pose stand still. Where a third one is drawn, measured from these two, tells
which frame the picture shows, whatever the controls say.
"""

from pathlib import Path
from typing import Any, Callable, Iterator, List, Optional, Set, Tuple

import figpack
import h5py
import numpy as np
import pytest
from figpack.views import Box, LayoutItem, TimeseriesGraph
from figure_pages import OpenFigure, chromium, served_folder
from pose_files import (
    POSE_PATH,
    REAL_DIR,
    REAL_POSES,
    add_part,
    add_pose,
    add_skeleton,
    file_bytes,
    needs_real_poses,
)
from range_server import RangeServer
from run_handler import run_handler

from devaria.figures.pose import COLORS, PoseView
from devaria.figures.pose_arrays import PoseArrays
from devaria.nwb.pose.parts import PosePart, PoseSetting
from devaria.worker.server import LocalWorker

HANDLER = "devaria.jobs.figpack_nwb_pose_estimation:FigpackNwbPoseEstimationHandler"

RATE_HZ, FRAMES = 20.0, 200
LEFT, RIGHT = (100.0, 400.0), (500.0, 100.0)

#: A name that would run a script if it were set as HTML or SVG.
HOSTILE = "<img src=x onerror=hacked=1>"

#: In which order the parts stand in the figure, so which colour each has.
NAMES = ("left", "right", "nose", HOSTILE)

#: The middle of the pixels of a colour on a canvas in CSS pixels, and how many there are.
FIND_COLOR = """([selector, color, alpha]) => {
    const canvas = document.querySelector(selector);
    const ratio = canvas.width / canvas.clientWidth;
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const wanted = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
    let [count, x, y] = [0, 0, 0];
    for (let i = 0; i < data.length; i += 4) {
        const isOther = wanted.some((each, n) => Math.abs(data[i + n] - each) > 4);
        if (data[i + 3] < alpha || isOther) continue;
        count += 1;
        x += (i / 4) % canvas.width;
        y += Math.floor(i / 4 / canvas.width);
    }
    return [count, x / count / ratio, y / count / ratio];
}"""

STAGE = ".dvp-stage canvas:last-child"
LINES = ".dvp-graph canvas:first-child"


def nose_at(frame: int) -> Tuple[float, float]:
    """Return where the nose is; it is not seen in the frames 30 to 39."""
    return 120.0 + frame * 1.5, 390.0 - frame


def frames_at(text: str) -> Set[int]:
    """Return which frames may be shown at a time that the controls round to a millisecond."""
    time = float(text.split()[0])
    return {int((time + error) * RATE_HZ) for error in (-0.0005, 0.0005)}


def write_pose(file: h5py.File) -> None:
    """Write four parts with a skeleton; the last begins a second later."""
    pose = add_pose(file)
    times = np.arange(FRAMES) / RATE_HZ
    nose = np.array([nose_at(frame) for frame in range(FRAMES)])
    nose[30:40] = np.nan
    sure = np.ones(FRAMES)
    add_part(pose, "left", np.tile(LEFT, (FRAMES, 1)), times=times, confidence=sure)
    add_part(pose, "right", np.tile(RIGHT, (FRAMES, 1)), times=times, confidence=sure)
    add_part(
        pose, "nose", nose, times=times, confidence=np.where(np.arange(FRAMES) < 100, 0.9, 0.3)
    )
    add_part(pose, HOSTILE, np.full((FRAMES, 2), 300), times=times + 1.0)
    add_skeleton(pose, NAMES, [[0, 2], [2, 1]])


class PosePage(OpenFigure):
    """A pose figure in a page."""

    def wait_until_drawn(self) -> None:
        """Wait until the lines of the graphs are there, and no data are missing."""
        self.page.wait_for_function(
            """() => {
                const canvas = document.querySelector(".dvp-graph canvas");
                const now = document.querySelector(".dvp-now");
                if (!canvas?.width || /^$|loading/.test(now.textContent)) return;
                const { data } = canvas.getContext("2d").getImageData(60, 0, 600, canvas.height);
                let colored = 0;
                for (let i = 0; i < data.length; i += 4) {
                    colored += data[i + 3] && Math.abs(data[i] - data[i + 2]) > 30;
                }
                return colored > 20;
            }""",
            timeout=15_000,
        )

    def wait_for(self, text: str) -> None:
        """Wait until the controls say this about the time, and it is drawn."""
        self.page.wait_for_function(
            "text => document.querySelector('.dvp-now').textContent.includes(text)",
            arg=text,
            timeout=15_000,
        )

    def now(self) -> str:
        """Return what the controls say about the time."""
        return str(self.page.locator(".dvp-now").inner_text())

    def find(self, number: int, selector: str = STAGE) -> Optional[Tuple[float, float]]:
        """Return where a part's colour is drawn in full, in CSS pixels; None if nowhere."""
        alpha = 255 if selector == STAGE else 128
        count, x, y = self.page.evaluate(FIND_COLOR, [selector, COLORS[number], alpha])
        return (x, y) if count > 20 else None

    def show_points_only(self) -> None:
        """Switch names and trails off, since they have the colours of the points."""
        self.page.get_by_label("Names").uncheck()
        self.page.get_by_label("Trail").select_option("0")
        self.page.evaluate("document.activeElement.blur()")
        self.wait_for_next_picture()

    def wait_for_next_picture(self) -> None:
        """Wait until what was changed is drawn."""
        self.page.evaluate(
            "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )

    def nose(self) -> Optional[Tuple[float, float]]:
        """Return the nose's position in pixels, measured from the parts that stand still."""
        left, right, nose = (self.find(number) for number in range(3))
        assert left is not None
        assert right is not None
        if nose is None:
            return None
        return tuple(  # type: ignore[return-value]  # two numbers
            LEFT[n] + (nose[n] - left[n]) * (RIGHT[n] - LEFT[n]) / (right[n] - left[n])
            for n in (0, 1)
        )

    def assert_shows(self, frame: int) -> None:
        """Check the picture and the controls."""
        self.wait_for(f"· frame {frame}")
        self.wait_for_next_picture()
        assert self.nose() == pytest.approx(nose_at(frame), abs=1.0)

    def move_slider(self, label: str, value: float) -> None:
        """Move a slider, as a drag does."""
        self.page.get_by_label(label, exact=True).evaluate(
            """(slider, value) => {
                slider.value = value;
                slider.dispatchEvent(new Event("input", {bubbles: true}));
            }""",
            value,
        )
        self.wait_for_next_picture()


Open = Callable[[str], PosePage]


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


def publish(worker: LocalWorker, content: bytes) -> str:
    """Make a figure of a file, and return its URL."""
    with RangeServer({"/file.nwb": content}) as files:
        outcome = run_handler(
            {"nwb_url": files.url("/file.nwb"), "path": POSE_PATH},
            api_url=worker.figpack_api_url,
            api_key=worker.keys.runner,
            handler=HANDLER,
        )
    assert outcome.error == "", outcome.console
    return str(outcome.result["figpack_url"])


@pytest.fixture(scope="module")
def url(worker: LocalWorker) -> str:
    """Publish the figure of the test's pose."""
    return publish(worker, file_bytes(write_pose))


@pytest.fixture
def open_figure(browser: Any, worker: LocalWorker) -> Iterator[Open]:
    """Open a figure; it must cause no error and no request to another server."""
    pages: List[PosePage] = []

    def opened(address: str) -> PosePage:
        pages.append(PosePage(browser, address))
        pages[-1].wait_until_drawn()
        return pages[-1]

    yield opened
    for page in pages:
        assert page.page.evaluate("window.hacked") is None
        page.close(worker.url)


def test_shows_the_parts_where_they_are(url: str, open_figure: Open) -> None:
    """With their names, which are texts; y points down; a part that has not begun is missing."""
    figure = open_figure(url)
    assert set(NAMES[:3]) <= set(figure.drawn_texts())
    assert figure.now().startswith("0.000 s of 10.950 s")
    figure.show_points_only()
    left, right = figure.find(0), figure.find(1)
    assert left is not None
    assert right is not None
    assert left[0] < right[0]
    assert left[1] > right[1]  # 400 is below 100
    assert figure.nose() == pytest.approx(nose_at(0), abs=1.0)
    assert figure.find(3) is None
    figure.move_slider("Time", 1.0)
    assert figure.find(3) is not None


def test_plays_and_pauses(url: str, open_figure: Open) -> None:
    """With the space key and the button; at its end it stops."""
    figure = open_figure(url)
    figure.show_points_only()
    figure.page.keyboard.press("Space")
    figure.page.get_by_role("button", name="Pause (space)").wait_for()
    figure.page.wait_for_function(
        "() => parseFloat(document.querySelector('.dvp-now').textContent) > 0.5", timeout=15_000
    )
    figure.page.keyboard.press("Space")
    figure.page.get_by_role("button", name="Play (space)").wait_for()
    paused = figure.now()
    figure.wait_for_next_picture()
    assert figure.now() == paused
    shown = figure.nose()
    assert shown is not None
    assert any(shown == pytest.approx(nose_at(frame), abs=1.0) for frame in frames_at(paused))
    figure.page.get_by_label("Speed").select_option("100")
    figure.page.get_by_role("button", name="Play (space)").click()
    figure.wait_for("10.950 s of 10.950 s")
    figure.page.get_by_role("button", name="Play (space)").wait_for()


def test_steps_by_frame(url: str, open_figure: Open) -> None:
    """With the arrow keys and the buttons, to each frame; in a gap, the part is missing."""
    figure = open_figure(url)
    figure.show_points_only()
    for _ in range(3):
        figure.page.keyboard.press("ArrowRight")
        figure.wait_for_next_picture()
    shown = figure.now()
    assert shown.startswith("0.150 s")
    assert figure.nose() == pytest.approx(nose_at(3), abs=1.0)
    figure.page.keyboard.press("ArrowLeft")
    figure.wait_for("0.100 s")
    figure.page.get_by_role("button", name="Next frame").click()
    figure.wait_for("0.150 s")
    figure.move_slider("Time", 0.17)  # while frame 3 is shown
    figure.page.evaluate("document.activeElement.blur()")
    figure.page.keyboard.press("ArrowLeft")
    figure.wait_for("0.100 s")
    figure.move_slider("Time", 29 / RATE_HZ)
    assert figure.nose() == pytest.approx(nose_at(29), abs=1.0)
    figure.page.get_by_label("Time", exact=True).focus()
    figure.page.keyboard.press("ArrowRight")
    figure.wait_for("1.500 s")
    figure.wait_for_next_picture()
    assert figure.nose() is None


def test_names_trails_and_parts_can_be_hidden(url: str, open_figure: Open) -> None:
    """Each by its control; what is hidden leaves no pixel."""
    figure = open_figure(url)
    figure.move_slider("Time", 2.9)
    figure.page.evaluate("window.drawnTexts.length = 0")
    figure.show_points_only()
    figure.page.evaluate("window.drawnTexts.length = 0")
    figure.move_slider("Time", 2.95)
    assert figure.drawn_texts() == []
    assert figure.find(2, LINES) is not None
    figure.page.get_by_label("nose", exact=True).uncheck()
    figure.wait_for_next_picture()
    assert figure.find(2) is None
    assert figure.find(2, LINES) is None
    figure.page.get_by_role("button", name="Hide all parts").click()
    figure.wait_for_next_picture()
    assert figure.find(0) is None
    figure.page.get_by_role("button", name="Show all parts").click()
    figure.wait_for_next_picture()
    assert figure.nose() == pytest.approx(nose_at(59), abs=1.0)


def test_points_under_the_threshold_are_faint(url: str, open_figure: Open) -> None:
    """In the picture, where the part's colour is no longer full; others stay."""
    figure = open_figure(url)
    figure.show_points_only()
    figure.move_slider("Time", 150 / RATE_HZ)
    assert figure.nose() == pytest.approx(nose_at(150), abs=1.0)
    figure.move_slider("Confidence under which points are faint", 0.5)
    assert figure.nose() is None
    assert figure.find(3) is not None  # it has no confidence
    figure.move_slider("Time", 50 / RATE_HZ)
    assert figure.nose() == pytest.approx(nose_at(50), abs=1.0)


def test_exports_the_current_frame(url: str, open_figure: Open) -> None:
    """As an SVG with the time, the names and the axes."""
    figure = open_figure(url)
    figure.move_slider("Time", 2.5)
    texts = figure.exported_texts()
    assert "2.500 s of 10.950 s" in texts
    assert {*NAMES, "x (pixels)", "y (pixels)", "x", "y"} <= set(texts)
    paths = figure.page.locator("svg path").evaluate_all(
        "paths => paths.map(path => path.getAttribute('fill'))"
    )
    assert {COLORS[number] for number in range(4)} <= {str(path).lower() for path in paths}


def test_graphs_go_to_a_time_and_zoom(url: str, open_figure: Open) -> None:
    """A click goes there; buttons, keys and the wheel zoom; a drag moves what is in view."""
    figure = open_figure(url)
    figure.show_points_only()
    box = figure.page.locator(".dvp-graph").bounding_box()
    middle = (box["x"] + 54 + (box["width"] - 66) / 2, box["y"] + 20)
    figure.page.mouse.click(*middle)
    figure.wait_for("5.4")
    shown = float(figure.now().split()[0])
    assert shown == pytest.approx(10.95 / 2, abs=0.02)
    assert figure.nose() == pytest.approx(nose_at(int(shown * RATE_HZ)), abs=1.0)
    figure.page.evaluate("window.drawnTexts.length = 0")
    figure.page.get_by_role("button", name="Zoom into the graphs").click()
    figure.page.locator(".dvp-graph").focus()
    figure.page.keyboard.press("+")
    figure.page.mouse.move(*middle)
    figure.page.mouse.wheel(0, -100)
    figure.wait_for_next_picture()
    figure.page.mouse.click(box["x"] + 55, middle[1])
    figure.wait_for_next_picture()
    start = float(figure.now().split()[0])
    assert start > 4.0
    figure.page.mouse.move(*middle)
    figure.page.mouse.down()
    figure.page.mouse.move(middle[0] + 200, middle[1], steps=3)
    figure.page.mouse.up()
    figure.page.mouse.click(box["x"] + 55, middle[1])
    figure.wait_for_next_picture()
    assert float(figure.now().split()[0]) < start


def test_fits_the_window(url: str, open_figure: Open) -> None:
    """On phones and a desk: nothing sticks out, each control is there, the picture is large."""
    figure = open_figure(url)
    for width, height in ((390, 844), (844, 390), (1280, 800)):
        figure.page.set_viewport_size({"width": width, "height": height})
        figure.page.wait_for_function(
            "width => document.querySelector('.dvp').clientWidth === width", arg=width
        )
        assert figure.page.evaluate("document.documentElement.scrollWidth") <= width
        parts = figure.page.get_by_role("button", name="Parts", exact=True)
        nose = figure.page.get_by_label("nose", exact=True)
        assert parts.is_visible() == (width < 720)
        if width < 720:
            assert not nose.is_visible()
            parts.click()
        assert nose.is_visible()
        boxes = [
            each.bounding_box()
            for each in figure.page.locator(".dvp button, .dvp input, .dvp select").all()
            if each.is_visible()
        ]
        assert len(boxes) >= 15
        for box in boxes:
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
        controls = [box for box in boxes if box["y"] + box["height"] <= height]
        assert len(controls) >= len(boxes) - 4  # on a low screen, the list of parts scrolls
        stage = figure.page.locator(".dvp-stage").bounding_box()
        assert stage["height"] >= 0.3 * height
        figure.show_points_only()
        assert figure.nose() == pytest.approx(nose_at(0), abs=2.5)


def test_shares_the_time_with_other_views(browser: Any, tmp_path: Path) -> None:
    """A click in a graph of figpack's own, in the same figure, goes to that time."""
    times = np.arange(FRAMES) / RATE_HZ
    arrays = PoseArrays(1)
    positions = np.array([nose_at(frame) for frame in range(FRAMES)])
    arrays.add(PosePart("nose", times, positions, None))
    setting = PoseSetting([], "pixels", "s", None, 1, y_up=False)
    graph = TimeseriesGraph()
    graph.add_line_series(name="speed", t=times, y=np.sin(times))
    items = [LayoutItem(PoseView(setting, arrays), stretch=3), LayoutItem(graph, stretch=1)]
    view: figpack.FigpackView = Box(items=items)
    view.save(str(tmp_path / "figure"), title="Two views")
    with served_folder(tmp_path) as address:
        figure = PosePage(browser, f"{address}/figure/index.html")
        figure.wait_until_drawn()
        other = figure.page.locator("canvas:not(.dvp canvas)").last.bounding_box()
        figure.page.mouse.click(other["x"] + other["width"] / 2, other["y"] + other["height"] / 2)
        figure.page.wait_for_function(
            "() => parseFloat(document.querySelector('.dvp-now').textContent) > 3", timeout=15_000
        )
        figure.close(address)


def test_long_recording_is_fetched_as_it_is_shown(worker: LocalWorker, open_figure: Open) -> None:
    """At first an overview and a block; then the blocks around the time that is shown."""

    def write(file: h5py.File) -> None:
        pose = add_pose(file)
        steps = np.random.default_rng(0).integers(-3, 4, (400_000, 2))
        for name in "abcdef":
            data = (steps.cumsum(axis=0) % 30_000).astype(np.int16)
            add_part(pose, name, data, start_and_rate=(0.0, 100.0))

    figure_url = publish(worker, file_bytes(write))
    figure = open_figure(figure_url)
    fetched: List[int] = []
    figure.page.on(
        "response",
        lambda response: fetched.append(int(response.headers.get("content-length", 0))),
    )
    figure.page.reload()
    figure.wait_until_drawn()
    data = sum(fetched[n] for n, _ in enumerate(fetched))
    assert data - 2_400_000 < 1_500_000  # the front end itself has 2.3 MB; the data have 10
    before = len(fetched)
    figure.move_slider("Time", 3000.0)
    figure.wait_for("50:00.000 of")
    figure.wait_until_drawn()
    assert 0 < len(fetched) - before <= 6
    assert sum(fetched[before:]) < 1_500_000


@needs_real_poses
@pytest.mark.parametrize("name", REAL_POSES)
def test_real_file_draws(name: str, worker: LocalWorker, open_figure: Open) -> None:
    """The figure of a real file names its parts in picture and list."""
    figure = open_figure(publish(worker, (REAL_DIR / name).read_bytes()))
    names = figure.page.locator(".dvp-parts li").all_inner_texts()
    with h5py.File(REAL_DIR / name, "r") as file:
        pose = file[POSE_PATH]
        series = {n for n in pose if pose[n].attrs.get("neurodata_type") == "PoseEstimationSeries"}
    assert set(names) == series
    assert series & set(figure.drawn_texts())


def test_recording_without_times_counts_frames(worker: LocalWorker, open_figure: Open) -> None:
    """And the figure says so."""

    def write(file: h5py.File) -> None:
        data = np.array([nose_at(frame) for frame in range(40)])
        add_part(add_pose(file), "nose", data, times=np.full(40, np.nan))

    figure = open_figure(publish(worker, file_bytes(write)))
    figure.page.keyboard.press("ArrowRight")
    figure.wait_for("frame 1 of 39")
    note = figure.page.locator(".dvp-notes").inner_text()
    assert note == "Frame numbers are shown, since the times are unknown: all timestamps are NaN"
