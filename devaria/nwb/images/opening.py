"""Find an NWB image series in a file, and check it: any type derived from ImageSeries.

The series is a group. Its ``data`` are frames x rows x columns, with a last axis for colours, or
for the planes of a volume. Its times are in ``timestamps``, or ``starting_time`` and a rate (NWB
schema, ImageSeries and TimeSeries).
"""

from typing import TYPE_CHECKING, Any, Optional, Sequence

import numpy as np

from devaria.common.text import one_line
from devaria.nwb.errors import InvalidInputError, NotInFileError, NwbError
from devaria.nwb.images.series import ImageSeries
from devaria.nwb.images.times import read_frame_times
from devaria.nwb.node import Node

if TYPE_CHECKING:
    from devaria.nwb.sandbox.remote import RemoteNwb

#: The types that a file is searched for, to name what can be shown.
SERIES_TYPES = (
    "ImageSeries",
    "TwoPhotonSeries",
    "OnePhotonSeries",
    "OpticalSeries",
    "ImageMaskSeries",
)

#: Types whose `data` have three axes too, but are no pictures.
_OTHER_TYPES = frozenset(
    ("DecompositionSeries", "ElectricalSeries", "FeatureExtraction", "SpikeEventSeries")
)

#: The NWB schema gives these types planes where others have colours.
_VOLUME_TYPES = frozenset(("OnePhotonSeries", "TwoPhotonSeries"))

#: Most rows and columns of a frame, and most bytes of a frame with all planes and colours.
_MAX_SIDE = 4096
_MAX_FRAME_BYTES = 256 * 2**20

#: External files that an error names, and characters of a type's name.
_MAX_NAMED = 5
_MAX_TYPE_CHARACTERS = 100


def open_image_series(file: "RemoteNwb", path: str, param: str) -> ImageSeries:
    """Find an image series and its times, and check them.

    Args:
        file: The open file.
        path: Path of the series.
        param: The parameter that holds the path, for the text of an error.

    Returns:
        The series. Of its frames, nothing is read yet.

    Raises:
        InvalidInputError: There is no image series at the path.
        NwbError: Its frames are not in the file, are too large or no pictures, or its times are
            not valid.
    """
    node = _look(file, path, param)
    data = node.children.get("data")
    if not _is_image_series(node, data):
        name = _type_name(node) or f"a {node.kind} without a type"
        raise _not_a_series(file, f"{param} {one_line(path)} is {name}, not an image series")
    shown = one_line(node.path)
    if data is None or 0 in data.shape:
        raise _without_frames(file, node, data)
    _refuse_unfit(shown, data)
    stored: np.dtype[Any] = np.dtype(data.dtype)
    dtype = np.dtype(np.uint8) if stored.kind == "b" else stored.newbyteorder("=")
    series = ImageSeries(
        path=node.path,
        type_name=_type_name(node),
        data_path=data.path,
        shape=data.shape,
        dtype=dtype,
        is_volume=_is_volume(file, node, data.shape),
        times=read_frame_times(file, node, data.shape[0]),
        chunk_frames=data.chunk_shape[0] if data.chunk_shape else 1,
    )
    if series.frame_bytes > _MAX_FRAME_BYTES:
        raise NwbError(
            f"a frame of {shown} has {series.frame_bytes:,} bytes; at most {_MAX_FRAME_BYTES:,} "
            "can be shown"
        )
    return series


def _look(file: "RemoteNwb", path: str, param: str) -> Node:
    try:
        return file.look(path)
    except NotInFileError:
        pass
    raise _not_a_series(file, f"{param} {one_line(path)} is not in the file")


def _type_name(node: Node) -> str:
    """Return the NWB type of a group for the console and for errors: a stranger's text."""
    return one_line(node.neurodata_type, _MAX_TYPE_CHARACTERS)


def _not_a_series(file: "RemoteNwb", fault: str) -> InvalidInputError:
    there = ", ".join(one_line(path) for path in file.find(SERIES_TYPES)) or "none"
    return InvalidInputError(f"{fault}; image series in the file: {there}")


def _is_image_series(node: Node, data: Optional[Node]) -> bool:
    """Whether it is a series of pictures: by its type, or for types of extensions by its shape."""
    if node.kind != "group" or node.neurodata_type in _OTHER_TYPES:
        return False
    if node.neurodata_type in SERIES_TYPES:
        return True
    return bool(node.neurodata_type) and data is not None and len(data.shape) in (3, 4)


def _without_frames(file: "RemoteNwb", node: Node, data: Optional[Node]) -> NwbError:
    shown = one_line(node.path)
    if "data" in node.refused:
        return NwbError(f"{shown}/data cannot be read: {one_line(node.refused['data'])}")
    if "external_file" in node.children:
        names = _external_files(file, node.children["external_file"])
        return NwbError(f"the frames of {shown} are not in this file, but in external files{names}")
    if data is None:
        return NwbError(f"{shown} has no frames: it has no data")
    return NwbError(f"{shown} has no frames: its data have the shape {data.shape}")


def _external_files(file: "RemoteNwb", node: Node) -> str:
    try:
        names = file.text(node.path)
    except NwbError:
        return ""  # the error is the missing frames, also if their names are damaged
    shown = [one_line(name) for name in names[:_MAX_NAMED]]
    left = len(names) - len(shown)
    return ": " + ", ".join(shown) + (f" and {left:,} more" if left else "")


def _refuse_unfit(shown: str, data: Node) -> None:
    if data.kind != "dataset" or len(data.shape) not in (3, 4):
        raise NwbError(
            f"{shown}/data have the shape {data.shape}; pictures need frames x rows x columns, "
            "and possibly colours or planes"
        )
    if data.dtype[1:2] not in ("b", "u", "i", "f"):
        raise NwbError(f"{shown}/data hold {one_line(data.dtype)}, not real numbers")
    rows, columns = data.shape[1:3]
    if max(rows, columns) > _MAX_SIDE:
        raise NwbError(
            f"the frames of {shown} have {rows:,} x {columns:,} pixels; at most "
            f"{_MAX_SIDE:,} x {_MAX_SIDE:,} can be shown"
        )


def _is_volume(file: "RemoteNwb", node: Node, shape: Sequence[int]) -> bool:
    """Whether a fourth axis is planes and not colours.

    Three or four are red, green, blue and alpha, unless the type has no colours or the series says
    that its pictures have three dimensions.
    """
    if len(shape) < 4 or shape[3] == 1:
        return False
    if shape[3] not in (3, 4) or node.neurodata_type in _VOLUME_TYPES:
        return True
    dimension = node.children.get("dimension")
    if dimension is None or dimension.shape != (3,) or dimension.dtype[1:2] not in ("u", "i"):
        return False
    return int(file.read(dimension.path)[2]) == shape[3]
