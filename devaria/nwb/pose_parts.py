"""What a pose estimation holds, as plain arrays.

One module reads it from a file, another draws it. This one imports neither h5py nor figpack.
"""

from dataclasses import dataclass
from typing import List, Optional, Tuple

import numpy as np
import numpy.typing as npt

#: x and y that writers store where a part was not seen, with confidence 0.
NOT_SEEN = (-1.0, 0.0)

#: A larger coordinate is no position: it would leave no bits for the others.
_MAX_COORDINATE = 1e15


@dataclass(frozen=True)
class PosePart:
    """The positions of one body part over time.

    Attributes:
        name: The part's name, printable.
        times: float64, shape (frames,), ascending: seconds, or frame numbers where the file has no
            times. Parts whose frames have the same times share one array.
        positions: float64, shape (frames, 2): x and y, NaN where the part was not seen.
        confidence: float64, shape (frames,), NaN where there is none; None if the file has none.
    """

    name: str
    times: "npt.NDArray[np.float64]"
    positions: "npt.NDArray[np.float64]"
    confidence: "Optional[npt.NDArray[np.float64]]"


@dataclass(frozen=True)
class PoseSetting:
    """What all parts of a pose estimation have in common.

    Attributes:
        edges: Pairs of positions in the list of parts: the lines of the skeleton.
        unit: The unit of the positions, such as "pixels".
        time_unit: "s", or "frame" where the file has no times.
        picture_size: Width and height of the camera's picture, in pixels; None if unknown.
        frame_step: Of the file's frames, every how many-th was read.
        y_up: Whether y grows upwards. In images it grows downwards.
    """

    edges: List[Tuple[int, int]]
    unit: str
    time_unit: str
    picture_size: Optional[Tuple[float, float]]
    frame_step: int
    y_up: bool


def without_unseen(
    positions: "npt.NDArray[np.float64]", confidence: "Optional[npt.NDArray[np.float64]]"
) -> int:
    """Set what is no position to NaN, in place.

    Args:
        positions: float64, shape (frames, 2).
        confidence: float64, shape (frames,), or None.

    Returns:
        How many frames had a position that means "not seen": x and y are both −1 or both 0, and
        the confidence is 0. Infinite and huge values become NaN too, but are not counted.
    """
    positions[~(np.abs(positions) <= _MAX_COORDINATE)] = np.nan
    if confidence is None:
        return 0
    x, y = positions.T
    unseen = (confidence == 0) & (x == y) & np.isin(x, NOT_SEEN)
    positions[unseen] = np.nan
    return int(unseen.sum())
