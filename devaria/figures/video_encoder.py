"""An MP4 video of frames that come one after another, encoded as they come.

The video is H.264 in the form that every browser plays (yuv420p). All its frames have the same
length, and a key frame comes often, so that a player can show each single frame at once.
"""

import math
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Iterable, Optional, Tuple

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from devaria.figures.video_scaling import GreyScale, ValueRange

#: Frames are shown at most so wide; wider ones are made smaller.
MAX_WIDTH = 1024

#: How well and how fast x264 encodes. Noisy frames of a microscope are as near to the original and
#: as small as with the preset veryfast and crf 23, in a quarter of the time. Without deblocking,
#: which this preset leaves out, smooth pictures would show the edges of blocks.
_QUALITY = {"preset": "ultrafast", "crf": "25", "x264-params": "no-deblock=0:aq-mode=1"}

#: A key frame comes at least so often. A player decodes from the last one to the frame it shows.
_KEY_FRAME_GAP = 30

#: Most bytes of a video, on average over its frames. Noise would need more: it gets coarser.
_MAX_BYTES = 64_000_000
_MAX_FRAME_BYTES = 1_000_000

#: The encoder takes no higher bit rate, in bits a second.
_MAX_BIT_RATE = 2_000_000_000

#: Threads that encode. Each holds frames of its own.
_MAX_THREADS = 4

#: How H.264 encodes brightness, for each grey level: as 16 to 235. And what stands for no colour.
_BRIGHTNESS = np.floor(16.5 + np.arange(256) * (219 / 255)).astype(np.uint8)
_NO_COLOUR = 128

#: The number by which H.264 names the standard ITU-R BT.709: how colours are encoded.
_BT_709 = 1


@dataclass(frozen=True)
class EncodedVideo:
    """A video in a file.

    Attributes:
        path: The MP4 file.
        width: Width of the picture, in pixels.
        height: Its height.
        num_frames: Number of frames; at least 1.
        frame_rate: Frames in a second of the video. Frame number i, from 0, is shown from
            `i / frame_rate` seconds on.
    """

    path: Path
    width: int
    height: int
    num_frames: int
    frame_rate: Fraction


def encode_video(
    frames: Iterable["npt.NDArray[Any]"],
    shown: Optional[ValueRange],
    path: Path,
    *,
    frame_rate: Fraction,
    expected_frames: int,
) -> EncodedVideo:
    """Write a video of frames. Only one of them is held at a time.

    Args:
        frames: One frame or more, each of the same shape: (rows, columns), or (rows, columns, 3)
            for red, green and blue. Each is used before the next one is asked for.
        shown: The values that are black and white; None for uint8 values that are shown as they
            are.
        path: Where the MP4 file is written.
        frame_rate: Frames in a second of the video.
        expected_frames: How many frames will come. The more, the fewer bytes each may take.

    Returns:
        The video. Its picture is as large as a frame, with one more row or column if there is an
        odd number of them: the last one again. Frames wider than `MAX_WIDTH` are made smaller by
        averaging areas.

    Raises:
        ValueError: There is no frame.
    """
    encoder: Optional[_Encoder] = None
    try:
        for frame in frames:
            if encoder is None:
                encoder = _Encoder(path, frame, shown, frame_rate, expected_frames)
            encoder.add(frame)
        if encoder is None:
            raise ValueError("a video needs at least one frame")
        return encoder.finished()
    finally:
        if encoder is not None:
            encoder.close()


class _Encoder:
    def __init__(
        self,
        path: Path,
        first: "npt.NDArray[Any]",
        shown: Optional[ValueRange],
        frame_rate: Fraction,
        expected_frames: int,
    ) -> None:
        self._path = path
        self._frame_rate = frame_rate
        self._num_frames = 0
        height, width = first.shape[:2]
        # The colours of two by two pixels are encoded together, so both sizes are even.
        self._levels = np.empty((_even(height), _even(width), *first.shape[2:]), np.uint8)
        self._inside = self._levels[:height, :width]
        self._scale = GreyScale(shown, first.dtype).scale if shown else _copy
        self._size = _size_shown(width, height)
        self._planes = np.full((3 * self._size[1] // 2, self._size[0]), _NO_COLOUR, np.uint8)
        self._reformatter = VideoReformatter()
        self._container = av.open(str(path), "w", "mp4", options={"movflags": "+faststart"})
        frame_bytes = min(_MAX_FRAME_BYTES, _MAX_BYTES // expected_frames)
        stream: Any = self._container.add_stream(
            "libx264",
            rate=frame_rate,
            options={
                **_QUALITY,
                "g": str(_KEY_FRAME_GAP),
                "sc_threshold": "0",  # no other key frames
                "maxrate": str(min(_MAX_BIT_RATE, math.ceil(8 * frame_bytes * frame_rate))),
                "bufsize": str(8 * frame_bytes * _KEY_FRAME_GAP),
            },
        )
        stream.width, stream.height = self._size
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.thread_type = "FRAME"
        context.thread_count = min(_MAX_THREADS, os.cpu_count() or 1)
        context.color_range = int(ColorRange.MPEG)
        context.colorspace = context.color_primaries = context.color_trc = _BT_709
        self._stream = stream

    def add(self, frame: "npt.NDArray[Any]") -> None:
        levels, (height, width) = self._levels, self._inside.shape[:2]
        self._scale(frame, self._inside)
        levels[height:] = levels[height - 1 : height]
        levels[:, width:] = levels[:, width - 1 : width]
        picture = self._grey(levels) if levels.ndim == 2 else self._coloured(levels)
        picture.pts = self._num_frames
        picture.time_base = 1 / self._frame_rate
        self._num_frames += 1
        self._container.mux(self._stream.encode(picture))

    def _grey(self, levels: "npt.NDArray[np.uint8]") -> av.VideoFrame:
        """Make a picture of grey levels. FFmpeg's own conversion would make it a little darker."""
        width, height = self._size
        if levels.shape != (height, width):
            large = av.VideoFrame.from_ndarray(levels, "gray")
            levels = np.asarray(self._resized(large, "gray").to_ndarray(), np.uint8)
        # The brightness of all pixels, and below it the colours of two by two: here none.
        np.take(_BRIGHTNESS, levels, out=self._planes[:height], mode="clip")
        return av.VideoFrame.from_ndarray(self._planes, "yuv420p")

    def _coloured(self, levels: "npt.NDArray[np.uint8]") -> av.VideoFrame:
        """Make a picture of red, green and blue."""
        return self._resized(
            av.VideoFrame.from_ndarray(levels, "rgb24"),
            "yuv420p",
            dst_colorspace=Colorspace.ITU709,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
        )

    def _resized(self, picture: av.VideoFrame, pixels: str, **colours: Any) -> av.VideoFrame:
        resize = self._reformatter.reformat
        return resize(picture, *self._size, pixels, interpolation=Interpolation.AREA, **colours)

    def finished(self) -> EncodedVideo:
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return EncodedVideo(self._path, *self._size, self._num_frames, self._frame_rate)

    def close(self) -> None:
        self._container.close()


def _copy(frame: "npt.NDArray[Any]", out: "npt.NDArray[np.uint8]") -> None:
    out[...] = frame


def _even(length: int) -> int:
    return length + length % 2


def _size_shown(width: int, height: int) -> Tuple[int, int]:
    """Return the width and height of the picture, both even."""
    if width <= MAX_WIDTH:
        return _even(width), _even(height)
    return MAX_WIDTH, max(2, 2 * round(height * MAX_WIDTH / width / 2))
