"""NWB files with image series for tests, and the real ones if they are available."""

import io
from typing import Any, Optional

import h5py
import numpy as np
import pytest
from nwb_files import REAL_DIR

REAL_VIDEOS = REAL_DIR.parent / "video"
MATLAB_VIDEO = REAL_VIDEOS / "matnwb_test_output.nwb"
EXTERNAL_VIDEO = REAL_VIDEOS / "external_nwbshowcase_image_series_data.nwb"

needs_real_videos = pytest.mark.skipif(
    not REAL_VIDEOS.is_dir(), reason="no real NWB files beside the checkout"
)

#: The number of a frame is written into it in so many squares, from the highest bit on.
NUMBER_BITS = 12


def add_series(
    parent: h5py.Group,
    name: str,
    data: Any = None,
    *,
    kind: str = "ImageSeries",
    timestamps: Optional[Any] = None,
    start_sec: Optional[float] = 0.0,
    rate_hz: Any = 10.0,
    **options: Any,
) -> h5py.Group:
    """Write an image series with the layout of NWB 2: with timestamps if given, else with a rate.

    A start of None leaves out both. ``options`` go to the dataset of the frames.
    """
    group = parent.create_group(name)
    group.attrs["neurodata_type"] = kind
    group.attrs["namespace"] = "core"
    if data is not None:
        group.create_dataset("data", data=data, **options)
    if timestamps is not None:
        group["timestamps"] = np.asarray(timestamps, np.float64)
    elif start_sec is not None:
        group["starting_time"] = start_sec
        if rate_hz is not None:
            group["starting_time"].attrs["rate"] = rate_hz
    return group


def series_bytes(data: Any, name: str = "acquisition/movie", **options: Any) -> bytes:
    """Return the bytes of a file with one image series."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        add_series(file, name, data, **options)
    return buffer.getvalue()


def numbered_frames(count: int, side: int = 64) -> "np.ndarray[Any, Any]":
    """Make frames that show their numbers: bright and dark squares, the highest bit first.

    The squares are `side / 4` wide, four in a row; a last row of grey noise lies below them.
    """
    square = side // 4
    frames = np.full((count, side, side), 40, np.uint8)
    for number in range(count):
        for bit in range(NUMBER_BITS):
            if number >> (NUMBER_BITS - 1 - bit) & 1:
                row, column = bit // 4 * square, bit % 4 * square
                frames[number, row : row + square, column : column + square] = 220
    noise = np.random.default_rng(0).integers(60, 180, (count, side - 3 * square, side))
    frames[:, 3 * square :] = noise
    return frames
