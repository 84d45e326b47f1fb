"""The figpack view of a pose estimation. Its front end is in ``static/pose*.js``."""

from typing import Any, Dict, List, Sequence, Tuple

import figpack
import numpy as np
import numpy.typing as npt

from devaria.figures.chunks import writing_all_chunks
from devaria.figures.extension import own_extension
from devaria.figures.pose_arrays import STEPS, Clock, Level, PoseArrays
from devaria.nwb.pose.parts import PoseSetting

_Values = npt.NDArray[np.float64]

#: Colours that the colour-blind can tell apart, and dark enough for thin lines on white. Further
#: parts have them again, with markers of another shape.
COLORS = (
    "#1199ee",
    "#991100",
    "#aa8800",
    "#6611bb",
    "#668855",
    "#cc5599",
    "#223377",
    "#661122",
)

#: The scripts, in the order in which they need each other.
_SCRIPTS = ("page", "pose_data", "pose_picture", "pose_graph", "pose_controls", "pose")

#: Positions outside these percentiles may be outliers.
_PERCENTILES = (0.5, 99.5)

#: If the positions reach further than so many times their usual spread, the rest is cut off.
_MAX_REACH = 2.0


class PoseView(figpack.ExtensionView):  # type: ignore[misc]  # figpack is untyped
    """A player of body parts, over graphs of their positions.

    Args:
        setting: What the parts have in common.
        arrays: The parts. They are handed over.
        notes: Sentences to show below the picture.
    """

    def __init__(self, setting: PoseSetting, arrays: PoseArrays, notes: Sequence[str] = ()) -> None:
        super().__init__(
            extension=own_extension("devaria-pose", *_SCRIPTS), view_type="devaria.Pose"
        )
        self._setting = setting
        self._parts = arrays.parts
        self._clocks = arrays.clocks()
        self._notes = list(notes)

    def write_to_zarr_group(self, group: figpack.Group) -> None:
        """Write the figure's data.

        Args:
            group: The zarr group of the figure.
        """
        super().write_to_zarr_group(group)
        with writing_all_chunks():
            for number, clock in enumerate(self._clocks):
                for level in clock.levels:
                    _write_blocks(group, f"times_{number}_{level.step}", level.times)
                    _write_blocks(group, f"values_{number}_{level.step}", level.values)
                _write_blocks(group, f"track_{number}", clock.track)
        # In one call: each change of an attribute writes all of them to the disk.
        group.attrs.update(self._attributes())

    def _attributes(self) -> Dict[str, Any]:
        setting = self._setting
        starts = [clock.levels[0].times[0, 0] for clock in self._clocks]
        ends = [np.nanmax(clock.levels[0].times[-1]) for clock in self._clocks]
        return {
            "parts": [
                {**part, "color": COLORS[number % len(COLORS)], "shape": number // len(COLORS)}
                for number, part in enumerate(self._parts)
            ],
            "clocks": [_clock_attributes(clock) for clock in self._clocks],
            "edges": setting.edges,
            "unit": setting.unit,
            "time_unit": setting.time_unit,
            "frame_step": setting.frame_step,
            "is_in_file_order": setting.is_in_file_order,
            "start_time": float(min(starts)),
            "end_time": float(max(ends)),
            "y_up": setting.y_up,
            "picture": self._picture(),
            "notes": self._notes,
        }

    def _picture(self) -> List[Tuple[float, float]]:
        """Return smallest and largest x and y to show."""
        values = [
            np.concatenate([self._samples(part, row) for part in self._parts]) for row in (0, 1)
        ]
        size = self._setting.picture_size
        if size is not None and all(map(len, values)) and _is_picture_of(values, size):
            return [(0.0, size[0]), (0.0, size[1])]
        return [_shown_range(each) for each in values]

    def _samples(self, part: Dict[str, Any], row: int) -> _Values:
        track = self._clocks[part["clock"]].track[0, 3 * part["place"] + row]
        low, high = part["x" if row == 0 else "y"]
        return np.asarray(low + (track[track > 0] - 1.0) * ((high - low) / STEPS))


def _write_blocks(group: figpack.Group, name: str, blocks: "npt.NDArray[Any]") -> None:
    group.create_dataset(name, data=blocks, chunks=(1, *blocks.shape[1:]))


def _clock_attributes(clock: Clock) -> Dict[str, Any]:
    return {
        "interval": clock.interval,
        "spacing": clock.spacing,
        "track_step": clock.frames_per_sample,
        "levels": [_level_attributes(level) for level in clock.levels],
    }


def _level_attributes(level: Level) -> Dict[str, Any]:
    return {
        "step": level.step,
        "num_entries": level.num_entries,
        "block_entries": level.times.shape[1],
        "block_times": level.times[:, 0].tolist(),
    }


def _shown_range(values: _Values) -> Tuple[float, float]:
    """Return the range of values, without outliers that would leave no room for the others."""
    if not len(values):
        return -0.5, 0.5
    low, high = float(values.min()), float(values.max())
    usual_low, usual_high = (float(each) for each in np.percentile(values, _PERCENTILES))
    spread = usual_high - usual_low
    if spread and high - low > _MAX_REACH * spread:
        low = max(low, usual_low - spread / 10)
        high = min(high, usual_high + spread / 10)
    if low == high:
        low, high = low - 0.5, high + 0.5
    return low, high


def _is_picture_of(values: Sequence[_Values], size: Tuple[float, float]) -> bool:
    """Whether positions look like pixels of a picture of that size, and not like metres."""
    ranges = [np.percentile(each, _PERCENTILES).tolist() for each in values]
    are_inside = all(low >= 0 and high <= side for (low, high), side in zip(ranges, size))
    return are_inside and any(high - low > side / 10 for (low, high), side in zip(ranges, size))
