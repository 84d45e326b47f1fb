"""What a pose figure holds, decoded from the files that a browser gets."""

import json
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional

import numcodecs
import numpy as np

STEPS = 65_534


class ShownPart(NamedTuple):
    """A part as the figure has it: float64 arrays as those of `PosePart`, and the steps of values.

    A value is at most half a step off.
    """

    name: str
    times: np.ndarray
    positions: np.ndarray
    confidence: Optional[np.ndarray]
    steps: np.ndarray


class StoredFigure:
    """A figure in a folder.

    Attributes:
        attrs: The attributes of the view.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "data.zarr"
        about = json.loads((self._folder / ".zmetadata").read_text("utf-8"))
        self._metadata: Dict[str, Any] = about["metadata"]
        self._refs: Dict[str, Any] = about["refs"]
        self.attrs: Dict[str, Any] = self._metadata[".zattrs"]

    def array(self, name: str) -> np.ndarray:
        """Put an array together of its chunks, all of which must be stored, one a block."""
        about = self._metadata[f"{name}/.zarray"]
        shape, chunks = about["shape"], about["chunks"]
        assert chunks == [1, *shape[1:]]
        codec = numcodecs.get_codec(about["compressor"])
        rest = ".0" * (len(shape) - 1)
        blocks = [codec.decode(self._stored(f"{name}/{n}{rest}")) for n in range(shape[0])]
        return np.frombuffer(b"".join(blocks), about["dtype"]).reshape(shape)

    def chunks(self) -> Dict[str, bytes]:
        """Return every stored chunk, decoded."""
        found = {}
        for key in self._refs:
            about = self._metadata.get(f"{key.rpartition('/')[0]}/.zarray")
            content = self._stored(key)
            if about is not None and about["compressor"]:
                content = bytes(numcodecs.get_codec(about["compressor"]).decode(content))
            found[key] = content
        return found

    def parts(self) -> List[ShownPart]:
        """Return all parts."""
        return [self._part(part) for part in self.attrs["parts"]]

    def _part(self, about: Dict[str, Any]) -> ShownPart:
        number, frames = about["clock"], self.attrs["clocks"][about["clock"]]["levels"][0]
        used = frames["num_entries"]
        times = self.array(f"times_{number}_1").reshape(-1)[:used]
        first = 3 * about["place"]
        rows = self.array(f"values_{number}_1")[:, first : first + 3]
        rows = rows.transpose(1, 0, 2).reshape(3, -1)[:, :used]
        ranges = [about["x"], about["y"], about["confidence"] or [0.0, 0.0]]
        steps = np.array([(high - low) / STEPS for low, high in ranges])
        values = [
            np.where(row > 0, low + (row - 1.0) * step, np.nan)
            for row, (low, _), step in zip(rows, ranges, steps)
        ]
        confidence = None if about["confidence"] is None else values[2]
        return ShownPart(about["name"], times, np.stack(values[:2], axis=1), confidence, steps)

    def _stored(self, key: str) -> bytes:
        name, start, length = self._refs[key]
        with (self._folder / name).open("rb") as file:
            file.seek(start)
            return file.read(length)


def assert_shown(shown: ShownPart, times: Any, positions: Any, confidence: Any) -> None:
    """Check a part of a figure: times are exact, gaps too, values to half a step."""
    np.testing.assert_array_equal(shown.times, times)
    pairs = [(shown.positions, positions, shown.steps[:2])]
    assert (shown.confidence is None) == (confidence is None)
    if confidence is not None:
        pairs.append((shown.confidence, confidence, shown.steps[2:]))
    for found, expected, steps in pairs:
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
        error = np.nan_to_num(np.abs(found - expected))
        assert (error <= 0.5 * steps + 1e-9 * np.abs(np.nan_to_num(expected))).all()
