"""The figpack view of a video. Its front end is in ``static/video*.js``."""

from typing import Sequence

import figpack
import numpy as np
import numpy.typing as npt

from devaria.figures.chunks import writing_all_chunks
from devaria.figures.extension import own_extension
from devaria.figures.video_encoder import EncodedVideo

#: Bytes of the video that lie in one chunk, and are fetched at once.
_PIECE_BYTES = 4 * 2**20

#: Steps in time that differ by less than this, relatively, count as equal.
_EVEN = 0.01


class VideoView(figpack.ExtensionView):  # type: ignore[misc]  # figpack is untyped
    """A player that shows a video with the times of the recording.

    Args:
        video: The video. Its file must stay where it is until the figure is written.
        times_sec: float64, the time of each frame in the recording, in seconds, ascending. Without
            times, any numbers.
        frame_numbers: int64, the number of each frame in the file, from 0.
        frames_in_file: How many frames the file has.
        has_times: Whether `times_sec` are times.
        name: What the video is called, such as its path in the file.
        caption: What is said about it, in a few words each.
    """

    def __init__(
        self,
        video: EncodedVideo,
        *,
        times_sec: "npt.NDArray[np.float64]",
        frame_numbers: "npt.NDArray[np.int64]",
        frames_in_file: int,
        has_times: bool,
        name: str,
        caption: Sequence[str],
    ) -> None:
        scripts = ("video_player", "video_controls", "video")
        super().__init__(
            extension=own_extension("devaria-video", *scripts), view_type="devaria.Video"
        )
        self._video = video
        self._times_sec = times_sec
        self._frame_numbers = frame_numbers
        self._frames_in_file = frames_in_file
        self._has_times = has_times
        self._name = name
        self._caption = list(caption)

    def write_to_zarr_group(self, group: figpack.Group) -> None:
        """Write the figure's data.

        Args:
            group: The zarr group of the figure.
        """
        super().write_to_zarr_group(group)
        video = self._video
        mp4 = np.memmap(video.path, np.uint8, "r")
        piece_bytes = min(len(mp4), _PIECE_BYTES)
        with writing_all_chunks():
            # The video is compressed already.
            group.create_dataset("mp4", data=mp4, chunks=(piece_bytes,), compressor=None)
            whole = (video.num_frames,)
            group.create_dataset("times", data=self._times_sec, chunks=whole)
            numbers = self._frame_numbers.astype(np.float64)  # the front end's int64 has 32 bits
            group.create_dataset("frame_numbers", data=numbers, chunks=whole)
        steps_sec = np.diff(self._times_sec) if self._has_times else np.empty(0)
        step_sec = float(np.median(steps_sec)) if len(steps_sec) else None
        # In one call: each change of an attribute writes all of them to the disk.
        group.attrs.update(
            num_bytes=len(mp4),
            piece_bytes=piece_bytes,
            width=video.width,
            height=video.height,
            num_frames=video.num_frames,
            frame_rate=float(video.frame_rate),
            frames_in_file=self._frames_in_file,
            has_times=self._has_times,
            speed_up=None if step_sec is None else step_sec * float(video.frame_rate),
            speed_is_exact=step_sec is not None
            and bool((abs(steps_sec - step_sec) <= _EVEN * step_sec).all()),
            name=self._name,
            caption=self._caption,
        )
