"""The video job: result, description, console, the video in the figure, and errors."""

import io
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import h5py
import numpy as np
import pytest
import requests
from image_files import (
    EXTERNAL_VIDEO,
    MATLAB_VIDEO,
    add_series,
    needs_real_videos,
    series_bytes,
)
from processes import environment, finished, running, text_of, without
from range_server import SECRET, RangeServer
from run_handler import Outcome, run_handler
from waiting import wait_until

from devaria.figures.video_scaling import GreyScale, ValueRange
from devaria.jobs.figpack_nwb_video_preview import FigpackNwbVideoPreviewHandler
from devaria.nwb.errors import InvalidInputError, NwbError
from devaria.testing import local_worker
from devaria.worker.server import LocalWorker

av = pytest.importorskip("av", reason="PyAV is not installed")

HANDLER = "devaria.jobs.figpack_nwb_video_preview:FigpackNwbVideoPreviewHandler"
MOVIE = "/acquisition/movie"


def smooth(count: int, rows: int = 48, columns: int = 64) -> Any:
    """Make uint16 frames with a bright spot that moves and grows brighter."""
    grid = np.mgrid[:rows, :columns]
    frames = np.empty((count, rows, columns), np.uint16)
    for number, frame in enumerate(frames):
        spot = np.exp(-((grid[0] - 20) ** 2 + (grid[1] - columns * number / count) ** 2) / 60)
        frame[...] = 200 + 4 * grid[0] + (500 + 10 * number) * spot
    return frames


def odd_bytes() -> bytes:
    """Return a file whose series are odd in one way each."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        frames = smooth(6)
        add_series(file, "colour", np.stack([frames // 16] * 3, axis=-1).astype(np.uint8))
        add_series(file, "volume", np.stack([frames] * 5, axis=-1))
        add_series(file, "stamped", frames, timestamps=[0, 1, 2, 4, 3, 5])
        add_series(file, "untimed", frames, start_sec=None)
        add_series(file, "wide", np.zeros((2, 30, 2050), np.uint8))
        add_series(file, "constant", np.full((4, 8, 8), -3.5))
        add_series(file, "negative", frames.astype(np.int16) - 400)
        add_series(file, "all_nan", np.full((4, 8, 8), np.nan, np.float32))
        add_series(file, "slow", frames, rate_hz=0.01)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def files() -> Iterator[RangeServer]:
    """Serve the files of this module."""
    movie = series_bytes(
        smooth(50), start_sec=10.0, rate_hz=20.0, chunks=(1, 48, 64), compression="gzip"
    )
    with RangeServer({"/movie.nwb": movie, "/odd.nwb": odd_bytes()}) as server:
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
    monkeypatch.setenv("DEVARIA_ALLOW_HOSTS", "127.0.0.1")


class Unpublished(FigpackNwbVideoPreviewHandler):
    """The handler, but its figure stays here: no store, and no process of its own."""

    def publish(self, figure: Any, *_rest: Any) -> str:
        """Keep the figure."""
        self.figure = figure
        return "http://store/figure/index.html"


def drawn(files: RangeServer, run_dir: Path, path: str, **params: Any) -> Any:
    """Run a job in this process, and return its figure."""
    handler = Unpublished()
    given = {"nwb_url": files.url("/odd.nwb"), "image_series_path": path, **params}
    handler.run(given, lambda **_news: None, run_dir)
    return handler.figure


def publish(figures: LocalWorker, **input_params: Any) -> Outcome:
    """Run a job in its own process, with uploads to the figure store."""
    return run_handler(
        input_params,
        api_url=figures.figpack_api_url,
        api_key=figures.keys.runner,
        handler=HANDLER,
    )


def metadata(outcome: Outcome) -> Any:
    """Return the metadata of a published figure's data."""
    url = outcome.result["figpack_url"].replace("index.html", "data.zarr/.zmetadata")
    return requests.get(url, timeout=10).json()


def decoded(outcome: Outcome) -> Tuple[Any, List[float]]:
    """Return the frames of a published video as grey levels, and their times in the video."""
    url = outcome.result["figpack_url"].replace("index.html", "data.zarr/")
    refs = metadata(outcome)["refs"]
    pieces = []
    for number in range(sum(name.startswith("mp4/") for name in refs)):
        name, start, length = refs[f"mp4/{number}"]
        content = requests.get(url + name, timeout=10).content
        pieces.append(content[start : start + length])
    with av.open(io.BytesIO(b"".join(pieces))) as container:
        frames = list(container.decode(video=0))
    levels = np.array([frame.to_ndarray(format="rgb24").mean(axis=2) for frame in frames])
    return levels, [float(frame.pts * frame.time_base) for frame in frames]


@pytest.fixture(scope="module")
def published(files: RangeServer, figures: LocalWorker) -> Outcome:
    """Run a good job, with all parameters that the front end sends, and one that nobody knows."""
    return publish(
        figures,
        nwb_url=files.url(f"/to/movie.nwb?{SECRET}"),
        image_series_path=MOVIE,
        max_frames=20,
        neurosift_url="https://neurosift.app/nwb",
        dandiset_id="",
        colour_map="viridis",
    )


def test_result(published: Outcome, files: RangeServer, figures: LocalWorker) -> None:
    """The result has the figure's URL, the parameters and the number of frames."""
    assert published.error == ""
    url = published.result.pop("figpack_url")
    assert published.result == {
        "nwb_url": files.url(f"/to/movie.nwb?{SECRET}"),
        "image_series_path": MOVIE,
        "max_frames": 20,
        "mode": "whole",
        "neurosift_url": "https://neurosift.app/nwb",
        "dandiset_id": "",
        "num_frames": 17,
    }
    published.result["figpack_url"] = url
    assert url.startswith(f"{figures.url}/figures/")
    assert published.left_behind == []


def test_console_and_progress(published: Outcome, files: RangeServer) -> None:
    """Each step is in the console, without the signature, and progress rises to the end."""
    own = [line[11:] for line in published.console.splitlines() if line.startswith("[")]
    levels = next(line for line in own if line.startswith("Black is "))
    assert own == [
        "Importing libraries",
        f"Loading NWB file from {files.url('/to/movie.nwb')}?…",
        f"Image series path: {MOVIE}",
        "Reading 17 of 50 frames (ImageSeries)",
        "17 frames, spread over all 50, 10 to 12.4 s: 30 a second, 4.5 times real time",
        levels,
        "Created the video preview",
        "Uploading the figure",
        f"Figure URL: {published.result['figpack_url']}",
        "Completed!",
    ]
    assert "s3cr3t" not in published.console
    done = [current for current, _ in published.progress]
    assert done == sorted(done)
    assert len(done) > 17
    assert done[-1] == 100


def test_description(published: Outcome) -> None:
    """The figure says what it shows and how, and links to the page that asked for it."""
    attrs = metadata(published)["metadata"][".zattrs"]
    assert attrs["title"].startswith("Video Preview from NWB Image Series: ")
    assert f"Image series: `{MOVIE}`" in attrs["description"]
    assert "17 frames, spread over all 50, 10 to 12.4 s: 30 a second, 4.5" in attrs["description"]
    assert "the percentiles 0.5 and 99.5 of 17 frames" in attrs["description"]
    assert "<https://neurosift.app/nwb>" in attrs["description"]
    assert "s3cr3t" not in attrs["description"]
    assert (attrs["width"], attrs["height"], attrs["num_frames"]) == (64, 48, 17)


def test_video_equals_the_file(published: Outcome) -> None:
    """Each frame of the video is that of the file, scaled, within two grey levels on average."""
    frames = smooth(50)[::3]
    levels, times_sec = decoded(published)
    assert times_sec == pytest.approx([number / 30 for number in range(17)])
    low, high = np.percentile(frames, [0.5, 99.5])
    scale = GreyScale(ValueRange(low, high), frames.dtype).scale
    wanted = np.empty(frames[0].shape, np.uint8)
    for frame, level in zip(frames, levels):
        scale(frame, wanted)
        assert abs(level.mean() - wanted.mean()) < 2
        assert np.abs(level - wanted).mean() < 4


@needs_real_videos
def test_real_file(figures: LocalWorker) -> None:
    """The video of a real file has the mean of its frames, as h5py reads them."""
    with RangeServer({"/m.nwb": MATLAB_VIDEO.read_bytes()}) as server:
        outcome = publish(
            figures, nwb_url=server.url("/m.nwb"), image_series_path="/acquisition/Camera input"
        )
    assert outcome.result["num_frames"] == 24
    with h5py.File(MATLAB_VIDEO) as file:
        frames = file["acquisition/Camera input/data"][()]
    assert len(np.unique(frames)) == 1  # a camera with its lid on: grey, as is said
    assert "Grey: all values of 12 frames are 0" in outcome.console
    levels, _ = decoded(outcome)
    assert np.abs(levels[:, :30, :24] - 128).max() < 2


@needs_real_videos
@pytest.mark.usefixtures("key")
def test_real_external_file(tmp_path: Path) -> None:
    """A series whose frames lie in other files is an error that names them."""
    with RangeServer({"/odd.nwb": EXTERNAL_VIDEO.read_bytes()}) as server, pytest.raises(
        NwbError, match="/acquisition/test_image_series are not in this file, but in external files"
    ):
        drawn(server, tmp_path, "/acquisition/test_image_series")


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize(
    ("path", "params", "notes"),
    [
        (
            "/colour",
            {},
            [
                "All 6 frames, 0 to 0.5 s: 30 a second, 3 times real time",
                "Colours as they are in the file",
            ],
        ),
        (
            "/volume",
            {"mode": "start", "max_frames": 2},
            [
                "The first 2 of 6 frames, 0 to 0.1 s: 10 a second, real time",
                "…",
                "Volumes: plane 3 of 5 is shown",
            ],
        ),
        (
            "/stamped",
            {"mode": "start"},
            [
                "All 6 frames, 0 to 5 s: 1 a second, real time",
                "…",
                "The times in the file are not in order: the frames are shown sorted by time",
            ],
        ),
        (
            "/untimed",
            {"mode": "start"},
            [
                "All 6 frames: 30 a second",
                "…",
                "The file has no times of the frames: their numbers are shown instead",
            ],
        ),
        (
            "/slow",
            {"mode": "start"},
            ["All 6 frames, 0 to 500 s: 0.1 a second, 10 times real time", "…"],
        ),
        (
            "/constant",
            {},
            ["…", "Grey: all values of 4 frames are -3.5"],
        ),
    ],
)
def test_odd_series(
    files: RangeServer, tmp_path: Path, path: str, params: Dict[str, Any], notes: List[str]
) -> None:
    """What is odd about a series, and how it is shown, is said."""
    figure = drawn(files, tmp_path, path, **params)
    assert len(figure.notes) == max(len(notes), 2)
    assert all(note in ("…", said) for note, said in zip(notes, figure.notes))


@pytest.mark.usefixtures("key")
def test_wide_frames_are_made_smaller(files: RangeServer, tmp_path: Path) -> None:
    """The caption tells both sizes."""
    view = drawn(files, tmp_path, "/wide").view
    assert view._caption[0] == "ImageSeries, 2,050 x 30 pixels of uint8, made smaller to 1,024 x 14"


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"mode": "middle"}, "mode must be one of 'whole', 'start', not 'middle'"),
        ({"max_frames": 0}, "max_frames must be a whole number from 1 to 5000, not 0"),
        ({"max_frames": 5001}, "max_frames must be a whole number from 1 to 5000, not 5001"),
        ({"max_frames": "10"}, "max_frames must be a whole number from 1 to 5000, not '10'"),
        ({"image_series_path": "/"}, "image_series_path must be the path of a group, such as"),
        ({"image_series_path": 3}, "image_series_path must be a string"),
    ],
)
def test_invalid_parameters(
    files: RangeServer, tmp_path: Path, params: Dict[str, Any], text: str
) -> None:
    """A parameter that is not allowed is named before anything is fetched."""
    files.asked.clear()
    with pytest.raises(ValueError, match="must be") as caught:
        drawn(files, tmp_path, **{"path": "/colour", **params})
    assert text in str(caught.value)
    assert files.asked == []


@pytest.mark.usefixtures("key")
def test_path_to_nothing(files: RangeServer, tmp_path: Path) -> None:
    """A path that names nothing lists the image series of the file."""
    with pytest.raises(InvalidInputError, match="image series in the file: /all_nan, /colour, "):
        drawn(files, tmp_path, "/acquisition/none")


@pytest.mark.usefixtures("key")
def test_nothing_but_nan(files: RangeServer, tmp_path: Path) -> None:
    """A series without any number is an error that says so."""
    with pytest.raises(NwbError, match="nothing to show: in the 4 frames that were looked at"):
        drawn(files, tmp_path, "/all_nan")


def test_the_type_needs_pyav(tmp_path: Path, files: RangeServer) -> None:
    """Of two runners, only the one with PyAV offers the type; the other one says why."""
    with local_worker() as worker:
        env = environment(
            DEVARIA_WORKER_URL=worker.url,
            DEVARIA_RUNNER_API_KEY=worker.keys.runner,
            DEVARIA_SUBMIT_API_KEY=worker.keys.submit,
            DEVARIA_POLL_INTERVAL="0.2",
            DEVARIA_ALLOW_HOSTS="127.0.0.1",
            FIGPACK_API_BASE_URL=worker.figpack_api_url,
            FIGPACK_API_KEY=worker.keys.runner,
        )
        hidden = {**env, **without("av", tmp_path)}
        command = [sys.executable, "-m", "devaria"]
        tried = finished([sys.executable, "-c", "import av"], tmp_path, hidden)
        assert "ModuleNotFoundError: No module named 'av'" in tried.stderr
        folders = [tmp_path / "with", tmp_path / "without"]
        for folder in folders:
            folder.mkdir()
        with running([*command, "runner"], folders[1], hidden, tmp_path / "without.out"):
            log = folders[1] / "devaria_runner.log"
            wait_until(lambda: "Polling every" in text_of(log), "the runner polls")
            path = f"image_series_path={MOVIE}"
            params = ["-p", f"nwb_url={files.url('/movie.nwb')}", "-p", path]
            submit = [*command, "submit", "figpack_nwb_video_preview", *params]
            assert ": pending" in finished(submit, tmp_path, env).stdout
            done = finished([*command, "runner", "--burst"], folders[0], env)
            assert done.returncode == 0, done.stdout + done.stderr
            assert '"num_frames": 50' in finished([*submit, "--wait"], tmp_path, env).stdout
        reason = 'av is not installed: `pip install "devaria[video]"`'
        said = f"figpack_nwb_video_preview is not offered: {reason}"
        assert said in text_of(log)
        assert "figpack_nwb_video_preview" not in text_of(log).replace(said, "")
        assert "is not offered" not in text_of(folders[0] / "devaria_runner.log")
