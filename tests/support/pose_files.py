"""NWB files with pose estimations for tests, and the real files if they are available."""

import contextlib
import io
from pathlib import Path
from typing import Any, Callable, Iterator, List, Optional, Sequence, Tuple

import h5py
import numpy as np
import pytest
from range_server import LOOPBACK, RangeServer

from devaria.nwb import open_remote
from devaria.nwb.pose.parts import PosePart, PoseSetting
from devaria.nwb.pose.reader import PoseReader
from devaria.nwb.synthetic.session import marked_group

REAL_DIR = Path(__file__).resolve().parents[3] / "shared" / "data" / "pose"

needs_real_poses = pytest.mark.skipif(
    not REAL_DIR.is_dir(), reason="no real NWB files beside the checkout"
)

REAL_POSES = (
    "pose_dlc2nwb_m3v1mp4_openfield.nwb",
    "pose_ndx-pose_0.1.1_nodes_edges.nwb",
    "pose_ndx-pose_0.3.0_one_camera.nwb",
)

#: Where the real files have their pose, and the synthetic one.
POSE_PATH = "/processing/behavior/PoseEstimation"


def add_pose(parent: h5py.Group, name: str = POSE_PATH) -> h5py.Group:
    """Create an empty container."""
    return marked_group(parent, name, "PoseEstimation", "ndx-pose")


def add_part(
    pose: h5py.Group,
    name: str,
    data: Any,
    *,
    times: Any = None,
    same_times_as: str = "",
    start_and_rate: Optional[Tuple[Any, Any]] = None,
    confidence: Any = None,
    attributes: Any = None,
    **options: Any,
) -> h5py.Group:
    """Write the series of one part; its times in the way that is asked for."""
    series = marked_group(pose, name, "PoseEstimationSeries", "ndx-pose")
    stored = series.create_dataset("data", data=data, **options)
    stored.attrs.update({"unit": "pixels", "conversion": 1.0, **(attributes or {})})
    if times is not None:
        series["timestamps"] = times
    if same_times_as:
        series["timestamps"] = h5py.SoftLink(f"{pose.name}/{same_times_as}/timestamps")
    if start_and_rate is not None:
        start, rate = start_and_rate
        series["starting_time"] = start
        if rate is not None:
            series["starting_time"].attrs["rate"] = rate
    if confidence is not None:
        series["confidence"] = confidence
    return series


def add_skeleton(group: h5py.Group, nodes: Sequence[str], edges: Any) -> None:
    """Write nodes and edges into a container or a skeleton."""
    group.create_dataset("nodes", data=list(nodes), dtype=h5py.string_dtype())
    group["edges"] = edges


def walk(frames: int, seed: int = 0) -> "np.ndarray":
    """Return positions of a part that walks about, shape (frames, 2)."""
    rng = np.random.default_rng(seed)
    return 200 + np.cumsum(rng.standard_normal((frames, 2)), axis=0)


def file_bytes(write: Callable[[h5py.File], object]) -> bytes:
    """Return the bytes of a file that a function writes."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        write(file)
    return buffer.getvalue()


@contextlib.contextmanager
def opened(content: bytes) -> Iterator[Any]:
    """Serve a file, and open it as a handler does."""
    with RangeServer({"/pose.nwb": content}) as server, open_remote(
        server.url("/pose.nwb"), allow_hosts=LOOPBACK
    ) as file:
        yield file


def read_pose(
    file: Any, path: str, frame_step: int = 1
) -> Tuple[List[PosePart], PoseSetting, List[str]]:
    """Read all parts of a pose, what they have in common, and the notes."""
    reader = PoseReader(file, path)
    parts = list(reader.parts(frame_step))
    setting = reader.setting(frame_step)
    return parts, setting, reader.notes
