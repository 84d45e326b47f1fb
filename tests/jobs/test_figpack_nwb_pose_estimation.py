"""The pose job: its figure has what the file has, and it says what it shows otherwise."""

from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import h5py
import numpy as np
import pytest
from pose_figures import StoredFigure, assert_shown
from pose_files import (
    POSE_PATH,
    REAL_DIR,
    REAL_POSES,
    add_part,
    add_pose,
    file_bytes,
    needs_real_poses,
    opened,
    walk,
)
from range_server import RangeServer
from run_handler import Outcome, run_handler

from devaria.figures import pose_arrays
from devaria.figures.progress import Progress
from devaria.jobs.figpack_nwb_pose_estimation import FigpackNwbPoseEstimationHandler
from devaria.nwb.synthetic import write_synthetic_nwb
from devaria.worker.server import LocalWorker

HANDLER = "devaria.jobs.figpack_nwb_pose_estimation:FigpackNwbPoseEstimationHandler"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tuple[LocalWorker, Path]]:
    """Run a figure store, and tell its folder."""
    data_dir = tmp_path_factory.mktemp("worker")
    with LocalWorker(data_dir, port=0, rate_limit=False) as worker:
        yield worker, data_dir


def job(worker: LocalWorker, content: bytes, **params: Any) -> Outcome:
    """Run a job in its own process, with uploads to the figure store."""
    with RangeServer({"/file.nwb": content}) as files:
        return run_handler(
            {"nwb_url": files.url("/file.nwb"), "path": POSE_PATH, **params},
            api_url=worker.figpack_api_url,
            api_key=worker.keys.runner,
            handler=HANDLER,
        )


def stored(outcome: Outcome, data_dir: Path) -> StoredFigure:
    """Return the figure of a job from the store."""
    assert outcome.error == "", outcome.console
    figure_id = outcome.result["figpack_url"].split("/")[-2]
    (folder,) = data_dir.rglob(figure_id)
    return StoredFigure(folder)


def expected(path: Path) -> Dict[str, Tuple[Any, Any, Any]]:
    """Read times, positions and confidence of each part with h5py."""
    with h5py.File(path, "r") as file:
        pose = file[POSE_PATH]
        return {
            name: (
                series["timestamps"][:],
                series["data"][:, :2],
                series["confidence"][:],
            )
            for name, series in pose.items()
            if series.attrs.get("neurodata_type") == "PoseEstimationSeries"
        }


@needs_real_poses
@pytest.mark.parametrize("name", REAL_POSES)
def test_real_figure_holds_the_file(name: str, store: Tuple[LocalWorker, Path]) -> None:
    """Each time exactly, each position and confidence to half of 1/65,534 of its range."""
    worker, data_dir = store
    figure = stored(job(worker, (REAL_DIR / name).read_bytes()), data_dir)
    parts = expected(REAL_DIR / name)
    assert {part.name for part in figure.parts()} == set(parts)
    for part in figure.parts():
        assert_shown(part, *parts[part.name])


def test_synthetic_figure_holds_the_file(store: Tuple[LocalWorker, Path], tmp_path: Path) -> None:
    """The demo's animal, with its skeleton; result and description have the parameters."""
    worker, data_dir = store
    path = tmp_path / "synthetic.nwb"
    write_synthetic_nwb(path, num_units=2, duration_sec=5.0, pose_sec=60.0)
    page = "https://neurosift.app/nwb"
    outcome = job(worker, path.read_bytes(), neurosift_url=page, dandiset_id="000123", more=5)
    figure = stored(outcome, data_dir)
    parts = expected(path)
    assert [part.name for part in figure.parts()][:2] == ["nose", "left_ear"]
    for part in figure.parts():
        assert_shown(part, *parts[part.name])
    assert len(figure.attrs["edges"]) == 10
    names = ["figpack_url", "nwb_url", "path", "neurosift_url", "dandiset_id"]
    assert list(outcome.result) == names
    assert figure.attrs["title"].startswith("Pose Estimation from NWB: ")
    description = figure.attrs["description"]
    assert f"Pose estimation: `{POSE_PATH}`\n\nNeurosift: <{page}>" in description
    assert "Read 10 parts, at most 1,800 frames each" in outcome.console
    assert "Created the pose figure" in outcome.console
    current = [done for done, _ in outcome.progress]
    assert current == sorted(current)
    assert current[-1] == 100
    assert outcome.left_behind == []


def test_notes_are_in_console_description_and_figure(store: Tuple[LocalWorker, Path]) -> None:
    """What is shown otherwise than stored is said in all three."""
    worker, data_dir = store

    def write(file: h5py.File) -> None:
        add_part(add_pose(file), "*nose*", np.ones((5, 3)), times=np.full(5, np.nan))

    outcome = job(worker, file_bytes(write))
    figure = stored(outcome, data_dir)
    notes = [
        "Of parts with three dimensions, x and y are shown: all",
        "Frame numbers are shown, since the times are unknown: all timestamps are NaN",
    ]
    assert figure.attrs["notes"] == notes
    for note in notes:
        assert note in outcome.console
        assert note in figure.attrs["description"]


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({}, "InvalidInputError: path /x is not in the file; PoseEstimation paths in the file: /a"),
        ({"path": "/a"}, "NwbError: /a has no PoseEstimationSeries, so there is no part to show"),
        ({"path": 5}, "ValueError: path must be a string, not 5"),
    ],
)
def test_errors(params: Any, error: str, store: Tuple[LocalWorker, Path]) -> None:
    """A wrong path, a container without parts and a wrong parameter; nothing is uploaded."""
    content = file_bytes(lambda file: add_pose(file, "/a"))
    outcome = job(store[0], content, **{"path": "/x", **params})
    assert outcome.error == error
    assert "Uploading" not in outcome.console
    assert outcome.left_behind == []


def test_frames_over_the_limit_are_thinned_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    """All parts by the same step, and it is said."""
    monkeypatch.setattr(pose_arrays, "MAX_POSITION_BYTES", 4 * 40)
    times = np.arange(50.0)

    def write(file: h5py.File) -> None:
        pose = add_pose(file)
        add_part(pose, "a", walk(50), times=times)
        add_part(pose, "b", walk(30, 1), times=times[:30])

    told: List[float] = []
    handler = FigpackNwbPoseEstimationHandler()
    progress = Progress(told.append, lambda _line: None)
    with opened(file_bytes(write)) as file:
        data = handler.read(file, POSE_PATH, {}, progress)
    figure = handler.draw(data, {}, progress)
    assert figure.notes == ["One of 2 frames is shown: there are too many for a figure"]
    clocks = [clock.levels[0] for clock in figure.view._clocks]
    np.testing.assert_array_equal(clocks[0].times.ravel(), times[::2])
    np.testing.assert_array_equal(clocks[1].times.ravel(), times[:30:2])
    assert told[-1] == 75
