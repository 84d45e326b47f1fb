"""What a group or dataset of a file holds, as plain values.

This module does not import h5py, so a process that does not read the file itself can use it.
"""

from dataclasses import dataclass, field
from typing import Dict, List, Optional, Tuple, Union

#: The value of an attribute.
Scalar = Union[bool, int, float, str]
Attribute = Union[Scalar, List[Scalar]]


@dataclass(frozen=True)
class Node:
    """A group or a dataset of a file.

    Attributes:
        path: Its path in the file, with soft links followed.
        kind: ``"group"`` or ``"dataset"``.
        neurodata_type: The NWB type, such as ``"TimeSeries"``; empty if it has none.
        attributes: Numbers, booleans and texts, and short lists of these, by name. Others are left
            out: references, compound and long values, NaN and infinity.
        children: The objects of a group by name, as deep as asked. The node of a soft link has the
            path of its target.
        refused: Names of a group that are not in ``children``, each with the reason: links to
            other files, links that lead nowhere, and names with control characters.
        shape: Lengths of a dataset's axes; empty for a single value, and for a group.
        dtype: Type of a dataset's values: of numbers, as numpy writes it, such as ``"<f8"``; or
            ``"text"``, ``"compound"``, ``"reference"``, ``"opaque"``, ``"array"``, ``"vlen"`` or
            ``"unknown"``. Empty for a group.
        chunk_shape: Lengths of the axes of a chunk; empty if the dataset has no chunks.
        chunk_bytes: Length of a decompressed chunk; None if the dataset has no chunks.
    """

    path: str
    kind: str
    neurodata_type: str = ""
    attributes: Dict[str, Attribute] = field(default_factory=dict)
    children: Dict[str, "Node"] = field(default_factory=dict)
    refused: Dict[str, str] = field(default_factory=dict)
    shape: Tuple[int, ...] = ()
    dtype: str = ""
    chunk_shape: Tuple[int, ...] = ()
    chunk_bytes: Optional[int] = None


def one_number(value: Optional[Attribute]) -> Optional[float]:
    """Return the number that an attribute holds.

    Args:
        value: The attribute, or None where there is none.

    Returns:
        The number, also of a list with one number, as MATLAB writes it; None for all else.
    """
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value)
