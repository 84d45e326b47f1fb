"""The figpack view of a video. Its front end is in ``static/video*.js``."""

from typing import Any, Dict, Optional, Sequence

import figpack
import numpy as np

from devaria.figures.chunks import writing_all_chunks
from devaria.figures.extension import own_extension
from devaria.figures.video_encoder import EncodedVideo
from devaria.nwb.images.times import ShownFrames

#: Bytes of the video that lie in one chunk, and are fetched at once.
_PIECE_BYTES = 4 * 2**20


class VideoView(figpack.ExtensionView):  # type: ignore[misc]  # figpack is untyped
    """A player that shows a video with the times of the recording.

    Args:
        video: The video. Its file must stay where it is until the figure is written.
        shown: The frames of the recording that the video shows.
        frames_in_file: How many frames the recording has.
        name: What the video is called, such as its path in the file.
        caption: What is said about it, in a few words each.
    """

    def __init__(
        self,
        video: EncodedVideo,
        shown: ShownFrames,
        *,
        frames_in_file: int,
        name: str,
        caption: Sequence[str],
    ) -> None:
        scripts = ("page", "video_player", "video_export", "video_controls", "video")
        super().__init__(
            extension=own_extension("devaria-video", *scripts), view_type="devaria.Video"
        )
        self._video = video
        self._shown = shown
        self._frames_in_file = frames_in_file
        self._name = name
        self._caption = list(caption)

    def write_to_zarr_group(self, group: figpack.Group) -> None:
        """Write the figure's data.

        Args:
            group: The zarr group of the figure.
        """
        super().write_to_zarr_group(group)
        mp4 = np.memmap(self._video.path, np.uint8, "r")
        attributes = self.attributes(len(mp4))
        with writing_all_chunks():
            # The video is compressed already.
            chunks = (attributes["piece_bytes"],)
            group.create_dataset("mp4", data=mp4, chunks=chunks, compressor=None)
            whole = (self._video.num_frames,)
            group.create_dataset("times", data=self._shown.times_sec, chunks=whole)
            numbers = self._shown.rows.astype(np.float64)  # 64-bit integers are not read everywhere
            group.create_dataset("frame_numbers", data=numbers, chunks=whole)
        # In one call: each change of an attribute writes all of them to the disk.
        group.attrs.update(attributes)

    def attributes(self, num_bytes: int) -> Dict[str, Any]:
        """Return what the front end needs beside the arrays, as JSON values.

        Args:
            num_bytes: Length of the video's file.
        """
        video, shown = self._video, self._shown
        return {
            "num_bytes": num_bytes,
            "piece_bytes": min(num_bytes, _PIECE_BYTES),
            "width": video.width,
            "height": video.height,
            "num_frames": video.num_frames,
            "frame_rate": float(video.frame_rate),
            "frames_in_file": self._frames_in_file,
            "has_times": shown.has_times,
            "speed_up": speed_up(video, shown),
            "speed_is_exact": shown.is_even,
            "name": self._name,
            "caption": self._caption,
        }


def speed_up(video: EncodedVideo, shown: ShownFrames) -> Optional[float]:
    """Return how many seconds of the recording pass in a second of the video; None if unknown.

    Args:
        video: The video.
        shown: The frames of the recording that it shows.
    """
    return None if shown.rate_hz is None else float(video.frame_rate) / shown.rate_hz
