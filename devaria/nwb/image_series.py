"""Read the frames of an NWB image series: any type derived from ImageSeries.

The series is a group. Its ``data`` are frames x rows x columns, with a last axis for colours, or
for the planes of a volume. Its times are in ``timestamps``, or ``starting_time`` and a rate (NWB
schema, ImageSeries and TimeSeries).
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Iterator, List, Optional, Sequence, Tuple

import numpy as np
import numpy.typing as npt

from devaria.common.text import one_line
from devaria.nwb.errors import InvalidInputError, NotInFileError, NwbError
from devaria.nwb.image_times import FrameTimes, read_frame_times
from devaria.nwb.node import Node

if TYPE_CHECKING:
    from devaria.nwb.sandbox.remote import RemoteNwb

#: The types that a file is searched for, to name what can be shown.
SERIES_TYPES = (
    "ImageSeries",
    "TwoPhotonSeries",
    "OnePhotonSeries",
    "OpticalSeries",
    "ImageMaskSeries",
)

#: Types whose `data` have three axes too, but are no pictures.
_OTHER_TYPES = frozenset(
    ("DecompositionSeries", "ElectricalSeries", "FeatureExtraction", "SpikeEventSeries")
)

#: The NWB schema gives these types planes where others have colours.
_VOLUME_TYPES = frozenset(("OnePhotonSeries", "TwoPhotonSeries"))

#: Most rows and columns of a frame, and most bytes of a frame with all planes and colours.
_MAX_SIDE = 4096
_MAX_FRAME_BYTES = 256 * 2**20

#: Bytes of frames that are read at once, usually and at most; and frames and bytes of a sample.
_BATCH_BYTES, _MAX_BATCH_BYTES = 16 * 2**20, 64 * 2**20
_SAMPLE_FRAMES = 20
_SAMPLE_BYTES = 64 * 2**20

#: External files that an error names.
_MAX_NAMED = 5


@dataclass(frozen=True)
class ImageSeries:
    """An image series of an open file.

    Attributes:
        path: Its path.
        type_name: Its NWB type.
        data_path: The path of its frames.
        shape: The shape of the frames: (frames, rows, columns), and a fourth length for planes or
            channels.
        dtype: The type of their values.
        is_volume: Whether the fourth axis is planes.
        times: When each frame was taken.
        chunk_frames: How many frames lie in one chunk.
    """

    path: str
    type_name: str
    data_path: str
    shape: Tuple[int, ...]
    dtype: "np.dtype[Any]"
    is_volume: bool
    times: FrameTimes
    chunk_frames: int

    @property
    def is_colour(self) -> bool:
        """Whether the frames have colours."""
        return len(self.shape) == 4 and not self.is_volume and self.shape[3] > 1

    @property
    def notes(self) -> List[str]:
        """What a reader should know about the frames, as sentences."""
        notes = list(self.times.notes)
        if self.is_volume:
            planes = self.shape[3]
            notes.append(f"Volumes: plane {planes // 2 + 1} of {planes} is shown")
        elif len(self.shape) == 4 and self.shape[3] == 4:
            notes.append("The fourth channel of the colours (alpha) is left out")
        return notes

    def frames(
        self, file: "RemoteNwb", rows: "npt.NDArray[np.int64]"
    ) -> Iterator["npt.NDArray[Any]"]:
        """Read frames.

        Args:
            file: The open file.
            rows: Their numbers in the file, in the order in which they are wanted.

        Yields:
            Each frame: (rows, columns), or (rows, columns, 3) for red, green and blue. It is valid
            until the next one is asked for.

        Raises:
            NwbError: The frames cannot be read.
        """
        evenly = _as_slice(rows)
        if evenly is not None:
            num_bytes = self._batch_bytes(evenly.step)
            batches = file.batches(self.data_path, evenly, batch_bytes=num_bytes)
        else:
            wanted = [(self.data_path, slice(row, row + 1)) for row in rows.tolist()]
            batches = file.read_each(wanted)
        for batch in batches:
            yield from self._pictures(batch)

    def sample(self, file: "RemoteNwb", rows: "npt.NDArray[np.int64]") -> "npt.NDArray[Any]":
        """Read a few of the frames, evenly spread.

        Args:
            file: The open file.
            rows: As for `frames`.

        Returns:
            At most 20 frames, along the first axis.

        Raises:
            NwbError: The frames cannot be read.
        """
        step = math.ceil(len(rows) / self._sample_frames(rows))
        chosen = rows[step // 2 :: step]
        evenly = _as_slice(chosen)
        if evenly is not None:
            return self._pictures(file.read(self.data_path, evenly))
        wanted = [(self.data_path, slice(row, row + 1)) for row in chosen.tolist()]
        return np.concatenate([self._pictures(each) for each in file.read_each(wanted)])

    def _sample_frames(self, rows: "npt.NDArray[np.int64]") -> int:
        """Return how many frames to look at, so that few bytes are fetched for it.

        A chunk may hold many frames, or parts of them, and each frame needs its chunks as a whole.
        """
        frame_bytes = _frame_bytes(self.shape, self.dtype)
        num_chunks = len(np.unique(rows // self.chunk_frames))
        cheap = max(num_chunks // 10, _BATCH_BYTES // (frame_bytes * self.chunk_frames), 3)
        return max(1, min(_SAMPLE_FRAMES, _SAMPLE_BYTES // frame_bytes, cheap))

    def _batch_bytes(self, step: int) -> int:
        """Return how many bytes of frames to read at once: those of a chunk, so that it is read once.

        Args:
            step: Every how many frames one is read.
        """
        chunk_bytes = self.chunk_frames // step * _frame_bytes(self.shape, self.dtype)
        return max(_BATCH_BYTES, min(chunk_bytes, _MAX_BATCH_BYTES))

    def _pictures(self, frames: "npt.NDArray[Any]") -> "npt.NDArray[Any]":
        """Take the middle plane of volumes, and the colours without alpha."""
        if len(self.shape) == 3:
            return frames
        if self.is_volume:
            return frames[..., self.shape[3] // 2]
        return frames[..., 0] if self.shape[3] == 1 else frames[..., :3]


def open_image_series(file: "RemoteNwb", path: str, param: str) -> ImageSeries:
    """Find an image series and its times, and check them.

    Args:
        file: The open file.
        path: Path of the series.
        param: The parameter that holds the path, for the text of an error.

    Returns:
        The series. Of its frames, nothing is read yet.

    Raises:
        InvalidInputError: There is no image series at the path.
        NwbError: Its frames are not in the file, are too large or no pictures, or its times are
            not valid.
    """
    node = _look(file, path, param)
    data = node.children.get("data")
    if not _is_image_series(node, data):
        name = node.neurodata_type or f"a {node.kind} without a type"
        raise _not_a_series(file, f"{param} {one_line(path)} is {name}, not an image series")
    shown = one_line(node.path)
    if data is None or 0 in data.shape:
        raise _without_frames(file, node, data)
    _refuse_unfit(shown, data)
    dtype: np.dtype[Any] = np.dtype(data.dtype)
    if _frame_bytes(data.shape, dtype) > _MAX_FRAME_BYTES:
        raise NwbError(
            f"a frame of {shown} has {_frame_bytes(data.shape, dtype):,} bytes; "
            f"at most {_MAX_FRAME_BYTES:,} can be shown"
        )
    return ImageSeries(
        path=node.path,
        type_name=node.neurodata_type,
        data_path=data.path,
        shape=data.shape,
        dtype=dtype,
        is_volume=_is_volume(file, node, data.shape),
        times=read_frame_times(file, node, data.shape[0]),
        chunk_frames=data.chunk_shape[0] if data.chunk_shape else 1,
    )


def _look(file: "RemoteNwb", path: str, param: str) -> Node:
    try:
        return file.look(path)
    except NotInFileError:
        pass
    raise _not_a_series(file, f"{param} {one_line(path)} is not in the file")


def _not_a_series(file: "RemoteNwb", fault: str) -> InvalidInputError:
    there = ", ".join(one_line(path) for path in file.find(SERIES_TYPES)) or "none"
    return InvalidInputError(f"{fault}; image series in the file: {there}")


def _is_image_series(node: Node, data: Optional[Node]) -> bool:
    """Whether it is a series of pictures: by its type, or for types of extensions by its shape."""
    if node.kind != "group" or node.neurodata_type in _OTHER_TYPES:
        return False
    if node.neurodata_type in SERIES_TYPES:
        return True
    return bool(node.neurodata_type) and data is not None and len(data.shape) in (3, 4)


def _without_frames(file: "RemoteNwb", node: Node, data: Optional[Node]) -> NwbError:
    shown = one_line(node.path)
    if "data" in node.refused:
        return NwbError(f"{shown}/data cannot be read: {one_line(node.refused['data'])}")
    if "external_file" in node.children:
        names = _external_files(file, node.children["external_file"])
        return NwbError(f"the frames of {shown} are not in this file, but in external files{names}")
    if data is None:
        return NwbError(f"{shown} has no frames: it has no data")
    return NwbError(f"{shown} has no frames: its data have the shape {data.shape}")


def _external_files(file: "RemoteNwb", node: Node) -> str:
    try:
        names = file.text(node.path)
    except NwbError:
        return ""  # the error is the missing frames, also if their names are damaged
    shown = [one_line(name) for name in names[:_MAX_NAMED]]
    left = len(names) - len(shown)
    return ": " + ", ".join(shown) + (f" and {left:,} more" if left else "")


def _refuse_unfit(shown: str, data: Node) -> None:
    if data.kind != "dataset" or len(data.shape) not in (3, 4):
        raise NwbError(
            f"{shown}/data have the shape {data.shape}; pictures need frames x rows x columns, "
            "and possibly colours or planes"
        )
    if data.dtype[1:2] not in ("u", "i", "f"):
        raise NwbError(f"{shown}/data hold {one_line(data.dtype)}, not real numbers")
    rows, columns = data.shape[1:3]
    if max(rows, columns) > _MAX_SIDE:
        raise NwbError(
            f"the frames of {shown} have {rows:,} x {columns:,} pixels; at most "
            f"{_MAX_SIDE:,} x {_MAX_SIDE:,} can be shown"
        )


def _is_volume(file: "RemoteNwb", node: Node, shape: Sequence[int]) -> bool:
    """Whether a fourth axis is planes and not colours.

    Three or four are red, green, blue and alpha, unless the type has no colours or the series says
    that its pictures have three dimensions.
    """
    if len(shape) < 4 or shape[3] == 1:
        return False
    if shape[3] not in (3, 4) or node.neurodata_type in _VOLUME_TYPES:
        return True
    dimension = node.children.get("dimension")
    if dimension is None or dimension.shape != (3,) or dimension.dtype[1:2] not in ("u", "i"):
        return False
    return int(file.read(dimension.path)[2]) == shape[3]


def _frame_bytes(shape: Sequence[int], dtype: "np.dtype[Any]") -> int:
    return math.prod(shape[1:]) * dtype.itemsize


def _as_slice(rows: "npt.NDArray[np.int64]") -> Optional[slice]:
    """Return numbers with an even step as a slice; None if they are others."""
    first = int(rows[0])
    step = int(rows[1]) - first if len(rows) > 1 else 1
    if step < 1 or (np.diff(rows) != step).any():
        return None
    return slice(first, int(rows[-1]) + 1, step)
