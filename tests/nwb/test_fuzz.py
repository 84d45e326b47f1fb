"""Mutated files give what a figure needs or a clear error, in limited time and memory.

``DEVARIA_TEST_FUZZ=2000 pytest tests/nwb/test_fuzz.py`` tries more mutations than the default.
"""

import io
from typing import Any, Dict, List

import h5py
import numpy as np
import pytest
from fuzzing import assert_mutants_are_read_or_explained
from nwb_files import add_units
from pose_files import add_part, add_pose, add_skeleton, walk

pytest.importorskip("resource", reason="the memory limit needs Unix")

_TRAINS = [[1.0, 2.0, 3.5], [], [3.0] * 40, np.arange(200) / 7]

_KINDS: Dict[str, Dict[str, Any]] = {
    "gzip": {"chunks": (7,), "compression": "gzip", "shuffle": True},
    "one chunk": {"chunks": (243,), "compression": "gzip"},
    "many chunks": {"chunks": (2,)},
    "lzf": {"chunks": (50,), "compression": "lzf"},
    "checksum": {"chunks": (50,), "fletcher32": True},
    "scaled": {"chunks": (50,), "scaleoffset": 2},
    "contiguous": {},
}


def valid_files() -> List[bytes]:
    """Return one small valid file of each kind, in the old and in the new format."""
    files = []
    for options in _KINDS.values():
        for libver in ("earliest", "latest"):
            buffer = io.BytesIO()
            with h5py.File(buffer, "w", libver=libver) as file:
                ids = np.array(["a", "b", "c", "d"], dtype=h5py.string_dtype())
                add_units(file, _TRAINS, ids=ids if libver == "earliest" else None, **options)
                file["alias"] = h5py.SoftLink("/units")
            files.append(buffer.getvalue())
    return files


def test_mutated_files() -> None:
    """Every mutation gives a table or a clear error, and every unchanged file is read."""
    assert_mutants_are_read_or_explained("units", valid_files())


def pose_files() -> List[bytes]:
    """Return small valid files with a pose: all that a container can have, in several layouts."""
    files = []
    for options in _KINDS.values():
        for libver in ("earliest", "latest"):
            buffer = io.BytesIO()
            with h5py.File(buffer, "w", libver=libver) as file:
                _add_pose(file, {**options, "chunks": options.get("chunks") and (7, 2)})
            files.append(buffer.getvalue())
    return files


def _add_pose(file: h5py.File, options: Dict[str, Any]) -> None:
    pose = add_pose(file)
    options = {name: value for name, value in options.items() if value}
    times = np.arange(30.0)
    add_part(pose, "a", walk(30), times=times, confidence=np.ones(30), **options)
    add_part(pose, "b", walk(30).astype("i2"), same_times_as="a")
    add_part(pose, "c", np.ones((9, 3)), start_and_rate=(0.5, 30.0))
    pose["dimensions"] = np.array([[640, 480]], np.uint16)
    pose["a/reference_frame"] = "(0, 0) is the top left corner"
    skeleton = file.create_group("skeleton")
    skeleton.attrs["neurodata_type"] = "Skeleton"
    add_skeleton(skeleton, ["a", "b", "c"], np.array([[0, 1], [1, 2]], np.uint8))
    pose["subject"] = h5py.SoftLink("/skeleton")


def test_mutated_poses() -> None:
    """Every mutation gives the data of a figure or a clear error."""
    assert_mutants_are_read_or_explained("pose", pose_files())
