"""Where the parts of a pose estimation lie in a file, and whether they can be read."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, List, Optional, Tuple

from devaria.common.text import one_line
from devaria.nwb.errors import InvalidInputError, NotInFileError, NwbError
from devaria.nwb.node import Node, one_number
from devaria.nwb.pose.times import LARGEST_SEC

if TYPE_CHECKING:
    from devaria.nwb.sandbox.remote import RemoteNwb

CONTAINER_TYPE = "PoseEstimation"
SERIES_TYPE = "PoseEstimationSeries"

#: Most parts, and most frames of a part: 46 hours at 120 a second.
MAX_PARTS = 500
MAX_FRAMES = 20_000_000

#: How deep the container is looked at: its series, and the datasets of these.
_DEPTH = 2


@dataclass(frozen=True)
class Series:
    """The series of one part.

    Attributes:
        name: Its name in the file.
        data: The dataset of the positions, shape (frames, 2) or (frames, 3).
        confidence: The dataset of the confidence, a number a frame; None if there is none.
        timestamps: The dataset of the times, a number a frame; None if there is none.
        starting_time: The time of the first frame; None if there is none.
        rate_hz: Frames a second; None if there is none.
        reference_frame: Path of the text that says where x and y begin; None if there is none.
    """

    name: str
    data: Node
    confidence: Optional[Node]
    timestamps: Optional[Node]
    starting_time: Optional[Node]
    rate_hz: Optional[float]
    reference_frame: Optional[str]

    @property
    def num_frames(self) -> int:
        """Number of frames in the file."""
        return self.data.shape[0]

    def values(self) -> List[Node]:
        """Return the datasets of positions and confidence."""
        return [self.data] if self.confidence is None else [self.data, self.confidence]

    @property
    def unit(self) -> str:
        """The unit of the positions, printable; empty if there is none."""
        unit = self.data.attributes.get("unit")
        return one_line(unit, 40) if isinstance(unit, str) else ""

    def scaled(self) -> Tuple[float, float]:
        """Return the factor and the summand that give positions in the unit."""
        attributes = self.data.attributes
        factor = one_number(attributes.get("conversion")) or 1.0
        return factor, one_number(attributes.get("offset")) or 0.0


def find_container(file: "RemoteNwb", path: str) -> Node:
    """Look at the container at a path, two levels deep.

    Args:
        file: The open file.
        path: A path that a submitter gave.

    Returns:
        The container.

    Raises:
        InvalidInputError: Something else lies there, or nothing. The text says what, and lists the
            containers of the file.
        NwbError: The file cannot be used.
    """
    try:
        node = file.look(path, depth=0)
    except NotInFileError:
        raise InvalidInputError(f"path {path} is not in the file; {_others(file)}") from None
    if node.kind != "group" or node.neurodata_type != CONTAINER_TYPE:
        kind = one_line(node.neurodata_type, 100) or f"{node.kind} without an NWB type"
        text = f"path {path} is no {CONTAINER_TYPE}: a {kind} is there"
        raise InvalidInputError(f"{text}; {_others(file)}")
    return file.look(path, depth=_DEPTH)


def find_series(container: Node) -> Tuple[List[Series], List[str]]:
    """Find the parts of a container, and check that they can be read.

    Args:
        container: The container, two levels deep.

    Returns:
        The series that have frames; and what is left out, as sentences.

    Raises:
        NwbError: There are none, too many, too long ones, or one that is no series of positions.
    """
    where = one_line(container.path)
    refused = [f"{name} ({reason})" for name, reason in sorted(container.refused.items())]
    nodes = {
        name: node
        for name, node in container.children.items()
        if node.neurodata_type == SERIES_TYPE and node.kind == "group"
    }
    if not nodes:
        links = f"; not read: {one_line(', '.join(refused))}" if refused else ""
        raise NwbError(f"{where} has no {SERIES_TYPE}, so there is no part to show{links}")
    if len(nodes) > MAX_PARTS:
        raise NwbError(f"{where} has {len(nodes):,} parts; at most {MAX_PARTS:,} are drawn")
    found = [_series(name, node) for name, node in sorted(nodes.items())]
    filled = [each for each in found if each.num_frames]
    if not filled:
        raise NwbError(f"{where}: no part has a frame")
    notes = [f"Left out {one_line(text)}" for text in refused]
    empty = [one_line(each.name, 100) for each in found if not each.num_frames]
    if empty:
        notes.append(f"Left out parts without frames: {', '.join(empty)}")
    return filled, notes


def _others(file: "RemoteNwb") -> str:
    paths = [one_line(path) for path in file.find([CONTAINER_TYPE])]
    return f"{CONTAINER_TYPE} paths in the file: {', '.join(paths) or 'none'}"


def _series(name: str, node: Node) -> Series:
    where = f"part {one_line(name, 100)}"
    for needed in ("data", "timestamps", "confidence"):
        if needed in node.refused:
            raise NwbError(f"{needed} of {where} cannot be read: {one_line(node.refused[needed])}")
    data = node.children.get("data")
    if data is None or data.kind != "dataset":
        raise NwbError(f"{where} has no data")
    _check_data(where, data)
    num_frames = data.shape[0]
    starting_time = node.children.get("starting_time")
    if starting_time is not None and math.prod(starting_time.shape) != 1:
        starting_time = None  # not the time of one frame
    if starting_time is not None:
        _check_numbers(where, "starting_time", starting_time)
    return Series(
        name=name,
        data=data,
        confidence=_one_a_frame(where, node, "confidence", num_frames),
        timestamps=_one_a_frame(where, node, "timestamps", num_frames),
        starting_time=starting_time,
        rate_hz=_rate(where, starting_time, num_frames),
        reference_frame=_path(node.children.get("reference_frame")),
    )


def _check_data(where: str, data: Node) -> None:
    _check_numbers(where, "data", data)
    if len(data.shape) != 2 or data.shape[1] not in (2, 3):
        text = f"data of {where} has the shape {data.shape}"
        raise NwbError(f"{text}; it must be (frames, 2) or (frames, 3)")
    if data.shape[0] > MAX_FRAMES:
        text = f"{where} has {data.shape[0]:,} frames"
        raise NwbError(f"{text}; at most {MAX_FRAMES:,} are read")


def _one_a_frame(where: str, node: Node, name: str, num_frames: int) -> Optional[Node]:
    """Return a dataset that must have one number for each frame; None if there is none."""
    dataset = node.children.get(name)
    if dataset is None:
        return None
    _check_numbers(where, name, dataset)
    if max(dataset.shape, default=1) != num_frames or math.prod(dataset.shape) != num_frames:
        text = f"{name} of {where} has the shape {dataset.shape}"
        raise NwbError(f"{text}, but its data has {num_frames:,} frames")
    return dataset


def _check_numbers(where: str, name: str, dataset: Node) -> None:
    if dataset.kind != "dataset" or dataset.dtype[1:2] not in ("i", "u", "f"):
        kind = dataset.dtype or dataset.kind
        raise NwbError(f"{name} of {where} is {one_line(kind)}, not real numbers")


def _rate(where: str, starting_time: Optional[Node], num_frames: int) -> Optional[float]:
    rate = None if starting_time is None else one_number(starting_time.attributes.get("rate"))
    if rate is not None and rate <= 0:
        raise NwbError(f"the rate of {where} is {rate:g} frames a second; it must be above 0")
    if rate is not None and num_frames / rate > LARGEST_SEC:
        text = f"the rate of {where} is {rate:g} frames a second"
        raise NwbError(f"{text}; with it, the times are too large to be seconds")
    return rate


def _path(node: Optional[Node]) -> Optional[str]:
    return None if node is None or node.kind != "dataset" else node.path
