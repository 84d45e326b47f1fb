"""Image series of one file: what is read of them equals what h5py reads, and what is refused."""

import io
from typing import Any, Callable, Dict, Iterator, List

import h5py
import numpy as np
import pytest
from image_files import (
    EXTERNAL_VIDEO,
    MATLAB_VIDEO,
    add_series,
    needs_real_videos,
    series_bytes,
)
from range_server import LOOPBACK, RangeServer

from devaria.nwb import open_remote
from devaria.nwb.errors import InvalidInputError, NwbError
from devaria.nwb.images.opening import open_image_series
from devaria.nwb.images.series import ImageSeries, _windows
from devaria.nwb.images.times import FrameTimes, ShownFrames

RNG = np.random.default_rng(11)
COUNT = 12

#: Series with sound data, by name: the data, and what a frame of it shows.
SOUND: Dict[str, Any] = {
    "uint8": RNG.integers(0, 256, (COUNT, 9, 7)).astype(np.uint8),
    "uint16": RNG.integers(0, 4096, (COUNT, 9, 7)).astype(np.uint16),
    "int16": RNG.integers(-500, 500, (COUNT, 9, 7)).astype(np.int16),
    "big_endian": RNG.integers(0, 4096, (COUNT, 9, 7)).astype(">i4"),
    "float32": RNG.normal(size=(COUNT, 9, 7)).astype(np.float32),
    "float64": RNG.normal(size=(COUNT, 9, 7)),
    "one_channel": RNG.integers(0, 256, (COUNT, 9, 7, 1)).astype(np.uint8),
    "colour": RNG.integers(0, 256, (COUNT, 9, 7, 3)).astype(np.uint8),
    "alpha": RNG.integers(0, 256, (COUNT, 9, 7, 4)).astype(np.uint8),
    "volume": RNG.integers(0, 4096, (COUNT, 9, 7, 6)).astype(np.uint16),
    "two_planes": RNG.integers(0, 4096, (COUNT, 9, 7, 2)).astype(np.uint16),
    "mask": RNG.integers(0, 2, (COUNT, 9, 7)).astype(bool),
    "one_frame": RNG.integers(0, 256, (1, 9, 7)).astype(np.uint8),
}
PICTURES: Dict[str, Callable[[Any], Any]] = {
    "one_channel": lambda data: data[..., 0],
    "alpha": lambda data: data[..., :3],
    "volume": lambda data: data[..., 3],
    "two_planes": lambda data: data[..., 1],
}


def write_sound(file: h5py.File) -> None:
    """Write series that can be shown."""
    for name, data in SOUND.items():
        add_series(file, f"sound/{name}", data, start_sec=2.5, rate_hz=4.0)
    data = SOUND["uint16"]
    chunked = {"chunks": (5, 4, 4), "compression": "gzip", "shuffle": True}
    add_series(file, "sound/chunked", data, **chunked)
    hour = np.arange(30 * 3600, dtype=np.uint32)
    add_series(file, "sound/hour", hour.reshape(-1, 1, 1), rate_hz=30.0)
    add_series(file, "typed/photon_3", SOUND["colour"], kind="TwoPhotonSeries")
    add_series(file, "typed/optical", SOUND["colour"], kind="OpticalSeries")
    add_series(file, "typed/extension", data, kind="MicroscopySeries")
    says_three = add_series(file, "typed/says_three", SOUND["alpha"])
    says_three["dimension"] = [7, 9, 4]
    add_series(file, "typed/linked", None)["data"] = h5py.SoftLink("/sound/uint16/data")


def write_forged(file: h5py.File) -> None:
    """Write types whose names would forge lines of the console."""
    forged = f"A\x1b[31m\nERROR {'x' * 200}"
    add_series(file, "forged/sound", SOUND["uint8"], kind=forged)
    add_series(file, "forged/flat", np.zeros((COUNT, 4)), kind=forged)


def write_times(file: h5py.File) -> None:
    """Write series whose times are sound, unknown or wrong."""
    data = np.arange(COUNT * 4, dtype=np.uint8).reshape(COUNT, 2, 2)
    even = np.arange(COUNT) / 2 + 100
    add_series(file, "times/stamped", data, timestamps=even)
    add_series(file, "times/column", data, timestamps=even[:, np.newaxis])
    add_series(file, "times/pause", data, timestamps=np.where(even > 103, even + 60, even))
    add_series(file, "times/shuffled", data, timestamps=even[[0, 1, 2, 5, 4, 3, *range(6, COUNT)]])
    gaps = even.copy()
    gaps[[3, 4, 7]] = np.nan, np.inf, -np.inf
    add_series(file, "times/gaps", data, timestamps=gaps)
    add_series(file, "times/all_nan", data, timestamps=np.full(COUNT, np.nan))
    add_series(file, "times/none", data, start_sec=None)
    add_series(file, "times/rate_list", data, rate_hz=[20.0])
    add_series(file, "times/short", data, timestamps=even[:-1])
    add_series(file, "times/long", data, timestamps=[*even, 200])
    add_series(file, "times/table", data, timestamps=np.zeros((COUNT, 2)))
    many = add_series(file, "times/many")
    for dataset, shape in (("data", (5_000_001, 1, 1)), ("timestamps", (5_000_001,))):
        many.create_dataset(dataset, shape, np.uint8, chunks=True)  # not written: takes no room
    add_series(file, "times/rate_0", data, rate_hz=0.0)
    add_series(file, "times/rate_negative", data, rate_hz=-30.0)
    add_series(file, "times/rate_nan", data, rate_hz=float("nan"))
    add_series(file, "times/rate_tiny", data, rate_hz=5e-324)
    add_series(file, "times/rate_text", data, rate_hz="30")
    add_series(file, "times/rate_missing", data, rate_hz=None)
    add_series(file, "times/start_nan", data, start_sec=float("nan"))


def write_unfit(file: h5py.File) -> None:
    """Write what is no image series, or one that cannot be shown."""
    flat = np.zeros((COUNT, 4))
    add_series(file, "unfit/flat", flat)
    add_series(file, "unfit/single", 3.0)
    add_series(file, "unfit/deep", np.zeros((2, 2, 2, 2, 2)))
    add_series(file, "unfit/complex", np.zeros((3, 2, 2), complex))
    add_series(file, "unfit/texts", np.full((3, 2, 2), b"text"))
    add_series(file, "unfit/empty", np.zeros((0, 5, 5)))
    add_series(file, "unfit/no_rows", np.zeros((5, 0, 5)))
    add_series(file, "unfit/without_data")
    external = add_series(file, "unfit/external", np.zeros((0, 0, 0)))
    external["format"] = "external"
    external["external_file"] = [f"movie_{number}.avi" for number in range(7)]
    for name, shape in (
        ("wide", (3, 10, 4097)),
        ("huge", (10, 100_000, 100_000)),
        ("heavy", (10, 4096, 4096, 5)),
        ("unwritten", (100_000, 4096, 4096)),
    ):
        chunks = tuple(min(length, 512) for length in (1, *shape[1:]))
        group = add_series(file, f"unfit/{name}")
        group.create_dataset("data", shape, np.float32, chunks=chunks, compression="gzip")
    add_series(file, "unfit/linked")["data"] = h5py.ExternalLink("/etc/passwd", "/x")
    stored = add_series(file, "unfit/stored_outside")
    stored.create_dataset("data", (3, 4, 4), np.uint8, external=[("/etc/passwd", 0, 48)])
    add_series(file, "others/plain", flat, kind="TimeSeries")
    add_series(file, "others/voltage", np.zeros((9, 3, 2)), kind="ElectricalSeries")
    file.create_group("others/untyped")["data"] = np.zeros((3, 2, 2))


@pytest.fixture(scope="module")
def content() -> bytes:
    """Make the file."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        write_sound(file)
        write_times(file)
        write_unfit(file)
        write_forged(file)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def file(content: bytes) -> Iterator[Any]:
    """Open it once for all tests."""
    with RangeServer({"/file.nwb": content}) as server, open_remote(
        server.url("/file.nwb"), allow_hosts=LOOPBACK
    ) as opened:
        yield opened


def opened(file: Any, path: str) -> ImageSeries:
    """Open a series of the file."""
    return open_image_series(file, path, "image_series_path")


def all_frames(file: Any, series: ImageSeries, rows: List[int]) -> Any:
    """Read frames into one array. Each is valid until the next one comes."""
    frames = series.frames(file, np.array(rows, np.int64))
    return np.array([np.array(frame) for frame in frames])


@pytest.mark.parametrize("name", SOUND)
def test_frames_equal_those_of_h5py(file: Any, name: str) -> None:
    """Every frame of every layout is read as it is, and a part of the frames too."""
    series = opened(file, f"/sound/{name}")
    wanted = PICTURES.get(name, lambda data: data)(SOUND[name])
    shown = series.times.shown("whole", 1000)
    assert shown.rows.tolist() == list(range(len(wanted)))
    np.testing.assert_array_equal(shown.times_sec, 2.5 + shown.rows / 4)
    np.testing.assert_array_equal(all_frames(file, series, shown.rows.tolist()), wanted)
    rows = list(range(0, len(wanted), 5))
    np.testing.assert_array_equal(all_frames(file, series, rows), wanted[rows])
    assert series.is_colour == (name in ("colour", "alpha"))


def test_frames_in_chunks_of_any_shape(file: Any) -> None:
    """Chunks with many frames, and with parts of frames, give the same."""
    series = opened(file, "/sound/chunked")
    assert series.chunk_frames == 5
    frames = all_frames(file, series, [1, 4, 7, 10])
    np.testing.assert_array_equal(frames, SOUND["uint16"][[1, 4, 7, 10]])


def test_frames_in_any_order(file: Any) -> None:
    """Frames are given in the order in which they are asked for."""
    series = opened(file, "/sound/uint16")
    frames = all_frames(file, series, [7, 2, 9, 3])
    np.testing.assert_array_equal(frames, SOUND["uint16"][[7, 2, 9, 3]])


@pytest.mark.parametrize("chunk_frames", [1, 50])
def test_a_few_odd_times_cost_little(chunk_frames: int) -> None:
    """A frame without a time, and two that are swapped, do not make each frame a request."""
    data = RNG.integers(0, 4096, (400, 64, 64)).astype(np.uint16)
    times_sec = np.arange(400) / 30
    times_sec[100] = np.nan
    times_sec[[300, 301]] = times_sec[[301, 300]]
    chunked = {"chunks": (chunk_frames, 64, 64), "compression": "gzip"}
    content = series_bytes(data, timestamps=times_sec, **chunked)
    rows = [*range(100), *range(101, 300), 301, 300, *range(302, 400)]
    with RangeServer({"/file.nwb": content}) as server, open_remote(
        server.url("/file.nwb"), allow_hosts=LOOPBACK
    ) as file:
        series = opened(file, "/acquisition/movie")
        assert series.times.shown("whole", 1000).rows.tolist() == rows
        np.testing.assert_array_equal(all_frames(file, series, rows), data[rows])
        assert len(server.asked) < 100


@pytest.mark.parametrize("chunk_frames", [1, 7, 40])
@pytest.mark.parametrize("order", ["sorted", "shuffled", "reversed"])
def test_windows_hold_the_frames_in_their_order(order: str, chunk_frames: int) -> None:
    """Each number is in its place, and no window is longer than allowed."""
    rows = RNG.choice(500, 100, replace=False)
    if order != "shuffled":
        rows = np.sort(rows)[:: 1 if order == "sorted" else -1]
    for most in (1, 30, 100):
        found: List[int] = []
        for window, places in _windows(rows.tolist(), chunk_frames, most):
            held = np.arange(500)[window]
            assert len(held) <= most
            found += held[places].tolist()
        assert found == rows.tolist()


def test_an_hour_is_spread_over_the_frames(file: Any) -> None:
    """Of an hour at 30 frames a second, every 108th frame is chosen and read."""
    series = opened(file, "/sound/hour")
    shown = series.times.shown("whole", 1000)
    assert shown.times_sec[[0, 1, -1]].tolist() == [0, 3.6, 999 * 3.6]
    frames = all_frames(file, series, shown.rows.tolist())
    assert frames.ravel().tolist() == list(range(0, 108_000, 108))


def test_a_sample_is_some_of_the_frames(file: Any) -> None:
    """A sample holds frames from all over the video, without alpha or other planes."""
    series = opened(file, "/sound/volume")
    sample = series.sample(file, np.arange(COUNT))
    np.testing.assert_array_equal(sample, SOUND["volume"][..., 3])
    few = opened(file, "/sound/alpha").sample(file, np.array([5, 3, 8]))
    np.testing.assert_array_equal(few, SOUND["alpha"][[5, 3, 8]][..., :3])


def long_series(side: int, chunk_frames: int) -> ImageSeries:
    """A series of 20,000 square frames, of which so many lie in one chunk."""
    return ImageSeries(
        path="/x",
        type_name="ImageSeries",
        data_path="/x/data",
        shape=(20_000, side, side),
        dtype=np.dtype(np.uint16),
        is_volume=False,
        times=FrameTimes(20_000),
        chunk_frames=chunk_frames,
    )


@pytest.mark.parametrize(
    ("side", "chunk_frames", "step", "frames"),
    [(512, 1, 1, 20), (512, 1, 20, 20), (128, 50, 20, 20), (512, 125, 1, 3), (4096, 1, 1, 2)],
)
def test_a_sample_fetches_little(side: int, chunk_frames: int, step: int, frames: int) -> None:
    """A sample has fewer frames where each needs a large part of the file."""
    series = long_series(side, chunk_frames)
    rows = series.times.shown("whole" if step > 1 else "start", 1000).rows
    assert rows[1] == step
    assert series._sample_frames(rows) == frames


@pytest.mark.parametrize(
    ("chunk_frames", "step", "frames"), [(1, 1, 24), (10, 1, 24), (63, 1, 63), (500, 20, 25)]
)
def test_a_chunk_is_read_once(chunk_frames: int, step: int, frames: int) -> None:
    """Frames that share a chunk are read at once, up to 64 MiB."""
    series = long_series(512, chunk_frames)
    assert series._batch_bytes(step) == frames * 512 * 512 * 2
    assert long_series(512, 1_000)._batch_bytes(1) == 64 * 2**20


def test_planes_and_colours_are_told_apart(file: Any) -> None:
    """Three or four last are colours, unless the type or the series says that they are planes."""
    assert opened(file, "/typed/photon_3").is_volume
    assert opened(file, "/typed/says_three").is_volume
    assert opened(file, "/typed/optical").is_colour
    assert opened(file, "/sound/two_planes").is_volume
    assert opened(file, "/sound/volume").notes == ["Volumes: plane 4 of 6 is shown"]
    assert opened(file, "/sound/alpha").notes == [
        "The fourth channel of the colours (alpha) is left out"
    ]


def test_types_of_extensions_and_links(file: Any) -> None:
    """A type of an extension is taken by its shape, and frames may be shared by a soft link."""
    assert opened(file, "/typed/extension").type_name == "MicroscopySeries"
    linked = opened(file, "/typed/linked")
    np.testing.assert_array_equal(all_frames(file, linked, [0, 6]), SOUND["uint16"][[0, 6]])


def test_a_type_stays_in_its_line(file: Any) -> None:
    """The name of a type is escaped and shortened, for the console and in an error."""
    name = opened(file, "/forged/sound").type_name
    assert name.startswith("A\\x1b[31m\\x0aERROR xxx")
    assert name.endswith("x…")
    assert len(name) < 110
    with pytest.raises(InvalidInputError) as caught:
        opened(file, "/forged/flat")
    assert f" is {name}, not an image series" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "rows", "times_sec", "notes"),
    [
        ("stamped", range(COUNT), [100 + row / 2 for row in range(COUNT)], []),
        ("column", range(COUNT), [100 + row / 2 for row in range(COUNT)], []),
        ("rate_list", range(COUNT), [row / 20 for row in range(COUNT)], []),
        (
            "shuffled",
            [0, 1, 2, 5, 4, 3, *range(6, COUNT)],
            [100 + row / 2 for row in range(COUNT)],
            ["The times in the file are not in order: the frames are shown sorted by time"],
        ),
        (
            "gaps",
            [0, 1, 2, 5, 6, *range(8, COUNT)],
            [100 + row / 2 for row in (0, 1, 2, 5, 6, *range(8, COUNT))],
            ["Left out 3 frames whose time is NaN or infinite"],
        ),
        (
            "all_nan",
            range(COUNT),
            range(COUNT),
            ["All times of the frames are NaN or infinite: their numbers are shown instead"],
        ),
        (
            "none",
            range(COUNT),
            range(COUNT),
            ["The file has no times of the frames: their numbers are shown instead"],
        ),
    ],
)
def test_times(file: Any, name: str, rows: Any, times_sec: Any, notes: List[str]) -> None:
    """Each frame has its true time, and what is odd about the times is said."""
    series = opened(file, f"/times/{name}")
    shown = series.times.shown("start", 1000)
    assert shown.rows.tolist() == list(rows)
    assert shown.times_sec.tolist() == list(times_sec)
    assert shown.has_times == (name not in ("all_nan", "none"))
    assert series.notes == notes


def test_choice_of_frames(file: Any) -> None:
    """`whole` spreads the frames over all, from the first one on; `start` takes the first ones."""
    times = opened(file, "/times/stamped").times
    assert times.shown("start", 5).rows.tolist() == [0, 1, 2, 3, 4]
    assert times.shown("whole", 5).rows.tolist() == [0, 3, 6, 9]
    assert times.shown("whole", 5).times_sec.tolist() == [100, 101.5, 103, 104.5]
    assert times.shown("whole", 1).rows.tolist() == [0]
    gaps = opened(file, "/times/gaps").times
    assert gaps.shown("whole", 5).rows.tolist() == [0, 2, 6, 9, 11]


def test_rate_of_the_frames(file: Any) -> None:
    """The rate is that of most frames, whatever pauses there are; a pause is told."""
    even = opened(file, "/times/stamped").times.shown("start", 1000)
    assert (even.rate_hz, even.is_even) == (2.0, True)
    pause = opened(file, "/times/pause").times.shown("start", 1000)
    assert (pause.rate_hz, pause.is_even) == (2.0, False)
    assert opened(file, "/times/stamped").times.shown("start", 1).rate_hz is None
    assert opened(file, "/times/none").times.shown("start", 1000).rate_hz is None


@pytest.mark.parametrize("times_sec", [[0, 0, 0], [0, 1e-12, 2e-12], [0, 1e12], [-1e308, 1e308]])
def test_absurd_times_have_no_rate(times_sec: List[float]) -> None:
    """Distances in time that cannot be meant give no rate, and so no speed."""
    shown = ShownFrames(np.arange(len(times_sec)), np.array(times_sec, float), has_times=True)
    assert shown.rate_hz is None
    assert isinstance(shown.is_even, bool)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (
            "times/short",
            "timestamps has the shape (11,), but there are 12 frames: each frame needs",
        ),
        ("times/long", "timestamps has the shape (13,), but there are 12 frames: each frame needs"),
        ("times/table", "timestamps has the shape (12, 2), but there are 12 frames: each"),
        ("times/many", "/timestamps has 5,000,001 times; at most 5,000,000 are read: evenly"),
        ("times/rate_0", "the rate of /times/rate_0/starting_time is 0 frames a second; it must"),
        ("times/rate_negative", "starting_time is -30 frames a second; it must be above 0"),
        ("times/rate_nan", "/times/rate_nan/starting_time has no rate: the times of the frames"),
        ("times/rate_text", "starting_time has no rate: the times of the frames are not known"),
        ("times/rate_missing", "starting_time has no rate: the times of the frames are not known"),
        ("times/rate_tiny", "starting_time and its rate give times that are not finite"),
        ("times/start_nan", "starting_time and its rate give times that are not finite"),
        ("unfit/flat", "unfit/flat/data have the shape (12, 4); pictures need frames x rows x"),
        ("unfit/single", "unfit/single/data have the shape (); pictures need frames x rows x"),
        ("unfit/deep", "data have the shape (2, 2, 2, 2, 2); pictures need frames x rows x"),
        ("unfit/complex", "/unfit/complex/data hold <c16, not real numbers"),
        ("unfit/texts", "/unfit/texts/data hold text, not real numbers"),
        ("unfit/empty", "/unfit/empty has no frames: its data have the shape (0, 5, 5)"),
        ("unfit/no_rows", "/unfit/no_rows has no frames: its data have the shape (5, 0, 5)"),
        ("unfit/without_data", "/unfit/without_data has no frames: it has no data"),
        (
            "unfit/external",
            (
                "are not in this file, but in external files: movie_0.avi, movie_1.avi, "
                "movie_2.avi, movie_3.avi, movie_4.avi and 2 more"
            ),
        ),
        ("unfit/wide", "have 10 x 4,097 pixels; at most 4,096 x 4,096 can be shown"),
        ("unfit/huge", "have 100,000 x 100,000 pixels; at most 4,096 x 4,096 can be shown"),
        ("unfit/heavy", "has 335,544,320 bytes; at most 268,435,456 can be shown"),
        ("unfit/linked", "/unfit/linked/data cannot be read: "),
    ],
)
def test_what_cannot_be_shown(file: Any, path: str, text: str) -> None:
    """A series that cannot be shown is a clear error, before any frame is read."""
    with pytest.raises(NwbError) as caught:
        opened(file, f"/{path}")
    assert text in str(caught.value)


@pytest.mark.parametrize("name", ["unwritten", "stored_outside"])
def test_frames_that_are_not_in_the_file(file: Any, name: str) -> None:
    """Frames that were never written, or lie in a file of this machine, are not read."""
    series = opened(file, f"/unfit/{name}")
    with pytest.raises(NwbError, match=name):
        series.sample(file, series.times.shown("whole", 1000).rows)
    with pytest.raises(NwbError, match=name):
        all_frames(file, series, [0])


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("/others/plain", "is TimeSeries, not an image series"),
        ("/others/voltage", "is ElectricalSeries, not an image series"),
        ("/others/untyped", "is a group without a type, not an image series"),
        ("/sound/uint8/data", "is a dataset without a type, not an image series"),
        ("/nowhere", "is not in the file"),
    ],
)
def test_another_object(file: Any, path: str, fault: str) -> None:
    """A path to something else says what it is, and which image series there are."""
    with pytest.raises(InvalidInputError) as caught:
        opened(file, path)
    text = str(caught.value)
    assert text.startswith(f"image_series_path {path} {fault}; image series in the file: /")
    assert "/sound/alpha, /sound/big_endian, " in text


def test_a_file_without_image_series() -> None:
    """The error says that there are none."""
    content = series_bytes(np.zeros((2, 2)), kind="TimeSeries")
    with RangeServer({"/file.nwb": content}) as server, open_remote(
        server.url("/file.nwb"), allow_hosts=LOOPBACK
    ) as file, pytest.raises(InvalidInputError, match="image series in the file: none"):
        opened(file, "/acquisition/movie")


@needs_real_videos
def test_real_files() -> None:
    """The frames and times of a real file equal those of h5py; the other one names its files."""
    contents = {f"/{path.name}": path.read_bytes() for path in (MATLAB_VIDEO, EXTERNAL_VIDEO)}
    with RangeServer(contents) as server:
        url = server.url(f"/{MATLAB_VIDEO.name}")
        with open_remote(url, allow_hosts=LOOPBACK) as file, h5py.File(MATLAB_VIDEO) as local:
            series = opened(file, "/acquisition/Camera input")
            shown = series.times.shown("whole", 1000)
            data = local["acquisition/Camera input/data"][()]
            np.testing.assert_array_equal(all_frames(file, series, shown.rows.tolist()), data)
            assert shown.times_sec.tolist() == [row / 24 for row in range(24)]
        url = server.url(f"/{EXTERNAL_VIDEO.name}")
        with open_remote(url, allow_hosts=LOOPBACK) as file:
            with pytest.raises(
                NwbError, match="not in this file, but in external files: "
            ) as caught:
                opened(file, "/acquisition/test_image_series")
            with h5py.File(EXTERNAL_VIDEO) as local:
                names = local["acquisition/test_image_series/external_file"].asstr()[:5]
            assert ", ".join(names) in str(caught.value)
