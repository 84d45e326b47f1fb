"""What a pose estimation holds, as plain arrays.

One module reads it from a file, another draws it. This one imports neither h5py nor figpack.
"""

from dataclasses import dataclass
from typing import List, Optional, Tuple

import numpy as np
import numpy.typing as npt

#: x and y that writers store, with confidence 0, where a part was not seen.
NOT_SEEN = (-1.0, 0.0)

#: A larger number is no position and no confidence: it would leave no bits for the others.
_LARGEST = 1e15


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
        unit: The unit of the positions, such as "pixels"; empty if unknown.
        time_unit: "s", or "frame" where the file has no times.
        picture_size: Width and height of the camera's picture, in pixels; None if unknown.
        frame_step: Of the file's frames, every how many-th was read.
        y_up: Whether y grows upwards. In images it grows downwards.
        is_in_file_order: Whether each frame that was read is there, in the order of the file, so
            that its place tells its number in the file.
    """

    edges: List[Tuple[int, int]]
    unit: str
    time_unit: str
    picture_size: Optional[Tuple[float, float]]
    frame_step: int
    y_up: bool
    is_in_file_order: bool = True


def leave_out_unseen(
    positions: "npt.NDArray[np.float64]", confidence: "npt.NDArray[np.float64]"
) -> int:
    """Set the positions that writers store for "not seen" to NaN, in place.

    Args:
        positions: float64, shape (frames, 2).
        confidence: float64, shape (frames,).

    Returns:
        How many frames these are: x and y are both -1 or both 0, and the confidence is 0.
    """
    frames = np.flatnonzero(confidence == 0)
    x, y = positions[frames].T
    unseen = frames[(x == y) & np.isin(x, NOT_SEEN)]
    positions[unseen] = np.nan
    return len(unseen)


def leave_out_infinite(values: "npt.NDArray[np.float64]") -> None:
    """Set infinite and huge values to NaN, in place.

    Args:
        values: float64, any shape.
    """
    values[~(np.abs(values) <= _LARGEST)] = np.nan
