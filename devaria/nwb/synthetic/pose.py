"""A synthetic pose recording: an animal that walks in an arena, seen from above.

The nose follows a winding path, now faster, now slower. The other parts follow behind it, so the
body bends as the path does. While a paw stands, it stays where it is.
"""

from typing import Dict, NamedTuple, Optional, Tuple

import h5py
import numpy as np
import numpy.typing as npt

from devaria.nwb.synthetic.session import marked_group

#: Where the pose lies in the file.
POSE_PATH = "/processing/behavior/PoseEstimation"

_NAMESPACE = "ndx-pose"
_RATE_HZ = 30.0
_WIDTH, _HEIGHT = 640, 480

#: The speed of a quick walk, in pixels a second.
_SPEED = 110.0

#: A step of each paw, in pixels, and the part of it in which the paw stands on the floor.
_STEP, _STANCE = 60.0, 0.65

_Values = npt.NDArray[np.float64]


class _Part(NamedTuple):
    """Where a part lies when the animal stands.

    Args:
        behind: Pixels behind the nose, along the body.
        left: Pixels to the left of the middle line.
        sway: How far it sways sideways, in pixels.
        step: When in a step the paw leaves the floor, 0 to 1; None if it is no paw.
    """

    behind: float
    left: float = 0.0
    sway: float = 0.0
    step: Optional[float] = None


_PARTS: Dict[str, _Part] = {
    "nose": _Part(0, sway=5),
    "left_ear": _Part(22, 13),
    "right_ear": _Part(22, -13),
    "neck": _Part(36),
    "left_forepaw": _Part(48, 18, step=0.0),
    "right_forepaw": _Part(48, -18, step=0.5),
    "left_hindpaw": _Part(100, 22, step=0.5),
    "right_hindpaw": _Part(100, -22, step=0.0),
    "tail_base": _Part(118, sway=2),
    "tail_tip": _Part(190, sway=14),
}

_EDGES = [
    ("nose", "left_ear"),
    ("nose", "right_ear"),
    ("left_ear", "neck"),
    ("right_ear", "neck"),
    ("neck", "left_forepaw"),
    ("neck", "right_forepaw"),
    ("neck", "tail_base"),
    ("tail_base", "left_hindpaw"),
    ("tail_base", "right_hindpaw"),
    ("tail_base", "tail_tip"),
]


def write_pose(file: h5py.File, duration_sec: float, seed: int) -> None:
    """Write a recording of ten parts at 30 frames a second, with a skeleton.

    The confidence of a part dips now and then, and where it is lowest the part was not seen: NaN.

    Args:
        file: The file.
        duration_sec: Length of the recording in seconds.
        seed: Seed of the noise and the dips.
    """
    rng = np.random.default_rng(seed)
    times = np.arange(int(duration_sec * _RATE_HZ)) / _RATE_HZ
    behavior = marked_group(
        file, "processing/behavior", "ProcessingModule", description="Synthetic behavior"
    )
    pose = marked_group(behavior, "PoseEstimation", "PoseEstimation", _NAMESPACE)
    text = h5py.string_dtype()
    pose["description"] = "An animal that walks in an arena; no animal did"
    pose["scorer"] = "none"
    pose.create_dataset("source_software", data="devaria").attrs["version"] = "n.a."
    pose.create_dataset("original_videos", data=["none.mp4"], dtype=text)
    pose["dimensions"] = np.array([[_WIDTH, _HEIGHT]], np.uint16)
    walked = _walked(times)
    for name, part in _PARTS.items():
        confidence = _confidence(times, rng)
        positions = _positions(part, times, walked)
        # The less sure the tracker is, the more it is off.
        positions += rng.standard_normal(positions.shape) * (4.5 - 4.2 * confidence[:, None])
        positions[confidence < 0.12] = np.nan
        _write_part(pose, name, positions, confidence, times)
    skeletons = marked_group(behavior, "Skeletons", "Skeletons", _NAMESPACE)
    skeleton = marked_group(skeletons, "animal", "Skeleton", _NAMESPACE)
    names = list(_PARTS)
    skeleton.create_dataset("nodes", data=names, dtype=text)
    edges = [[names.index(one), names.index(other)] for one, other in _EDGES]
    skeleton["edges"] = np.array(edges, np.uint8)
    pose["skeleton"] = h5py.SoftLink(skeleton.name)


def _write_part(
    pose: h5py.Group, name: str, positions: _Values, confidence: _Values, times: _Values
) -> None:
    series = marked_group(
        pose, name, "PoseEstimationSeries", _NAMESPACE, description=name, comments="none"
    )
    data = series.create_dataset("data", data=positions, chunks=True, compression="gzip")
    data.attrs.update(unit="pixels", conversion=1.0, resolution=-1.0, offset=0.0)
    series["reference_frame"] = "(0, 0) is the top left corner of the image"
    certain = series.create_dataset("confidence", data=confidence, compression="gzip")
    certain.attrs["definition"] = "Made up, 0 to 1"
    first = pose[next(iter(_PARTS))]
    if series == first:
        series.create_dataset("timestamps", data=times, compression="gzip").attrs.update(
            interval=np.int32(1), unit="seconds"
        )
    else:
        series["timestamps"] = h5py.SoftLink(f"{first.name}/timestamps")


def _walked(times: _Values) -> _Values:
    """Return how far the animal has walked at each time, in pixels: in bouts, with rests."""
    drive = 0.55 + 0.6 * np.sin(times / 1.9) + 0.4 * np.sin(times / 0.8 + 1)
    ease = drive.clip(0, 1)
    speed = _SPEED * ease**2 * (3 - 2 * ease)
    return np.asarray(np.cumsum(speed) / _RATE_HZ)


def _path(at: _Values) -> Tuple[_Values, _Values]:
    """Return the points of the path at these distances from its start, and its directions.

    The path is a circle around which another circle rolls: it turns, but has no corners, stays
    within the arena, and comes to most places of it.
    """
    turns = np.linspace(-4, 60, 40_000)
    points = np.stack(
        [
            _WIDTH / 2 + 150 * np.cos(turns) + 95 * np.cos(1.43 * turns + 1),
            _HEIGHT / 2 - 110 * np.sin(turns) - 68 * np.sin(1.43 * turns + 1),
        ],
        axis=1,
    )
    steps = np.diff(points, axis=0)
    lengths = np.concatenate([[0.0], np.cumsum(np.hypot(*steps.T))])
    at = at + 400  # the tail needs a path behind the start
    place = np.stack([np.interp(at, lengths, points[:, axis]) for axis in (0, 1)], axis=1)
    ahead = np.stack([np.interp(at + 1, lengths, points[:, axis]) for axis in (0, 1)], axis=1)
    direction = ahead - place
    return place, direction / np.hypot(*direction.T)[:, None]


def _positions(part: _Part, times: _Values, walked: _Values) -> _Values:
    """Return x and y of a part in pixels; y points down."""
    at = walked - part.behind
    if part.step is not None:
        at = at + _paw_offset(walked / _STEP + part.step)
    place, direction = _path(at)
    # To the left of the direction, as the image shows it.
    sideways = np.stack([direction[:, 1], -direction[:, 0]], axis=1)
    wave = part.sway * np.sin(2 * np.pi * (walked - part.behind) / (2 * _STEP) + times)
    return np.asarray(place + sideways * (part.left + wave)[:, None])


def _paw_offset(steps: _Values) -> _Values:
    """Return how far a paw is ahead of its middle place, after so many steps, in pixels."""
    phase = steps % 1
    stance = 0.5 - phase / _STANCE
    swing = -0.5 * np.cos(np.pi * (phase - _STANCE) / (1 - _STANCE))
    # While the paw stands, the body moves on over it.
    return np.where(phase < _STANCE, stance, swing) * _STEP * _STANCE


def _confidence(times: _Values, rng: np.random.Generator) -> _Values:
    """Return a confidence near 1 with some dips, of which the deepest hide the part."""
    confidence = 1 - 0.02 * np.abs(rng.standard_normal(len(times)))
    for depth, middle, width in zip(
        rng.uniform(0.3, 1.0, 4), rng.uniform(0, times[-1], 4), rng.uniform(0.15, 0.7, 4)
    ):
        confidence -= depth * np.exp(-(((times - middle) / width) ** 4))
    return np.asarray(confidence.clip(0.01, 1))
