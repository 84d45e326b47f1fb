"""Read the frames of an NWB image series that `opening` has found and checked."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Iterator, List, Optional, Tuple

import numpy as np
import numpy.typing as npt

from devaria.nwb.images.times import FrameTimes

if TYPE_CHECKING:
    from devaria.nwb.sandbox.remote import RemoteNwb

#: Bytes of frames that are read at once, usually and at most; and frames and bytes of a sample.
_BATCH_BYTES, _MAX_BATCH_BYTES = 12 * 2**20, 64 * 2**20
_SAMPLE_FRAMES = 20
_SAMPLE_BYTES = 64 * 2**20


@dataclass(frozen=True)
class ImageSeries:
    """An image series of an open file.

    Attributes:
        path: Its path.
        type_name: Its NWB type, escaped and shortened to one line.
        data_path: The path of its frames.
        shape: The shape of the frames: (frames, rows, columns), and a fourth length for planes or
            channels.
        dtype: The type of their values, numbers; true and false become 1 and 0.
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
    def frame_bytes(self) -> int:
        """Length of a frame with all its planes and channels."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

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
        if evenly is None:
            yield from self._in_windows(file, rows)
            return
        num_bytes = self._batch_bytes(evenly.step)
        for batch in file.batches(self.data_path, evenly, batch_bytes=num_bytes, dtype=self.dtype):
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
            return self._pictures(file.read(self.data_path, evenly, self.dtype))
        return np.array(list(self._in_windows(file, chosen)))

    def _in_windows(
        self, file: "RemoteNwb", rows: "npt.NDArray[np.int64]"
    ) -> Iterator["npt.NDArray[Any]"]:
        """Read frames with any numbers: each chunk once, if those of its frames stand together."""
        most = max(1, self._batch_bytes(1) // self.frame_bytes)
        windows = list(_windows(rows.tolist(), self.chunk_frames, most))
        wanted = [(self.data_path, window) for window, _ in windows]
        for (_, places), frames in zip(windows, file.read_each(wanted, self.dtype)):
            pictures = self._pictures(frames)
            for place in places:
                yield pictures[place]

    def _sample_frames(self, rows: "npt.NDArray[np.int64]") -> int:
        """Return how many frames to look at, so that few bytes are fetched for it.

        A chunk may hold many frames, or parts of them, and each frame needs its chunks as a whole.
        """
        frame_bytes = self.frame_bytes
        num_chunks = len(np.unique(rows // self.chunk_frames))
        cheap = max(num_chunks // 10, _BATCH_BYTES // (frame_bytes * self.chunk_frames), 3)
        return max(1, min(_SAMPLE_FRAMES, _SAMPLE_BYTES // frame_bytes, cheap))

    def _batch_bytes(self, step: int) -> int:
        """Return how many bytes to read at once: those of a chunk, so that it is read once.

        Args:
            step: Every how many frames one is read.
        """
        chunk_bytes = self.chunk_frames // step * self.frame_bytes
        return max(_BATCH_BYTES, min(chunk_bytes, _MAX_BATCH_BYTES))

    def _pictures(self, frames: "npt.NDArray[Any]") -> "npt.NDArray[Any]":
        """Take the middle plane of volumes, and the colours without alpha."""
        if len(self.shape) == 3:
            return frames
        if self.is_volume:
            return frames[..., self.shape[3] // 2]
        return frames[..., 0] if self.shape[3] == 1 else frames[..., :3]


def _as_slice(rows: "npt.NDArray[np.int64]") -> Optional[slice]:
    """Return numbers with an even step as a slice; None if they are others."""
    first = int(rows[0])
    step = int(rows[1]) - first if len(rows) > 1 else 1
    if step < 1 or (np.diff(rows) != step).any():
        return None
    return slice(first, int(rows[-1]) + 1, step)


def _windows(rows: List[int], chunk_frames: int, most: int) -> Iterator[Tuple[slice, List[int]]]:
    """Split numbers, in any order, into windows: each a slice that holds the next few of them.

    A slice may hold others too, where they cost little: it needs at most twice the chunks that the
    wanted ones lie in. So a frame that is missing or in another's place makes no new window.

    Args:
        rows: The numbers.
        chunk_frames: How many frames lie in one chunk.
        most: The most numbers of a slice; more than those of a chunk end with a whole chunk.

    Yields:
        A slice, and the places in it of the wanted ones, in their order.
    """
    most -= most % chunk_frames if most > chunk_frames else 0
    start, low, high, step, chunks = 0, rows[0], rows[0], 0, {rows[0] // chunk_frames}
    for end, row in enumerate(rows):
        wider = (min(low, row), max(high, row), math.gcd(step, abs(row - low)))
        held = (wider[1] - wider[0] // chunk_frames * chunk_frames) // max(1, wider[2]) + 1
        spanned = wider[1] // chunk_frames - wider[0] // chunk_frames + 1
        chunks.add(row // chunk_frames)
        if end == start or (held <= most and min(held, spanned) <= 2 * len(chunks)):
            low, high, step = wider
        else:
            yield _window(rows[start:end], low, high, step)
            start, low, high, step, chunks = end, row, row, 0, {row // chunk_frames}
    yield _window(rows[start:], low, high, step)


def _window(rows: List[int], low: int, high: int, step: int) -> Tuple[slice, List[int]]:
    step = max(1, step)
    return slice(low, high + 1, step), [(row - low) // step for row in rows]
