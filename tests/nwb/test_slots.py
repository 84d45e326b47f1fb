"""Arrays in files: the parent finds in them what was written, and few files are used."""

from pathlib import Path

import numpy as np
import pytest

from devaria.nwb.sandbox import slots
from devaria.nwb.sandbox.slots import Slots


def in_file(path: Path, like: np.ndarray) -> np.ndarray:
    """Read an array from a file, as the parent does."""
    return np.fromfile(path, like.dtype, like.size).reshape(like.shape)


def test_values_are_in_the_file_at_once(tmp_path: Path) -> None:
    """In each of a few files by turns, also if arrays differ in length."""
    made = Slots(tmp_path, 3)
    names = []
    for number in range(8):
        values = made.empty((100 + 50 * (number % 2), 3), np.dtype("f4"))
        values[...] = number
        names.append(made.file_of(values))
        assert (in_file(tmp_path / names[-1], values) == number).all()
    assert names[0] == names[3] == names[6]
    assert len(set(names)) == len(list(tmp_path.iterdir())) == 3


def test_the_last_arrays_stay(tmp_path: Path) -> None:
    """An array is overwritten only when all files have been used once more."""
    made = Slots(tmp_path, 3)
    first = made.empty((10,), np.dtype("i8"))
    first[...] = 7
    name = made.file_of(first)
    for _ in range(2):
        made.empty((10,), np.dtype("i8"))[...] = 1
    assert (in_file(tmp_path / name, first) == 7).all()


def test_other_arrays_are_copied(tmp_path: Path) -> None:
    """Of any shape, also single values and empty ones."""
    made = Slots(tmp_path, 2)
    for values in (np.arange(10)[::3], np.float32(2.5), np.empty((0, 3)), np.ones((2, 2), "?")):
        array = np.asarray(values)
        np.testing.assert_array_equal(in_file(tmp_path / made.file_of(array), array), array)


def test_long_files_are_removed_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short ones are kept for the next request."""
    monkeypatch.setattr(slots, "_MAX_KEPT_BYTES", 1000)
    made = Slots(tmp_path, 3)
    for length in (100, 2000):
        made.empty((length,), np.dtype("u1"))
    assert len(list(tmp_path.iterdir())) == 2
    made.forget()
    assert [path.stat().st_size for path in tmp_path.iterdir()] == [100]
    values = made.empty((2000,), np.dtype("u1"))
    values[...] = 3
    assert (in_file(tmp_path / made.file_of(values), values) == 3).all()
