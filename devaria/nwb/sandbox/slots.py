"""Arrays in files, through which the reading process hands values to its parent.

The values are decoded into the files' memory, so nobody copies them into the files. A few files are
used again and again, since new pages of memory take as long as decoding.
"""

import mmap
import os
from pathlib import Path
from typing import Any, List, Optional, Tuple

import numpy as np
import numpy.typing as npt

#: Longer files are removed after the request.
_MAX_KEPT_BYTES = 64 * 1024 * 1024


class _Slot:
    def __init__(self, path: Path, num_bytes: int) -> None:
        self.path = path
        self.num_bytes = num_bytes
        with path.open("wb+") as file:
            if hasattr(os, "posix_fallocate"):
                # Without it, a full disk would end this process by a signal.
                os.posix_fallocate(file.fileno(), 0, num_bytes)
            else:
                file.truncate(num_bytes)
            self.memory = mmap.mmap(file.fileno(), num_bytes)


class Slots:
    """Files with room for an array each. The parent has taken the oldest one when it is used again.

    Args:
        folder: Where the files go.
        count: How many files there are.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        self._slots: List[Optional[_Slot]] = [None] * count
        self._last = 0

    def empty(self, shape: Tuple[int, ...], dtype: "np.dtype[Any]") -> "npt.NDArray[Any]":
        """Return an array without values, in the file that was used the longest ago.

        Args:
            shape: Lengths of its axes.
            dtype: Type of its values.

        Raises:
            OSError: There is no room.
        """
        num_bytes = max(1, int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
        self._last = (self._last + 1) % len(self._slots)
        slot = self._slots[self._last]
        if slot is None or slot.num_bytes < num_bytes:
            path = self._folder / f"values-{self._last}"
            slot = self._slots[self._last] = _Slot(path, num_bytes)
        return np.ndarray(shape, dtype, slot.memory)

    def file_of(self, values: "npt.NDArray[Any]") -> str:
        """Return the name of the file that holds an array; other arrays are copied into one.

        Args:
            values: The array that ``empty`` returned last, or any other.

        Raises:
            OSError: There is no room.
        """
        slot = self._slots[self._last]
        if slot is None or not np.may_share_memory(values, np.frombuffer(slot.memory, np.uint8)):
            self.empty(values.shape, values.dtype)[...] = values
        return f"values-{self._last}"

    def forget(self) -> None:
        """Remove long files."""
        for number, slot in enumerate(self._slots):
            if slot is not None and slot.num_bytes > _MAX_KEPT_BYTES:
                slot.path.unlink()
                self._slots[number] = None
