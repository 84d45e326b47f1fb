"""A pose estimation is read as it is stored, with its true times, whatever the writer."""

from typing import Any, Callable, Dict, Iterator, List

import h5py
import numpy as np
import pytest
from pose_files import (
    POSE_PATH,
    REAL_DIR,
    REAL_POSES,
    add_part,
    add_pose,
    add_skeleton,
    file_bytes,
    needs_real_poses,
    opened,
    read_pose,
    walk,
)

from devaria.nwb.pose.parts import PosePart
from devaria.nwb.synthetic.session import marked_group

FRAMES = 40
TIMES = np.arange(FRAMES) / 30
NAN = np.nan

Write = Callable[[h5py.Group], object]


def part_of(**options: Any) -> Write:
    """Return what writes one part with 40 frames, unless the options say otherwise."""
    full = {"data": walk(FRAMES), "times": TIMES, **options}
    return lambda pose: add_part(pose, "nose", full.pop("data"), **full)


def parts_of(**parts: Dict[str, Any]) -> Write:
    """Return what writes parts in this order."""

    def write(pose: h5py.Group) -> None:
        for name, options in parts.items():
            part_of_options = {"data": walk(FRAMES), **options}
            add_part(pose, name, part_of_options.pop("data"), **part_of_options)

    return write


def with_skeleton(nodes: List[str], edges: Any, *names: str) -> Write:
    """Return what writes parts, and a skeleton in the container."""

    def write(pose: h5py.Group) -> None:
        add_skeleton(pose, nodes, edges)
        for name in names:
            add_part(pose, name, walk(3), times=[0.0, 1.0, 2.0])

    return write


def with_linked_skeleton(pose: h5py.Group) -> None:
    """Write a skeleton elsewhere, and a link of some name to it."""
    skeleton = marked_group(pose.file, f"skeletons{pose.name}", "Skeleton", "ndx-pose")
    add_skeleton(skeleton, ["Snout", "left ear", "tail"], np.array([[1, 0], [0, 2]], np.uint8))
    pose["subject 7"] = h5py.SoftLink(skeleton.name)
    for name in ("PoseEstimationSeriesLeftEar", "PoseEstimationSeriesSnout", "tail"):
        add_part(pose, name, walk(3), times=[0.0, 1.0, 2.0])


def with_text(name: str, text: Any) -> Write:
    """Return what writes one part, and a text or numbers beside it."""

    def write(pose: h5py.Group) -> None:
        series = part_of()(pose)
        (series if name == "reference_frame" else pose)[name] = text

    return write


def with_odd_name(pose: h5py.Group) -> None:
    """Write a part, and another one whose name is no UTF-8; so is that of an attribute."""
    part_of()(pose)
    add_part(pose, b"\xff", walk(3), times=[0.0, 1.0, 2.0])
    pose.attrs.create(b"\xfe", 5)


UNSORTED = np.array([0.0, 3.0, 1.0, 1.0, 2.0])
UNSEEN = np.array([[-1.0, -1], [0, 0], [0, 0], [5, 6], [-1, 0]])

#: Containers of one file, by name.
POSES: Dict[str, Write] = {
    "linked": parts_of(
        a={"times": TIMES}, b={"same_times_as": "a"}, c={"times": TIMES}, d={"times": TIMES + 1}
    ),
    "lengths": parts_of(
        a={"times": TIMES},
        b={"data": walk(7), "times": np.arange(7.0)},
        c={"data": walk(1), "times": [2.5]},
    ),
    "rate": parts_of(a={"start_and_rate": (2.0, 25.0)}, b={"start_and_rate": (2.0, 25.0)}),
    "rate of MATLAB": part_of(times=None, start_and_rate=([2.0], [25.0])),
    "rate beside times": part_of(start_and_rate=(2.0, 25.0)),
    "nan times": parts_of(a={"times": np.full(FRAMES, NAN)}, b={"same_times_as": "a"}),
    "no times": part_of(times=None),
    "no rate": part_of(times=None, start_and_rate=(1.0, None)),
    "nan start": part_of(times=None, start_and_rate=(NAN, 30.0)),
    "some times": parts_of(a={"times": TIMES}, b={"data": walk(5), "times": np.full(5, NAN)}),
    "unsorted": part_of(
        data=np.arange(10.0).reshape(5, 2), times=UNSORTED, confidence=np.arange(5.0)
    ),
    "gaps in times": part_of(
        data=np.arange(10.0).reshape(5, 2), times=[0.0, NAN, 4.0, np.inf, 2.0]
    ),
    "gaps": part_of(
        data=[[1.0, 2], [NAN, NAN], [3, NAN], [np.inf, 1], [1e300, 1]], times=np.arange(5.0)
    ),
    "no confidence": part_of(),
    "nan confidence": part_of(confidence=np.full(FRAMES, NAN)),
    "confidence": part_of(confidence=np.linspace(0, 1, FRAMES, dtype=np.float32)),
    "unseen": part_of(data=UNSEEN, times=np.arange(5.0), confidence=[0.0, 0, 1, 0, 0]),
    "converted": part_of(attributes={"conversion": 0.5, "offset": 3.0, "unit": "millimeters"}),
    "converted by MATLAB": part_of(
        attributes={"conversion": [0.5], "offset": [3.0], "unit": "millimeters"}
    ),
    "deep": part_of(data=np.arange(FRAMES * 3.0).reshape(FRAMES, 3)),
    "one deep": parts_of(
        a={"data": np.ones((2, 3)), "times": [0.0, 1.0]},
        b={"data": np.ones((2, 2)), "times": [0.0, 1.0]},
    ),
    "one frame": part_of(data=[[1, 2]], times=[0.5]),
    "empty part": parts_of(a={"times": TIMES}, b={"data": np.empty((0, 2)), "times": np.empty(0)}),
    "odd name": with_odd_name,
    "rows of MATLAB": part_of(times=TIMES[np.newaxis], confidence=TIMES[:, np.newaxis]),
    "nodes": with_skeleton(
        ["nose", "ear", "tail"], [[0, 1], [2, 1], [0, 1]], "ear", "nose", "tail"
    ),
    "no such nodes": with_skeleton(["nose", "ear"], [[0, 1], [0, 9], [1, 1]], "nose", "paw"),
    "no edges": with_skeleton(["tail", "nose"], np.empty((0, 2)), "nose", "tail"),
    "odd edges": with_skeleton(["tail", "nose"], [0, 1, 2], "nose", "tail"),
    "linked skeleton": with_linked_skeleton,
    "bottom": with_text("reference_frame", "(0,0) is the bottom left corner"),
    "top": with_text("reference_frame", "top left, not bottom left"),
    "numbers as text": with_text("reference_frame", 5),
    "sizes": with_text("dimensions", np.array([[640, 480], [9, 9]], np.uint16)),
    "no sizes": with_text("dimensions", np.array([[0, 0]], np.uint16)),
    "odd sizes": with_text("dimensions", np.arange(3)),
    "many sizes": with_text("dimensions", np.ones((100_000, 2))),
    "names": parts_of(**{"<b>nose": {"times": TIMES}, "a" * 150: {"times": TIMES}}),
    **{
        f"type {dtype}": part_of(data=np.array([[1, 2], [3, 4]], dtype), times=[0.0, 1.0])
        for dtype in ("i2", "u1", "i8", ">i4", "f4", ">f4", "f8", ">f8", "f2")
    },
}


@pytest.fixture(scope="module")
def file() -> Iterator[Any]:
    """Open a file that has all these containers."""

    def write(file: h5py.File) -> None:
        for name, write_parts in POSES.items():
            write_parts(add_pose(file, f"/{name}"))

    with opened(file_bytes(write)) as remote:
        yield remote


def assert_equal(part: PosePart, positions: Any, times: Any, confidence: Any = None) -> None:
    """Check all that a part holds; NaN equals NaN."""
    assert part.positions.dtype == part.times.dtype == np.float64
    np.testing.assert_array_equal(part.positions, positions)
    np.testing.assert_array_equal(part.times, times)
    if confidence is None:
        assert part.confidence is None
    else:
        np.testing.assert_array_equal(part.confidence, confidence)


@needs_real_poses
@pytest.mark.parametrize("name", REAL_POSES)
def test_real_file_is_as_h5py_reads_it(name: str) -> None:
    """Every point, time and confidence of each part."""
    with opened((REAL_DIR / name).read_bytes()) as remote:
        parts, setting, _ = read_pose(remote, POSE_PATH)
    with h5py.File(REAL_DIR / name, "r") as file:
        pose = file[POSE_PATH]
        series = [n for n in pose if pose[n].attrs.get("neurodata_type") == "PoseEstimationSeries"]
        assert sorted(part.name for part in parts) == sorted(series)
        for part in parts:
            one = pose[part.name]
            assert_equal(part, one["data"][:, :2], one["timestamps"][:], one["confidence"][:])
    assert len({id(part.times) for part in parts}) == 1
    assert setting.time_unit == "s"
    assert setting.unit == "pixels"


@needs_real_poses
def test_real_settings() -> None:
    """Edges from the container and through a link, the direction of y, the picture's size."""
    found = []
    for name in REAL_POSES:
        with opened((REAL_DIR / name).read_bytes()) as remote:
            _, setting, notes = read_pose(remote, POSE_PATH)
        found.append((setting.edges, setting.y_up, setting.picture_size, notes))
    bottom = (
        "y points up, as the file says: “(0,0) corresponds to the bottom left corner of the video.”"
    )
    deep = "Of parts with three dimensions, x and y are shown: front_left_paw"
    assert found == [
        ([], True, None, [bottom]),
        ([(0, 1)], False, None, [deep]),
        ([(0, 1)], False, (640.0, 480.0), []),
    ]


def test_parts_share_equal_times(file: Any) -> None:
    """Through a link, or stored twice; other times stay apart."""
    a, b, c, d = read_pose(file, "/linked")[0]
    assert a.times is b.times is c.times
    np.testing.assert_array_equal(a.times, TIMES)
    np.testing.assert_array_equal(d.times, TIMES + 1)


def test_parts_may_have_other_lengths(file: Any) -> None:
    """Each has its own frames and times, down to a single one."""
    parts, _, notes = read_pose(file, "/lengths")
    for part, frames, times in zip(parts, (FRAMES, 7, 1), (TIMES, np.arange(7.0), [2.5])):
        assert_equal(part, walk(frames), times)
    assert notes == []


def test_times_from_a_rate(file: Any) -> None:
    """The first frame's time and the rate; timestamps come first where there are both."""
    a, b = read_pose(file, "/rate")[0]
    (of_lists,), setting, _ = read_pose(file, "/rate of MATLAB")
    np.testing.assert_array_equal(of_lists.times, a.times)
    assert setting.time_unit == "s"
    np.testing.assert_array_equal(a.times, 2.0 + np.arange(FRAMES) / 25.0)
    assert a.times is b.times
    np.testing.assert_array_equal(read_pose(file, "/rate beside times")[0][0].times, TIMES)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nan times", "since the times are unknown: all timestamps are NaN"),
        ("no times", "since the times are unknown: the file has none"),
        ("no rate", "since the times are unknown: the file has none"),
        ("nan start", "since the times are unknown: the file has none"),
        ("some times", "since the times of some parts are unknown (b): all timestamps are NaN"),
    ],
)
def test_unknown_times_are_frame_numbers(name: str, why: str, file: Any) -> None:
    """For all parts, since seconds and numbers have no common axis; and it is said."""
    parts, setting, notes = read_pose(file, f"/{name}")
    assert setting.time_unit == "frame"
    assert notes == [f"Frame numbers are shown, {why}"]
    for part in parts:
        np.testing.assert_array_equal(part.times, np.arange(len(part.positions)))


def test_frames_are_sorted_by_time(file: Any) -> None:
    """With their positions and confidence; equal times keep their order; and it is said."""
    (part,), _, notes = read_pose(file, "/unsorted")
    order = [0, 2, 3, 4, 1]
    assert_equal(part, np.arange(10.0).reshape(5, 2)[order], UNSORTED[order], np.arange(5.0)[order])
    assert notes == ["Sorted frames whose times do not ascend: nose"]


@pytest.mark.parametrize(
    ("name", "expected"), [("rate", True), ("unsorted", False), ("gaps in times", False)]
)
def test_places_that_are_no_frame_numbers_are_told(name: str, expected: bool, file: Any) -> None:
    """After sorting and leaving out, a frame's place is not its number in the file."""
    assert read_pose(file, f"/{name}")[1].is_in_file_order == expected


def test_frames_without_a_time_are_left_out(file: Any) -> None:
    """Where other frames have one; and the rest is sorted."""
    (part,), _, notes = read_pose(file, "/gaps in times")
    assert_equal(part, [[0, 1], [8, 9], [4, 5]], [0.0, 2.0, 4.0])
    assert notes == [
        "Sorted frames whose times do not ascend: nose",
        "Left out 2 frames whose times are not numbers",
    ]


def test_what_is_no_position_is_a_gap(file: Any) -> None:
    """NaN, infinity and numbers that no picture has."""
    (part,) = read_pose(file, "/gaps")[0]
    assert_equal(part, [[1, 2], [NAN, NAN], [3, NAN], [NAN, 1], [NAN, 1]], np.arange(5.0))


def test_confidence(file: Any) -> None:
    """As stored, or none where the file has none or only NaN."""
    (part,) = read_pose(file, "/confidence")[0]
    assert_equal(part, walk(FRAMES), TIMES, np.linspace(0, 1, FRAMES, dtype=np.float32))
    for name in ("/no confidence", "/nan confidence"):
        assert_equal(read_pose(file, name)[0][0], walk(FRAMES), TIMES)


def test_marks_of_unseen_parts_are_gaps(file: Any) -> None:
    """(-1, -1) and (0, 0) with confidence 0. With another confidence, (0, 0) is a position."""
    (part,), _, notes = read_pose(file, "/unseen")
    expected = [[NAN, NAN], [NAN, NAN], [0, 0], [5, 6], [-1, 0]]
    assert_equal(part, expected, np.arange(5.0), [0.0, 0, 1, 0, 0])
    assert notes == [
        "Left out 2 positions at (-1, -1) or (0, 0) with confidence 0: there the part was not seen"
    ]


@pytest.mark.parametrize("name", ["converted", "converted by MATLAB"])
def test_positions_are_in_their_unit(name: str, file: Any) -> None:
    """Conversion and offset apply, also as lists of one number."""
    (part,), setting, _ = read_pose(file, f"/{name}")
    np.testing.assert_array_equal(part.positions, walk(FRAMES) * 0.5 + 3.0)
    assert setting.unit == "millimeters"


def test_three_dimensions_show_x_and_y(file: Any) -> None:
    """And it is said."""
    (part,), _, notes = read_pose(file, "/deep")
    assert_equal(part, np.arange(FRAMES * 3.0).reshape(FRAMES, 3)[:, :2], TIMES)
    assert notes == ["Of parts with three dimensions, x and y are shown: all"]
    assert read_pose(file, "/one deep")[2] == [notes[0].replace("all", "a")]


def test_small_poses(file: Any) -> None:
    """One frame is enough; a part without frames is left out, and that is said."""
    assert_equal(read_pose(file, "/one frame")[0][0], [[1, 2]], [0.5])
    parts, _, notes = read_pose(file, "/empty part")
    assert [part.name for part in parts] == ["a"]
    assert notes == ["Left out parts without frames: b"]


@pytest.mark.parametrize("name", [name for name in POSES if name.startswith("type ")])
def test_types_of_numbers(name: str, file: Any) -> None:
    """Whole numbers and floats of any length and byte order."""
    assert_equal(read_pose(file, f"/{name}")[0][0], [[1, 2], [3, 4]], [0.0, 1.0])


@pytest.mark.parametrize("name", ["confidence", "rows of MATLAB", "rate", "no times"])
def test_every_third_frame(name: str, file: Any) -> None:
    """Frames that are left out leave the others, their times and numbers as they are."""
    whole, _, _ = read_pose(file, f"/{name}")
    parts, setting, _ = read_pose(file, f"/{name}", frame_step=3)
    assert setting.frame_step == 3
    for part, full in zip(parts, whole):
        confidence = None if full.confidence is None else full.confidence[::3]
        assert_equal(part, full.positions[::3], full.times[::3], confidence)


@pytest.mark.parametrize(
    ("name", "order", "edges", "notes"),
    [
        ("nodes", ["nose", "ear", "tail"], [(0, 1), (2, 1)], []),
        (
            "no such nodes",
            ["nose", "paw"],
            [],
            ["Left out 3 edges of the skeleton without two parts"],
        ),
        ("no edges", ["tail", "nose"], [], []),
        (
            "linked skeleton",
            ["PoseEstimationSeriesSnout", "PoseEstimationSeriesLeftEar", "tail"],
            [(1, 0), (0, 2)],
            [],
        ),
        (
            "odd edges",
            ["nose", "tail"],
            [],
            ["The skeleton cannot be read: /odd edges/edges has the shape (3,) and the type <i8"],
        ),
    ],
)
def test_skeleton(name: str, order: List[str], edges: Any, notes: List[str], file: Any) -> None:
    """It orders the parts and joins them. Nothing that is wrong with it fails the job."""
    parts, setting, said = read_pose(file, f"/{name}")
    assert ([part.name for part in parts], setting.edges, said) == (order, edges, notes)


@pytest.mark.parametrize(
    ("name", "y_up", "size"),
    [
        ("bottom", True, None),
        ("top", False, None),
        ("numbers as text", False, None),
        ("sizes", False, (640.0, 480.0)),
        ("no sizes", False, None),
        ("odd sizes", False, None),
        ("many sizes", False, None),
    ],
)
def test_picture(name: str, y_up: bool, size: Any, file: Any) -> None:
    """Where y begins, and how large the picture is; without them, the figure still shows."""
    setting = read_pose(file, f"/{name}")[1]
    assert (setting.y_up, setting.picture_size) == (y_up, size)


def test_names_that_are_no_text_are_left_out(file: Any) -> None:
    """And it is said."""
    parts, _, notes = read_pose(file, "/odd name")
    assert [part.name for part in parts] == ["nose"]
    assert notes == [r"Left out b'\xff' (its name is too long or not printable)"]


def test_names_are_one_line(file: Any) -> None:
    """Strangers' texts stay texts, and are not too long."""
    parts = read_pose(file, "/names")[0]
    assert [part.name for part in parts] == ["<b>nose", "a" * 100 + "…"]
