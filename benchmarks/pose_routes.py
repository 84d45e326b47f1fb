"""Run one route from a pose estimation to a figure, in this process.

    python benchmarks/pose_routes.py stock|ours URL

"stock" reads all parts with h5py over plain HTTP, stacks them and saves them, as the view does that
came before: equal lengths, one rate for all, the median of the first 1,000 steps. "ours" is the
job's handler, which here saves the figure instead of uploading it.

Prints a JSON object with the seconds that it took, without imports for "stock".
"""

import contextlib
import io
import json
import os
import sys
import tempfile
import time
from typing import Any

from raster_routes import PlainHttpFile

#: Where the bench's file has its pose.
POSE_PATH = "/processing/behavior/PoseEstimation"


def stock(url: str) -> None:
    """Read, stack and save as the earlier view does."""
    import figpack
    import h5py
    import numpy as np

    class Stacked(figpack.ExtensionView):
        def __init__(self, **arrays: Any) -> None:
            extension = figpack.FigpackExtension(name="stock", javascript_code="// none")
            super().__init__(extension=extension, view_type="stock.Pose")
            self._arrays = arrays

        def write_to_zarr_group(self, group: figpack.Group) -> None:
            super().write_to_zarr_group(group)
            for name, array in self._arrays.items():
                group.create_dataset(name, data=array)

    with h5py.File(io.BufferedReader(PlainHttpFile(url), 1 << 16), "r") as file:
        pose = file[POSE_PATH]
        names = [n for n in pose if pose[n].attrs.get("neurodata_type") == "PoseEstimationSeries"]
        positions = np.stack([pose[name]["data"][()].astype(np.float32) for name in names])
        confidence = np.stack([pose[name]["confidence"][()].astype(np.float32) for name in names])
        times = pose[names[0]]["timestamps"][()]
    rate_hz = 1 / np.median(np.diff(times[:1000]))
    view = Stacked(positions=positions, confidence=confidence, rate_hz=np.array([rate_hz]))
    _save(view)


def ours(url: str) -> None:
    """Run the job's handler."""
    from devaria.jobs.figpack_nwb_pose_estimation import FigpackNwbPoseEstimationHandler

    class Saving(FigpackNwbPoseEstimationHandler):
        def publish(self, figure: Any, *_: Any) -> str:
            return _save(figure.view)

    os.environ.update(FIGPACK_API_KEY="none", FIGPACK_API_BASE_URL="http://127.0.0.1:9")
    with contextlib.redirect_stdout(io.StringIO()):
        Saving().execute({"nwb_url": url, "path": POSE_PATH}, lambda **_news: None)


def _save(view: Any) -> str:
    with tempfile.TemporaryDirectory() as folder:
        view.save(folder + "/figure", title="T")
    return ""


def main() -> None:
    """Run the route that the command line names."""
    route, url = sys.argv[1:]
    if route == "stock":
        import figpack  # noqa: F401
        import h5py  # noqa: F401
    start = time.perf_counter()
    {"stock": stock, "ours": ours}[route](url)
    print(json.dumps({"inner_sec": time.perf_counter() - start}))


if __name__ == "__main__":
    main()
