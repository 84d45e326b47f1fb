"""An HDF5 file as one of several kinds of file that the reading process answers from."""

from contextlib import AbstractContextManager
from typing import Any, Iterator, List, Sequence

import numpy.typing as npt

from devaria.nwb.decoding.wanted import Empty, ReadProgress, Rows
from devaria.nwb.hdf5 import browse
from devaria.nwb.hdf5.datasets import Wanted, read_each
from devaria.nwb.hdf5.remote_file import RemoteFile
from devaria.nwb.hdf5.texts import read_texts
from devaria.nwb.limits import ReadLimits
from devaria.nwb.node import Node
from devaria.nwb.units.reader import read_units_table
from devaria.nwb.units.table import UnitsTable


class Hdf5Container:
    """An open HDF5 file: a `devaria.nwb.container.Container`, whose methods these are.

    Args:
        file: The open file.
        file_bytes: Its length.
        limits: How much is read at most.
    """

    def __init__(self, file: RemoteFile, file_bytes: int, limits: ReadLimits) -> None:
        self._file = file
        self._file_bytes = file_bytes
        self._limits = limits

    def find(self, types: Sequence[str]) -> List[str]:
        """List the groups and datasets of some NWB types."""
        return browse.find_types(self._file, types)

    def look(self, path: str, depth: int) -> Node:
        """Describe a group or dataset."""
        return browse.look(self._file, path, depth)

    def wanted(self, path: str, rows: Rows, dtype: Any, empty: Empty) -> Wanted:
        """Open a dataset of numbers to read rows of it."""
        return Wanted(self._file, path, rows, dtype, self._file_bytes, self._limits, empty)

    def read_each(
        self, wanted: List[Wanted], progress: ReadProgress
    ) -> Iterator["npt.NDArray[Any]"]:
        """Read datasets one after another."""
        return read_each(wanted, progress)

    def text(self, path: str) -> List[str]:
        """Read a dataset of texts."""
        return read_texts(self._file, path, self._file_bytes, self._limits)

    def units_table(self, path: str, progress: ReadProgress) -> UnitsTable:
        """Read a units table."""
        return read_units_table(
            self._file,
            path,
            file_bytes=self._file_bytes,
            limits=self._limits,
            progress=progress,
        )

    def explained(self) -> "AbstractContextManager[None]":
        """Replace the exceptions of h5py, for the length of a ``with`` block."""
        return self._file.explained()

    def forget(self) -> None:
        """Drop what was fetched ahead for a request."""
        self._file.prefetcher.clear()
        self._file.metadata.forget_searches()
