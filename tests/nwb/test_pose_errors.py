"""A pose estimation that cannot be shown is a clear error, within the limits."""

from typing import Any, Callable, Dict, Iterator

import h5py
import numpy as np
import pytest
from pose_files import POSE_PATH, add_part, add_pose, file_bytes, opened, read_pose, walk

from devaria.nwb.errors import InvalidInputError, NwbError
from devaria.nwb.pose import source
from devaria.nwb.synthetic.session import marked_group

TIMES = np.arange(5.0)

Write = Callable[[h5py.Group], object]


def one_part(data: Any = None, times: Any = TIMES, **options: Any) -> Write:
    """Return what writes one part, of 5 frames unless the data say otherwise."""
    data = walk(5) if data is None else data
    return lambda pose: add_part(pose, "nose", data, times=times, **options)


def declared(shape: Any, **options: Any) -> Write:
    """Return what writes a part whose data are declared, but not stored."""

    def write(pose: h5py.Group) -> None:
        series = marked_group(pose, "nose", "PoseEstimationSeries")
        series.create_dataset("data", shape, "f8", **options)
        series["starting_time"] = 0.0
        series["starting_time"].attrs["rate"] = 30.0

    return write


def declared_times(pose: h5py.Group) -> None:
    """Write a part whose times are declared, but not stored."""
    series = marked_group(pose, "nose", "PoseEstimationSeries")
    zeros = np.zeros((4 * 10**6, 2), "i1")
    series.create_dataset("data", data=zeros, chunks=(10**6, 2), compression="gzip")
    series.create_dataset("timestamps", (4 * 10**6,), "f8", chunks=(10**6,))


def linked(name: str, link: Any) -> Write:
    """Return what writes a part, one dataset of which is a link."""

    def write(pose: h5py.Group) -> None:
        series = one_part(confidence=TIMES)(pose)
        del series[name]
        series[name] = link

    return write


def external_data(pose: h5py.Group) -> None:
    """Write a part whose values lie in a file of the reader's machine."""
    series = one_part()(pose)
    del series["data"]
    series.create_dataset("data", (5, 2), "f8", external=[("/etc/hostname", 0, 80)])


def virtual_data(pose: h5py.Group) -> None:
    """Write a part whose values another file has."""
    series = one_part()(pose)
    del series["data"]
    layout = h5py.VirtualLayout((5, 2), "f8")
    layout[:] = h5py.VirtualSource("/other.h5", "data", (5, 2))
    series.create_virtual_dataset("data", layout)


def no_data(pose: h5py.Group) -> None:
    """Write a part that has nothing."""
    marked_group(pose, "nose", "PoseEstimationSeries")


def refused_part(pose: h5py.Group) -> None:
    """Write a container whose only part is a link to another file."""
    pose["nose"] = h5py.ExternalLink("/other.h5", "nose")


NOTHING = np.full((5, 2), np.nan)

#: Containers of one file, by name, and a pattern of the error.
ERRORS: Dict[str, Any] = {
    "empty": (lambda _pose: None, "has no PoseEstimationSeries, so there is no part to show$"),
    "refused": (refused_part, r"has no PoseEstimationSeries.*; not read: nose \(.*other file"),
    "no data": (no_data, "part nose has no data"),
    "one axis": (
        one_part(TIMES),
        r"data of part nose has the shape \(5,\); it must be \(frames, 2",
    ),
    "one column": (one_part(np.ones((5, 1))), r"has the shape \(5, 1\); it must be"),
    "four columns": (one_part(np.ones((5, 4))), r"has the shape \(5, 4\); it must be"),
    "three axes": (one_part(np.ones((5, 2, 2))), r"has the shape \(5, 2, 2\); it must be"),
    "single": (one_part(1.0), r"has the shape \(\); it must be"),
    "texts": (one_part(np.array([["a", "b"]], h5py.string_dtype())), "data of part nose is text,"),
    "complex": (one_part(np.ones((5, 2), "c16")), "data of part nose is <c16, not real numbers"),
    "group": (lambda pose: no_data(pose) or pose["nose"].create_group("data"), "nose has no data"),
    "no frames": (one_part(np.empty((0, 2)), np.empty(0)), "no part has a frame"),
    "nan": (one_part(NOTHING), "no position of any part is a number"),
    "short times": (
        one_part(times=TIMES[:4]),
        r"timestamps of part nose has the shape \(4,\), but",
    ),
    "long times": (one_part(times=np.arange(6.0)), r"the shape \(6,\), but its data has 5 frames"),
    "square times": (one_part(times=np.ones((5, 5))), r"timestamps .* has the shape \(5, 5\), but"),
    "one time": (one_part(times=3.0), r"timestamps of part nose has the shape \(\), but"),
    "text times": (one_part(times=["a"] * 5), "timestamps of part nose is text, not real numbers"),
    "short confidence": (
        one_part(confidence=TIMES[:2]),
        r"confidence .* has the shape \(2,\), but",
    ),
    "rate 0": (
        one_part(times=None, start_and_rate=(0.0, 0.0)),
        "the rate of part nose is 0 frames",
    ),
    "rate -1": (one_part(times=None, start_and_rate=(0.0, -1.0)), "is -1 frames a second; it must"),
    "rate [-1]": (
        one_part(times=None, start_and_rate=([0.0], [-1.0])),
        "is -1 frames a second; it must",
    ),
    "tiny rate": (
        one_part(times=None, start_and_rate=(0.0, 1e-320)),
        "the rate of part nose is 9.99989e-321 frames a second; with it, the times are too",
    ),
    "text start": (
        one_part(times=None, start_and_rate=("x", 5.0)),
        "starting_time of part nose is t",
    ),
    "bomb": (
        declared((10**5, 10**5), chunks=(10, 10**5)),
        r"has the shape \(100000, 100000\); it m",
    ),
    "too long": (
        declared((20_000_001, 2), chunks=(10**6, 2)),
        "20,000,001 frames; at most 20,000,",
    ),
    "external": (external_data, "^/external/nose/data keeps its values in another file"),
    "virtual": (virtual_data, "^/virtual/nose/data .* refused"),
    "data elsewhere": (linked("data", h5py.ExternalLink("/x.h5", "x")), "data of part nose cannot"),
    "times elsewhere": (
        linked("timestamps", h5py.ExternalLink("/x", "x")),
        "timestamps of part nose c",
    ),
    "confidence elsewhere": (linked("confidence", h5py.SoftLink("/x")), "leads nowhere"),
}


@pytest.fixture(scope="module")
def file() -> Iterator[Any]:
    """Open a file that has all these containers."""

    def write(file: h5py.File) -> None:
        for name, (write_parts, _) in ERRORS.items():
            write_parts(add_pose(file, f"/{name}"))

    with opened(file_bytes(write)) as remote:
        yield remote


@pytest.mark.parametrize("name", ERRORS)
def test_error_names_what_is_wrong(name: str, file: Any) -> None:
    """In one line; afterwards the file can still be used."""
    with pytest.raises(NwbError, match=ERRORS[name][1]) as raised:
        read_pose(file, f"/{name}")
    assert str(raised.value).isprintable()


def test_too_many_parts(file: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container with more parts than a figure can show is refused before they are read."""
    monkeypatch.setattr(source, "MAX_PARTS", 0)
    with pytest.raises(NwbError, match="has 1 parts; at most 0 are drawn"):
        read_pose(file, "/nan")


@pytest.fixture(scope="module")
def other() -> Iterator[Any]:
    """Open a file with objects of several kinds."""

    def write(file: h5py.File) -> None:
        one_part()(add_pose(file))
        one_part()(add_pose(file, "/processing/behavior/PoseEstimationLeftCamera"))
        marked_group(file, "units", "Units")
        file.create_group("plain")
        file["table"] = np.arange(3)
        file["alias"] = h5py.SoftLink(POSE_PATH)
        file["away"] = h5py.ExternalLink("/other.h5", "pose")

    with opened(file_bytes(write)) as remote:
        yield remote


PATHS = (
    "; PoseEstimation paths in the file: "
    "/processing/behavior/PoseEstimation, /processing/behavior/PoseEstimationLeftCamera"
)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/units", "path /units is no PoseEstimation: a Units is there"),
        (
            f"{POSE_PATH}/nose",
            f"path {POSE_PATH}/nose is no PoseEstimation: a PoseEstimationSeries is",
        ),
        ("/plain", "path /plain is no PoseEstimation: a group without an NWB type is there"),
        ("/table", "path /table is no PoseEstimation: a dataset without an NWB type is there"),
        ("/", "path / is no PoseEstimation: a group without an NWB type is there"),
        ("/nothing", "path /nothing is not in the file"),
        (f"{POSE_PATH}/nothing", f"path {POSE_PATH}/nothing is not in the file"),
    ],
)
def test_wrong_path_lists_the_right_ones(path: str, text: str, other: Any) -> None:
    """It says what lies there, and where the file has poses."""
    with pytest.raises(InvalidInputError) as raised:
        read_pose(other, path)
    assert str(raised.value).startswith(text)
    assert str(raised.value).endswith(PATHS)


def test_file_without_poses_says_so() -> None:
    """There is nothing to list."""
    content = file_bytes(lambda file: file.create_group("x"))
    text = "PoseEstimation paths in the file: none"
    with opened(content) as remote, pytest.raises(InvalidInputError, match=text):
        read_pose(remote, POSE_PATH)


def test_link_within_the_file_is_followed(other: Any) -> None:
    """A soft link to a container is one; a link to another file is refused."""
    assert [part.name for part in read_pose(other, "/alias")[0]] == ["nose"]
    with pytest.raises(NwbError, match="other file"):
        read_pose(other, "/away")


@pytest.mark.parametrize(
    ("write", "name"),
    [(declared((10**7, 2), chunks=(10**6, 2)), "data"), (declared_times, "timestamps")],
)
def test_declared_frames_must_be_stored(write: Write, name: str) -> None:
    """A small file cannot declare frames that fill the memory."""
    content = file_bytes(lambda file: write(add_pose(file)))
    text = rf"^{POSE_PATH}/nose/{name} declares .* bytes"
    with opened(content) as remote, pytest.raises(NwbError, match=text):
        read_pose(remote, POSE_PATH)
