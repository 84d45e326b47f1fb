"""Read a pose estimation of an NWB file, part after part."""

import re
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional, Tuple

import numpy as np
import numpy.typing as npt

from devaria.common.text import one_line
from devaria.nwb.errors import NwbError
from devaria.nwb.node import Node
from devaria.nwb.pose.parts import PosePart, PoseSetting, leave_out_infinite, leave_out_unseen
from devaria.nwb.pose.skeleton import READ_ERRORS, Skeleton, read_skeleton
from devaria.nwb.pose.source import Series, find_container, find_series
from devaria.nwb.pose.times import Clocks, FrameTimes

if TYPE_CHECKING:
    from devaria.nwb.sandbox.remote import RemoteNwb

#: Most numbers in `dimensions`: a pair for each camera.
_MAX_DIMENSIONS = 64


class PoseReader:
    """Reads one pose estimation. The constructor finds and checks all that it has.

    Args:
        file: The open file, as from `open_remote`.
        path: The path of a group of type PoseEstimation.

    Attributes:
        num_frames: The number of frames of each part, in the file.

    Raises:
        InvalidInputError: The path names no such group.
        NwbError: The group has no parts, or one that cannot be read.
    """

    def __init__(self, file: "RemoteNwb", path: str) -> None:
        self._file = file
        self._container = find_container(file, path)
        series, self._notes = find_series(self._container)
        self._skeleton: Skeleton = self._or_note("skeleton", Skeleton(), self._read_skeleton)
        by_name = {each.name: each for each in series}
        self._series = [by_name[name] for name in self._skeleton.in_order(list(by_name))]
        self.num_frames = [each.num_frames for each in self._series]
        self._in_frames = False
        self._is_in_file_order = True
        self._unseen = 0
        self._have_positions = False

    def parts(self, frame_step: int = 1) -> Iterator[PosePart]:
        """Read the parts.

        Args:
            frame_step: Every how many-th frame to read, 1 or more.

        Yields:
            Each part, in the order of the skeleton. Its arrays are the caller's.

        Raises:
            NwbError: A part cannot be read, or none has a position.
        """
        times_nodes = {node.path: node for each in self._series for node in _times_nodes(each)}
        nodes = [*times_nodes.values(), *(node for each in self._series for node in each.values())]
        arrays = self._file.read_each([(node.path, _rows(node, frame_step)) for node in nodes])
        stored = {path: _flat(next(arrays), node, frame_step) for path, node in times_nodes.items()}
        times = self._times(stored, frame_step)
        for series, of_frames in zip(self._series, times):
            yield self._part(series, of_frames, arrays, frame_step)
        for _ in arrays:  # none is left; the loop ends the reading
            pass
        if not self._have_positions:
            raise NwbError(f"{one_line(self._container.path)}: no position of any part is a number")
        if self._unseen:
            self._notes.append(
                f"Left out {self._unseen:,} positions at (-1, -1) or (0, 0) with confidence 0: "
                "there the part was not seen"
            )

    def setting(self, frame_step: int = 1) -> PoseSetting:
        """Return what the parts have in common. Call it after all parts are read.

        Args:
            frame_step: As for ``parts``.
        """
        names = [series.name for series in self._series]
        edges, num_left_out = self._skeleton.edges_between(names)
        if num_left_out:
            self._notes.append(f"Left out {num_left_out:,} edges of the skeleton without two parts")
        units = [series.unit for series in self._series]
        return PoseSetting(
            edges=edges,
            unit=units[0],
            time_unit="frame" if self._in_frames else "s",
            picture_size=self._or_note("dimensions", None, self._read_dimensions),
            frame_step=frame_step,
            y_up=self._or_note("reference frame", False, self._read_direction),
            is_in_file_order=self._is_in_file_order,
        )

    @property
    def notes(self) -> List[str]:
        """Sentences about what is shown in another way than it is stored, or left out."""
        deep = [one_line(each.name, 100) for each in self._series if each.data.shape[1] == 3]
        names = "all" if len(deep) == len(self._series) else ", ".join(deep)
        depth = [f"Of parts with three dimensions, x and y are shown: {names}"] if deep else []
        return [*depth, *self._notes]

    # --- values ---------------------------------------------------------------------------------

    def _part(
        self,
        series: Series,
        times: FrameTimes,
        arrays: Iterator["npt.NDArray[Any]"],
        frame_step: int,
    ) -> PosePart:
        positions = times.ordered(next(arrays)[:, :2].astype(np.float64, copy=False))
        confidence = None
        if series.confidence is not None:
            confidence = times.ordered(_flat(next(arrays), series.confidence, frame_step))
            leave_out_infinite(confidence)
            self._unseen += leave_out_unseen(positions, confidence)
            if np.isnan(confidence).all():
                confidence = None
        factor, summand = series.scaled()
        if (factor, summand) != (1.0, 0.0):
            with np.errstate(over="ignore"):
                positions = positions * factor + summand
        leave_out_infinite(positions)
        self._have_positions = self._have_positions or not np.isnan(positions).all()
        return PosePart(one_line(series.name, 100), times.times, positions, confidence)

    # --- times ----------------------------------------------------------------------------------

    def _times(self, values: Dict[str, "npt.NDArray[np.float64]"], step: int) -> List[FrameTimes]:
        """Return the times of each part: those of the file, or frame numbers for all."""
        clocks = Clocks()
        read = {path: clocks.of_timestamps(each) for path, each in values.items()}
        found = [self._times_of(series, read, clocks, step) for series in self._series]
        known = [each for each in found if each is not None]
        if len(known) < len(found):
            self._in_frames = True
            self._notes.append(_why_frame_numbers(self._series, found))
            return [clocks.of_numbers(series.num_frames, step) for series in self._series]
        self._note_changes(known)
        return known

    def _times_of(
        self,
        series: Series,
        read: Dict[str, Optional[FrameTimes]],
        clocks: Clocks,
        step: int,
    ) -> Optional[FrameTimes]:
        if series.timestamps is not None:
            return read[series.timestamps.path]
        start = read.get(series.starting_time.path) if series.starting_time else None
        if series.rate_hz is None or start is None:
            return None
        return clocks.of_rate(float(start.times[0]), series.rate_hz, series.num_frames, step)

    def _note_changes(self, times: List[FrameTimes]) -> None:
        self._is_in_file_order = all(each.order is None for each in times)
        names = [
            one_line(series.name, 100)
            for series, each in zip(self._series, times)
            if each.was_sorted
        ]
        if names:
            self._notes.append(f"Sorted frames whose times do not ascend: {', '.join(names)}")
        dropped = sum(each.num_dropped for each in times)
        if dropped:
            self._notes.append(f"Left out {dropped:,} frames whose times are not numbers")

    # --- what a figure can do without -----------------------------------------------------------

    def _or_note(self, what: str, otherwise: Any, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except READ_ERRORS as error:
            self._notes.append(f"The {what} cannot be read: {one_line(str(error))}")
            return otherwise

    def _read_skeleton(self) -> Skeleton:
        return read_skeleton(self._file, self._container)

    def _read_dimensions(self) -> Optional[Tuple[float, float]]:
        node: Optional[Node] = self._container.children.get("dimensions")
        if node is None or node.dtype[1:2] not in ("i", "u", "f"):
            return None
        if not 2 <= np.prod(node.shape) <= _MAX_DIMENSIONS or node.shape[-1] != 2:
            return None
        width, height = (float(each) for each in self._file.read(node.path).reshape(-1, 2)[0])
        are_sizes = 0 < width < 1e6 and 0 < height < 1e6
        return (width, height) if are_sizes else None

    def _read_direction(self) -> bool:
        """Whether the file says that y begins at the bottom of the picture."""
        path = self._series[0].reference_frame
        text = " ".join(self._file.text(path)) if path is not None else ""
        y_up = bool(re.search("bottom|lower", text, re.IGNORECASE)) and not re.search(
            "top|upper", text, re.IGNORECASE
        )
        if y_up:
            self._notes.append(f"y points up, as the file says: “{one_line(text.strip(), 120)}”")
        return y_up


def _times_nodes(series: Series) -> Iterator[Node]:
    """Return the dataset that the times of a part come from, if there is one."""
    if series.timestamps is not None:
        yield series.timestamps
    elif series.starting_time is not None and series.rate_hz is not None:
        yield series.starting_time


def _rows(node: Node, frame_step: int) -> Optional[slice]:
    """Return the rows to read: of one row for all frames, and of a single value, all."""
    return slice(0, None, frame_step) if node.shape and not _is_one_row(node) else None


def _flat(values: "npt.NDArray[Any]", node: Node, frame_step: int) -> "npt.NDArray[np.float64]":
    flat: npt.NDArray[np.float64] = np.asarray(values, np.float64).reshape(-1)
    return flat[::frame_step] if _is_one_row(node) else flat


def _is_one_row(node: Node) -> bool:
    """Whether all frames are one row, as MATLAB may write them."""
    return len(node.shape) > 1 and node.shape[0] == 1 and max(node.shape) > 1


def _why_frame_numbers(series: List[Series], times: List[Optional[FrameTimes]]) -> str:
    unknown = [each for each, known in zip(series, times) if known is None]
    are_stored = any(each.timestamps is not None for each in unknown)
    why = "all timestamps are NaN" if are_stored else "the file has none"
    if len(unknown) == len(series):
        return f"Frame numbers are shown, since the times are unknown: {why}"
    names = ", ".join(one_line(each.name, 100) for each in unknown)
    return f"Frame numbers are shown, since the times of some parts are unknown ({names}): {why}"
