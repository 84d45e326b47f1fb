"""What the reading process asks of an open file, of any kind: HDF5, Zarr or LINDI."""

from contextlib import AbstractContextManager
from typing import Any, Iterator, List, Protocol, Sequence

import numpy.typing as npt

from devaria.nwb.decoding.wanted import Empty, ReadProgress, Rows
from devaria.nwb.node import Node
from devaria.nwb.units.table import UnitsTable


class Container(Protocol):
    """An open file. What each method does and raises stands at `RemoteNwb`."""

    def find(self, types: Sequence[str]) -> List[str]:
        """List the groups and datasets of some NWB types."""

    def look(self, path: str, depth: int) -> Node:
        """Describe a group or dataset."""

    def wanted(self, path: str, rows: Rows, dtype: Any, empty: Empty) -> Any:
        """Open a dataset of numbers to read rows of it: a `WantedRows`."""

    def read_each(self, wanted: List[Any], progress: ReadProgress) -> Iterator["npt.NDArray[Any]"]:
        """Read datasets one after another."""

    def text(self, path: str) -> List[str]:
        """Read a dataset of texts."""

    def units_table(self, path: str, progress: ReadProgress) -> UnitsTable:
        """Read a units table."""

    def explained(self) -> "AbstractContextManager[None]":
        """Replace exceptions of the file's library, for the length of a ``with`` block."""

    def forget(self) -> None:
        """Drop what was fetched ahead for a request."""
