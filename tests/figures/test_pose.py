"""The figpack view of a pose: what its files hold, and what it shows of them."""

import json
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
import pytest
from pose_figures import StoredFigure, assert_shown

from devaria.figures.pose import COLORS, PoseView
from devaria.figures.pose_arrays import PoseArrays
from devaria.nwb.pose.parts import PosePart, PoseSetting


def setting_of(**options: Any) -> PoseSetting:
    """Return a setting; the options replace its entries."""
    usual: Dict[str, Any] = {
        "edges": [],
        "unit": "pixels",
        "time_unit": "s",
        "picture_size": None,
        "frame_step": 1,
        "y_up": False,
    }
    return PoseSetting(**{**usual, **options})


def view_of(parts: List[PosePart], notes: Any = (), **options: Any) -> PoseView:
    """Return the view of parts."""
    arrays = PoseArrays(len(parts))
    for part in parts:
        arrays.add(part)
    return PoseView(setting_of(**options), arrays, notes)


def saved(view: PoseView, folder: Path) -> StoredFigure:
    """Write a figure as it is uploaded."""
    view.save(str(folder), title="Pose")
    return StoredFigure(folder)


def part_at(x: Any, y: Any, name: str = "p") -> PosePart:
    """Return a part at these places, one after another."""
    positions = np.stack([np.asarray(x, float), np.asarray(y, float)], axis=1)
    return PosePart(name, np.arange(float(len(positions))), positions, None)


def test_files_hold_every_frame(tmp_path: Path) -> None:
    """Of parts with and without confidence, with gaps, with other times, over several blocks."""
    rng = np.random.default_rng(3)
    times = np.cumsum(rng.random(40_000))
    parts = []
    for name, own in (("a", times), ("b", times), ("c", times[:9] + 0.5), ("d", times)):
        positions = rng.standard_normal((len(own), 2)) * 100
        positions[rng.random(len(own)) < 0.2] = np.nan
        confidence = None if name == "b" else rng.random(len(own))
        parts.append(PosePart(name, own, positions, confidence))
    parts[3].positions[:] = np.nan  # a part that was never seen
    figure = saved(view_of(parts), tmp_path / "figure")
    assert len(figure.array("times_0_1")) > 1
    for part, shown in zip(parts, figure.parts()):
        assert_shown(shown, part.times, part.positions, part.confidence)


def test_attributes_say_what_the_figure_shows(tmp_path: Path) -> None:
    """Colours, edges, units, times, notes."""
    parts = [part_at([0, 4], [0, 4], "a"), part_at([1], [2], "b")]
    options = {"edges": [(0, 1)], "frame_step": 3, "y_up": True, "is_in_file_order": False}
    view = view_of(parts, ["A note"], time_unit="frame", **options)
    attrs = saved(view, tmp_path / "figure").attrs
    assert attrs["view_type"] == "devaria.Pose"
    assert [part["name"] for part in attrs["parts"]] == ["a", "b"]
    assert [part["color"] for part in attrs["parts"]] == list(COLORS[:2])
    assert attrs["edges"] == [[0, 1]]
    assert (attrs["start_time"], attrs["end_time"]) == (0.0, 1.0)
    assert (attrs["unit"], attrs["time_unit"], attrs["frame_step"]) == ("pixels", "frame", 3)
    assert (attrs["y_up"], attrs["notes"]) == (True, ["A note"])
    assert attrs["is_in_file_order"] is False


def test_script_is_in_the_figure(tmp_path: Path) -> None:
    """In one file, which registers the view; nothing is fetched from elsewhere."""
    saved(view_of([part_at([0, 1], [0, 1])]), tmp_path / "figure")
    (script,) = (tmp_path / "figure").glob("extension-*.js")
    text = script.read_text("utf-8")
    assert 'name: "devaria.Pose"' in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")  # the name of SVG
    assert "innerHTML" not in text
    manifest = json.loads((tmp_path / "figure" / "extension_manifest.json").read_text("utf-8"))
    assert [each["mainScript"] for each in manifest["extensions"]] == [script.name]


def test_view_can_be_written_again(tmp_path: Path) -> None:
    """As it is when an upload is tried again."""
    view = view_of([part_at(np.arange(3000), np.arange(3000))])
    first, second = (saved(view, tmp_path / name) for name in ("first", "second"))
    assert first.attrs == second.attrs
    np.testing.assert_array_equal(first.array("values_0_8"), second.array("values_0_8"))


def test_further_parts_have_other_shapes(tmp_path: Path) -> None:
    """Colours repeat after eight parts, with markers of another shape."""
    parts = [part_at([0, 1], [0, 1], str(number)) for number in range(20)]
    shown = saved(view_of(parts), tmp_path / "figure").attrs["parts"]
    assert [part["shape"] for part in shown] == [0] * 8 + [1] * 8 + [2] * 4
    assert len({(part["color"], part["shape"]) for part in shown}) == 20


_INSIDE = np.linspace(100, 300, 1000)


@pytest.mark.parametrize(
    ("values", "size", "picture"),
    [
        (_INSIDE, None, (100, 300)),
        (_INSIDE, (640, 480), (0, 640)),
        (_INSIDE / 1000, (640, 480), (0.1, 0.3)),  # metres, not pixels
        (_INSIDE * 10, (640, 480), (1000, 3000)),  # of a larger picture
        (np.append(_INSIDE, 1e6), None, (100, 318)),  # an outlier leaves room for the rest
        ([5.0, 5.0], None, (4.5, 5.5)),
        ([np.nan, np.nan], None, (-0.5, 0.5)),
        ([np.nan, np.nan], (640, 480), (-0.5, 0.5)),
    ],
)
def test_what_the_picture_shows(
    values: Any, size: Optional[Tuple[float, float]], picture: Tuple[float, float], tmp_path: Path
) -> None:
    """The camera's picture where the positions look like its pixels, else their range."""
    view = view_of([part_at(values, values)], picture_size=size)
    shown = saved(view, tmp_path / "figure").attrs["picture"]
    assert shown[0] == pytest.approx(picture, rel=0.02)


#: How colours look without one of the three kinds of cones (Machado et al. 2009), linear RGB.
_BLINDNESS = {
    "none": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def _linear(color: str) -> "np.ndarray":
    values = np.array([int(color[n : n + 2], 16) for n in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _lab(linear: "np.ndarray") -> "np.ndarray":
    """Return lightness and two colour axes, in which distances are as people see them."""
    matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = (np.array(matrix) @ linear.clip(0, 1)) / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("kind", _BLINDNESS)
def test_colours_can_be_told_apart(kind: str) -> None:
    """By the colour-blind too: each two differ, and each is dark enough for lines on white."""
    seen = [_lab(np.array(_BLINDNESS[kind]) @ _linear(color)) for color in COLORS]
    apart = min(
        np.linalg.norm(one - other) for n, one in enumerate(seen) for other in seen[n + 1 :]
    )
    assert apart > 25
    for color in COLORS:
        luminance = float(np.array([0.2126, 0.7152, 0.0722]) @ _linear(color))
        assert 1.05 / (luminance + 0.05) >= 3  # the contrast that WCAG 2 asks of graphics
