"""Read damaged files one after another, in a process that may crash.

As a script, it takes the name of a reader, reads a URL from each line of its input, and writes an
outcome for each: "read" or "error: <text>".
"""

import json
import math
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

from local_nwb import LocalNwb

from devaria.nwb.errors import InvalidInputError, NwbError
from devaria.nwb.hdf5.remote_file import RemoteFile, open_remote_file
from devaria.nwb.http.ranges import HttpRanges
from devaria.nwb.limits import ReadLimits
from devaria.nwb.node import Node
from devaria.nwb.units.reader import read_units_table

#: Most memory that the process may allocate.
MAX_BYTES = 1024**3


def units(file: RemoteFile, file_bytes: int) -> None:
    """Read ``/units``."""
    table = read_units_table(file, "/units", file_bytes=file_bytes)
    assert len(table.unit_ids) == len(table.unit_stops) > 0
    assert table.unit_stops[-1] == len(table.spike_times_sec) > 0
    assert table.start_time_sec <= table.end_time_sec


def pose(file: RemoteFile, file_bytes: int) -> None:
    """Read a pose, and build its figure."""
    from pose_files import POSE_PATH, read_pose

    from devaria.figures.pose import PoseView
    from devaria.figures.pose_arrays import PoseArrays

    with tempfile.TemporaryDirectory() as folder, file.explained():
        local = LocalNwb(file, file_bytes, Path(folder), ReadLimits())
        parts, setting, notes = read_pose(local, POSE_PATH)
    arrays = PoseArrays(len(parts))
    for part in parts:
        assert len(part.times) == len(part.positions) > 0
        assert (part.times[1:] >= part.times[:-1]).all()
        arrays.add(part)
    attributes = PoseView(setting, arrays, notes)._attributes()
    json.dumps(attributes, allow_nan=False)
    assert math.isfinite(attributes["end_time"] - attributes["start_time"])
    assert all(note.isprintable() for note in notes)


def video(file: RemoteFile, file_bytes: int) -> None:
    """Read an image series, and make a video and its figure."""
    from devaria.figures.progress import Progress
    from devaria.jobs.figpack_nwb_video_preview import FigpackNwbVideoPreviewHandler

    handler = FigpackNwbVideoPreviewHandler()
    with tempfile.TemporaryDirectory() as folder, file.explained():
        handler.run_dir = Path(folder)
        handler.log = lambda _text: None  # type: ignore[method-assign] # the output has outcomes
        progress = Progress(lambda _percent: None, lambda _line: None)
        (handler.run_dir / "arrays").mkdir()
        local = LocalNwb(file, file_bytes, handler.run_dir / "arrays", ReadLimits())
        params = {"mode": "start", "max_frames": 20}
        encoded = handler.read(local, "/acquisition/movie", params, progress)
        figure = handler.draw(encoded, params, progress)
        assert 0 < figure.result["num_frames"] == len(encoded.shown.rows) <= 20
    assert (encoded.shown.times_sec[1:] >= encoded.shown.times_sec[:-1]).all()
    json.dumps(figure.view.attributes(1), allow_nan=False)
    assert all(note.isprintable() for note in figure.notes)


def tree(file: RemoteFile, file_bytes: int) -> None:
    """Look at all that there is, and read every dataset in each way."""
    with tempfile.TemporaryDirectory() as folder, file.explained():
        local = LocalNwb(file, file_bytes, Path(folder), ReadLimits())
        local.find(["TimeSeries"])
        nodes = {node.path: node for node in _nodes(local.look("/", depth=3))}
        failures = [error for node in nodes.values() for error in _read(local, node)]
    if failures:
        raise failures[0]


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children.values():
        yield from _nodes(child)


def _read(local: LocalNwb, node: Node) -> Iterator[Exception]:
    """Read a dataset, and return the errors: others may be whole."""
    ways: List[Callable[[], Any]] = []
    if node.dtype == "text":
        ways = [lambda: local.text(node.path)]
    elif node.dtype[:1] in ("<", ">", "|"):
        rows = slice(1, None, 2) if node.shape else None
        ways = [
            lambda: list(local.read_each([(node.path, None), (node.path, rows)])),
            lambda: list(local.batches(node.path, rows, batch_bytes=500)),
        ]
    for way in ways:
        try:
            way()
        except (NwbError, InvalidInputError) as error:
            yield error


READERS: Dict[str, Callable[[RemoteFile, int], None]] = {
    "units": units,
    "pose": pose,
    "video": video,
    "tree": tree,
}


def outcome(reader: Callable[[RemoteFile, int], None], url: str) -> str:
    """Read one file, and return the outcome."""
    try:
        with open_remote_file(HttpRanges(url, allow_hosts=["127.0.0.1"])) as (file, file_bytes):
            reader(file, file_bytes)
    except (NwbError, InvalidInputError) as error:
        text = str(error)
        return f"error: {text}" if text.isprintable() else f"unprintable: {text!a}"
    return "read"


def main() -> None:
    """Answer each line of the input."""
    reader = READERS[sys.argv[1]]
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_BYTES, MAX_BYTES))
    for line in sys.stdin:
        print(outcome(reader, line.strip()), flush=True)


if __name__ == "__main__":
    main()
