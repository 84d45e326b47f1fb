"""The times of the frames of an NWB image series, and which of the frames are shown."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, List, Optional

import numpy as np
import numpy.typing as npt

from devaria.common.text import one_line
from devaria.nwb.errors import NwbError
from devaria.nwb.node import Node

if TYPE_CHECKING:
    from devaria.nwb.sandbox.remote import RemoteNwb

#: Distances in time that differ by less than this, relatively, count as equal.
_EVEN = 0.01

#: Distances in time below this, in seconds, cannot be meant, and neither can its inverse.
_MIN_STEP_SEC = 1e-9

#: Most timestamps that are read: each takes some 40 bytes of memory at first.
_MAX_TIMESTAMPS = 5_000_000


@dataclass(frozen=True)
class ShownFrames:
    """The frames that a video shows.

    Attributes:
        rows: int64, the number of each frame in the file, from 0, in the order of time.
        times_sec: float64, the time of each, in seconds; its number, if times are not known.
        has_times: Whether times are known.
    """

    rows: "npt.NDArray[np.int64]"
    times_sec: "npt.NDArray[np.float64]"
    has_times: bool

    @property
    def rate_hz(self) -> Optional[float]:
        """Frames in a second of the recording, from the median of their distances.

        None if times are not known, of a single frame, and if most distances are 0 or so small or
        large that they cannot be meant.
        """
        if not self.has_times or len(self.times_sec) < 2:
            return None
        median_sec = self._median_sec()
        return 1 / median_sec if _MIN_STEP_SEC < median_sec < 1 / _MIN_STEP_SEC else None

    @property
    def is_even(self) -> bool:
        """Whether all distances of the frames in time are within 1 % of the median."""
        median_sec = self._median_sec()
        with np.errstate(all="ignore"):
            return bool((abs(np.diff(self.times_sec) - median_sec) <= _EVEN * median_sec).all())

    def _median_sec(self) -> float:
        with np.errstate(all="ignore"):  # a damaged file's times may be as large as numbers can be
            return float(np.median(np.diff(self.times_sec))) if len(self.times_sec) > 1 else 0.0


@dataclass(frozen=True)
class FrameTimes:
    """When frames were taken.

    Attributes:
        num_frames: How many frames there are.
        start_sec: Time of the first frame, if they are evenly spaced.
        rate_hz: Frames in a second, if they are evenly spaced.
        timestamps_sec: float64, the time of each frame of `rows`, ascending; None if they are
            evenly spaced or not known.
        rows: int64, the frames that have a timestamp, in the order of time; None as before.
        is_known: Whether times are known.
        notes: What a reader should know about the times, as sentences.
    """

    num_frames: int
    start_sec: float = 0.0
    rate_hz: float = 1.0
    timestamps_sec: Optional["npt.NDArray[np.float64]"] = None
    rows: Optional["npt.NDArray[np.int64]"] = None
    is_known: bool = True
    notes: List[str] = field(default_factory=list)

    def shown(self, mode: str, max_frames: int) -> ShownFrames:
        """Choose frames.

        Args:
            mode: `whole` for every n-th frame of all, from the first one on; `start` for the first
                frames.
            max_frames: How many at most.
        """
        total = self.num_frames if self.rows is None else len(self.rows)
        step = math.ceil(total / max_frames) if mode == "whole" else 1
        chosen = slice(0, max_frames * step, step)
        if self.rows is not None and self.timestamps_sec is not None:
            return ShownFrames(self.rows[chosen], self.timestamps_sec[chosen], has_times=True)
        rows = np.arange(*chosen.indices(self.num_frames), dtype=np.int64)
        return ShownFrames(rows, self.start_sec + rows / self.rate_hz, self.is_known)


def read_frame_times(file: "RemoteNwb", series: Node, num_frames: int) -> FrameTimes:
    """Read the times of a series.

    Args:
        file: The open file.
        series: The group of the series, with its children.
        num_frames: How many frames it has.

    Returns:
        The times. Where the file has none, or all are NaN, they are not known, and numbers stand
        for them.

    Raises:
        NwbError: The times are not those of the frames, or not valid.
    """
    timestamps = series.children.get("timestamps")
    if timestamps is not None:
        return _from_timestamps(file, timestamps, num_frames)
    start = series.children.get("starting_time")
    if start is not None:
        return _from_rate(file, start, num_frames)
    return _unknown(num_frames, "The file has no times of the frames")


def _from_timestamps(file: "RemoteNwb", node: Node, num_frames: int) -> FrameTimes:
    shown = one_line(node.path)
    if node.shape not in ((num_frames,), (num_frames, 1)):  # a column, as MATLAB writes it
        raise NwbError(
            f"{shown} has the shape {node.shape}, but there are {num_frames:,} frames: "
            "each frame needs one time"
        )
    if num_frames > _MAX_TIMESTAMPS:
        raise NwbError(
            f"{shown} has {num_frames:,} times; at most {_MAX_TIMESTAMPS:,} are read: "
            "evenly spaced frames can have a starting_time and a rate instead"
        )
    times_sec = file.read(node.path, dtype=np.float64).ravel()
    notes = []
    rows = np.flatnonzero(np.isfinite(times_sec))
    if not len(rows):
        return _unknown(num_frames, "All times of the frames are NaN or infinite")
    if len(rows) < num_frames:
        notes.append(f"Left out {num_frames - len(rows):,} frames whose time is NaN or infinite")
    times_sec = times_sec[rows]
    if (np.diff(times_sec) < 0).any():
        notes.append("The times in the file are not in order: the frames are shown sorted by time")
        order = np.argsort(times_sec, kind="stable")
        rows, times_sec = rows[order], times_sec[order]
    return FrameTimes(num_frames, timestamps_sec=times_sec, rows=rows, notes=notes)


def _from_rate(file: "RemoteNwb", node: Node, num_frames: int) -> FrameTimes:
    shown = one_line(node.path)
    if node.shape not in ((), (1,)):
        raise NwbError(f"{shown} has the shape {node.shape}; it must be a single number")
    rate_hz = node.attributes.get("rate")
    if isinstance(rate_hz, list) and len(rate_hz) == 1:  # as MATLAB writes it
        rate_hz = rate_hz[0]
    if not isinstance(rate_hz, (int, float)) or isinstance(rate_hz, bool):
        raise NwbError(f"{shown} has no rate: the times of the frames are not known")
    if not rate_hz > 0:
        raise NwbError(f"the rate of {shown} is {rate_hz:g} frames a second; it must be above 0")
    start_sec = float(file.read(node.path, dtype=np.float64).ravel()[0])
    if not math.isfinite(start_sec + num_frames / rate_hz):
        raise NwbError(f"{shown} and its rate give times that are not finite")
    return FrameTimes(num_frames, start_sec, float(rate_hz))


def _unknown(num_frames: int, reason: str) -> FrameTimes:
    note = f"{reason}: their numbers are shown instead"
    return FrameTimes(num_frames, is_known=False, notes=[note])
