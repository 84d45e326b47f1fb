"""Each figure job draws the same from another form of a file: Zarr or LINDI.

That the reader gives the same values of every form is in `tests/nwb/test_zarr.py`.
"""

import json
from pathlib import Path
from typing import Any, Dict, Iterator, Tuple

import h5py
import pytest
from pose_figures import StoredFigure
from range_server import RangeServer
from run_handler import RASTER, run_handler
from zarr_files import FORMATS, lindi_of, tar_of, zarr_files

from devaria.nwb.synthetic import MOVIE_PATH, POSE_PATH, UNITS_PATH, write_synthetic_nwb
from devaria.worker.server import LocalWorker

JOBS: Dict[str, Tuple[str, Dict[str, Any]]] = {
    "raster": (RASTER, {"units_path": UNITS_PATH}),
    "pose": (
        "devaria.jobs.figpack_nwb_pose_estimation:FigpackNwbPoseEstimationHandler",
        {"path": POSE_PATH},
    ),
    "video": (
        "devaria.jobs.figpack_nwb_video_preview:FigpackNwbVideoPreviewHandler",
        {"image_series_path": MOVIE_PATH},
    ),
}

ZARR = f"/v{FORMATS[-1]}.nwb.zarr"

FORMS = {"raster": ZARR, "pose": "/x.lindi.json", "video": "/x.lindi.tar"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RangeServer]:
    """Serve all forms of a synthetic file."""
    folder = tmp_path_factory.mktemp("forms")
    path = folder / "x.nwb"
    write_synthetic_nwb(path, num_units=5, duration_sec=20.0, pose_sec=3.0, movie_sec=1.0)
    with RangeServer({"/x.nwb": path.read_bytes()}) as running, h5py.File(path, "r") as file:
        document = lindi_of(file, running.url("/x.nwb"), most_chunks=2)
        running.files["/x.lindi.json"] = json.dumps(document).encode()
        running.files["/x.lindi.tar"] = tar_of({"lindi.json": json.dumps(document).encode()})
        files = zarr_files(file, folder / "zarr", version=FORMATS[-1])
        running.files.update({f"{ZARR}/{key}": files[key] for key in files})
        yield running


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tuple[LocalWorker, Path]]:
    """Run a figure store, and tell its folder."""
    data_dir = tmp_path_factory.mktemp("worker")
    with LocalWorker(data_dir, port=0, rate_limit=False) as worker:
        yield worker, data_dir


def figure(store: Tuple[LocalWorker, Path], server: RangeServer, job: str, form: str) -> Any:
    """Run a job, and return the chunks of its figure."""
    worker, data_dir = store
    handler, params = JOBS[job]
    outcome = run_handler(
        {"nwb_url": server.url(form), **params},
        api_url=worker.figpack_api_url,
        api_key=worker.keys.runner,
        handler=handler,
    )
    assert outcome.error == "", outcome.console
    (folder,) = data_dir.rglob(outcome.result["figpack_url"].split("/")[-2])
    return StoredFigure(folder).chunks()


@pytest.mark.parametrize("job", JOBS)
def test_the_same_figure(store: Tuple[LocalWorker, Path], server: RangeServer, job: str) -> None:
    """Every chunk of the figure's arrays, decoded. It takes two jobs, each a process or two."""
    expected = figure(store, server, job, "/x.nwb")
    assert len(expected) > 1
    assert figure(store, server, job, FORMS[job]) == expected
