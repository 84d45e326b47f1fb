"""Videos: decoded again, they have the frames, the times and the size that they should have."""

from fractions import Fraction
from pathlib import Path
from typing import Any, List

import numpy as np
import pytest

from devaria.figures.video_scaling import GreyScale, ValueRange, value_range

av = pytest.importorskip("av", reason="PyAV is not installed")
encoder = pytest.importorskip("devaria.figures.video_encoder")

RNG = np.random.default_rng(3)


def blurred(shape: Any, dtype: Any) -> Any:
    """Make frames that look like something: a bright spot that moves over a slope."""
    count, rows, columns = shape
    grid = np.mgrid[:rows, :columns]
    frames = np.empty(shape, dtype)
    for number, frame in enumerate(frames):
        column = columns * (number + 1) / (count + 1)
        spot = np.exp(-((grid[0] - rows / 2) ** 2 + (grid[1] - column) ** 2) / 40)
        frame[...] = 10 + grid[0] + 150 * spot
    return frames


def rgb(frame: Any) -> Any:
    """Return red, green and blue of a decoded frame, by the formulas of ITU-R BT.709.

    PyAV's own conversion does not look at what the video says about its colours before version 17.
    """
    planes = frame.to_ndarray(format="yuv420p").astype(float)
    height, width = frame.height, frame.width
    luma = (planes[:height] - 16) * (255 / 219)
    chroma = (planes[height:].reshape(2, height // 2, width // 2) - 128) * (255 / 224)
    blue, red = chroma.repeat(2, axis=1).repeat(2, axis=2)
    green = -0.1873 * blue - 0.4681 * red
    levels = np.stack([luma + 1.5748 * red, luma + green, luma + 1.8556 * blue], axis=-1)
    return levels.round().clip(0, 255).astype(np.uint8)


def decoded(path: Path) -> List[Any]:
    """Return the frames of a video as red, green and blue, with their times in seconds."""
    with av.open(str(path)) as container:
        return [
            (float(frame.pts * frame.time_base), rgb(frame)) for frame in container.decode(video=0)
        ]


def encode(frames: Any, path: Path, shown: Any = "percentiles", rate: Any = Fraction(30)) -> Any:
    """Encode frames."""
    if shown == "percentiles":
        shown = value_range(frames)
    return encoder.encode_video(
        iter(frames), shown, path, frame_rate=rate, expected_frames=len(frames)
    )


def levels(frame: Any, shown: Any) -> Any:
    """Return the grey levels of a frame; a frame of colours as it is."""
    out = np.array(frame, np.uint8)
    if shown is not None:
        GreyScale(shown, frame.dtype).scale(frame, out)
    return out


def mean_faults(frames: Any, shown: Any, pictures: Any) -> Any:
    """Return by how much the mean of each decoded frame is off, in grey levels."""
    pairs = zip(frames, pictures)
    return [abs(levels(frame, shown).mean() - picture.mean()) for frame, (_, picture) in pairs]


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((40, 64, 96), np.uint16),
        ((40, 61, 93), np.int16),
        ((40, 64, 64), np.float32),
        ((40, 30, 24), np.uint8),
    ],
)
def test_frames_come_back(shape: Any, dtype: Any, tmp_path: Path) -> None:
    """Each decoded frame is the encoded one, within two grey levels on average."""
    frames = blurred(shape, dtype)
    video = encode(frames, tmp_path / "video.mp4")
    pictures = decoded(video.path)
    assert (video.num_frames, len(pictures)) == (40, 40)
    assert (video.width, video.height) == tuple(length + length % 2 for length in shape[:0:-1])
    height, width = shape[1:]
    inside = [(time_sec, picture[:height, :width]) for time_sec, picture in pictures]
    assert max(mean_faults(frames, value_range(frames), inside)) < 2
    wanted = levels(frames[20], value_range(frames))
    fault = np.abs(inside[20][1].mean(axis=2) - wanted).mean()
    assert fault < 4  # and not only on average over the frame


def test_odd_sizes_repeat_the_last_row_and_column(tmp_path: Path) -> None:
    """The pixel that makes a side even looks like its neighbour."""
    frames = np.zeros((3, 33, 31), np.uint8)
    frames[:, :, 16:] = 200
    picture = decoded(encode(frames, tmp_path / "video.mp4", ValueRange(0, 255)).path)[0][1]
    assert picture.shape == (34, 32, 3)
    assert np.abs(picture[33, :16].astype(int)).max() < 12
    assert np.abs(picture[:, 31].astype(int) - 200).max() < 12


def test_colours_as_they_are(tmp_path: Path) -> None:
    """Red, green and blue come back as they were."""
    frames = np.zeros((5, 48, 48, 3), np.uint8)
    colours = [(200, 30, 30), (30, 180, 60), (40, 60, 220)]
    for number, colour in enumerate(colours):
        frames[:, :, 16 * number : 16 * number + 16] = colour
    picture = decoded(encode(frames, tmp_path / "video.mp4", None).path)[2][1]
    for number, colour in enumerate(colours):
        found = picture[8:40, 16 * number + 5 : 16 * number + 11].mean(axis=(0, 1))
        assert np.abs(found - colour).max() < 6


@pytest.mark.parametrize(
    "rate", [Fraction(30), Fraction(2997, 100), Fraction(1, 10), Fraction(1000)]
)
def test_each_frame_has_its_time(rate: Fraction, tmp_path: Path) -> None:
    """Frame i is shown from i / rate on, whatever the rate, and none is lost."""
    video = encode(blurred((70, 16, 16), np.uint8), tmp_path / "video.mp4", rate=rate)
    assert video.frame_rate == rate
    times = [time_sec for time_sec, _ in decoded(video.path)]
    assert times == pytest.approx([number / float(rate) for number in range(70)], rel=1e-9)


def test_single_frame(tmp_path: Path) -> None:
    """A video may have one frame."""
    frames = blurred((1, 20, 20), np.uint8)
    pictures = decoded(encode(frames, tmp_path / "video.mp4").path)
    assert len(pictures) == 1
    assert max(mean_faults(frames, value_range(frames), pictures)) < 2


def test_no_frame(tmp_path: Path) -> None:
    """A video without frames is an error."""
    with pytest.raises(ValueError, match="at least one frame"):
        encode(np.empty((0, 4, 4)), tmp_path / "video.mp4", ValueRange(0, 1), Fraction(1))


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((2048, 2048), (1024, 1024)),
        ((4096, 4096), (1024, 1024)),
        ((1000, 1500), (1024, 682)),
        ((1, 4096), (1024, 2)),
        ((4096, 1), (2, 4096)),
        ((1, 1), (2, 2)),
    ],
)
def test_size_of_the_picture(shape: Any, size: Any, tmp_path: Path) -> None:
    """Wide frames become 1,024 pixels wide, in proportion; sides are even; the mean stays."""
    frames = RNG.integers(0, 4096, (2, *shape)).astype(np.uint16)
    video = encode(frames, tmp_path / "video.mp4", ValueRange(0, 4095))
    assert (video.width, video.height) == size
    pictures = decoded(video.path)
    assert pictures[0][1].shape[:2] == size[::-1]
    assert max(mean_faults(frames, ValueRange(0, 4095), pictures)) < 2


def test_wide_frames_are_averaged(tmp_path: Path) -> None:
    """A picture of four by four pixels each is their mean, not one of them."""
    frame = RNG.integers(0, 256, (256, 4096)).astype(np.uint8)
    frame[:, 2048:] //= 4
    picture = decoded(encode(frame[None], tmp_path / "video.mp4", ValueRange(0, 255)).path)[0][1]
    mean = frame.reshape(64, 4, 1024, 4).mean(axis=(1, 3))
    assert np.abs(picture.mean(axis=2) - mean).mean() < 8
    assert np.abs(frame[::4, ::4] - mean).mean() > 25  # which one pixel of each would give


def test_key_frames_come_often(tmp_path: Path) -> None:
    """Any frame is at most 29 frames after one that can be decoded alone."""
    video = encode(blurred((100, 32, 32), np.uint8), tmp_path / "video.mp4")
    with av.open(str(video.path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert [number for number, packet in enumerate(packets) if packet.is_keyframe] == [
        0,
        30,
        60,
        90,
    ]
    assert [packet.pts for packet in packets] == [packet.dts for packet in packets]


def test_the_index_comes_first(tmp_path: Path) -> None:
    """A player finds the index at the start of the file, and a form that all browsers know."""
    video = encode(blurred((5, 32, 32), np.uint8), tmp_path / "video.mp4")
    content = video.path.read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")
    with av.open(str(video.path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")


def test_noise_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise, which cannot be compressed, gets coarser where it would need too many bytes."""
    frames = RNG.integers(0, 256, (150, 96, 96)).astype(np.uint8)
    free = encode(frames, tmp_path / "free.mp4").path.stat().st_size
    monkeypatch.setattr(encoder, "_MAX_BYTES", free // 4)
    bounded = encode(frames, tmp_path / "bounded.mp4").path.stat().st_size
    assert bounded < 0.35 * free


def test_frames_are_used_as_they_come(tmp_path: Path) -> None:
    """One array can hold every frame in turn."""
    frames = blurred((20, 32, 32), np.uint16)

    def in_turn() -> Any:
        shared = np.empty((32, 32), np.uint16)
        for frame in frames:
            shared[...] = frame
            yield shared
            shared[...] = 65535

    shown = value_range(frames)
    video = encoder.encode_video(
        in_turn(), shown, tmp_path / "video.mp4", frame_rate=Fraction(30), expected_frames=20
    )
    assert max(mean_faults(frames, shown, decoded(video.path))) < 2


def test_an_error_of_the_frames_is_passed_on(tmp_path: Path) -> None:
    """What goes wrong while frames are read ends the encoding."""

    def broken() -> Any:
        yield np.zeros((8, 8), np.uint8)
        raise OSError("the line broke")

    with pytest.raises(OSError, match="the line broke"):
        encoder.encode_video(
            broken(),
            ValueRange(0, 1),
            tmp_path / "v.mp4",
            frame_rate=Fraction(1),
            expected_frames=2,
        )
