"""A Zarr or LINDI file as one of several kinds of file that the reading process answers from."""

from contextlib import ExitStack, contextmanager
from typing import Any, Callable, Dict, Iterator, List, Sequence

import numpy as np
import numpy.typing as npt

from devaria.common.text import one_line
from devaria.nwb.decoding.wanted import Empty, ReadProgress, Rows, WantedRows, read_each
from devaria.nwb.errors import InvalidInputError, NwbError
from devaria.nwb.limits import ReadLimits
from devaria.nwb.node import Node
from devaria.nwb.units.build import units_table
from devaria.nwb.units.table import UnitsTable
from devaria.nwb.zarr.ahead import Ahead
from devaria.nwb.zarr.documents import Array
from devaria.nwb.zarr.stores import Store
from devaria.nwb.zarr.texts import read_texts
from devaria.nwb.zarr.tree import Tree
from devaria.nwb.zarr.units import ZarrColumns
from devaria.nwb.zarr.values import ZarrWanted

_MAX_TEXTS, _MAX_TEXT_CHARACTERS = 10_000, 10_000

#: Most HDF5 files that arrays of one LINDI file may lie in.
_MAX_FILES = 8

#: Opens the HDF5 file at a URL, to read datasets of it. The stack closes it.
OpenHdf5 = Callable[[str, ExitStack], Any]


class ZarrContainer:
    """An open file: a `devaria.nwb.container.Container`, whose methods these are.

    Args:
        store: Has its documents and chunks.
        limits: How much is read at most.
        open_hdf5: Opens HDF5 files, in which arrays of a LINDI file may lie as a whole.

    Attributes:
        tree: Its groups and arrays.
    """

    def __init__(self, store: Store, limits: ReadLimits, open_hdf5: OpenHdf5) -> None:
        self._store = store
        self._limits = limits
        self._open_hdf5 = open_hdf5
        self._files: Dict[str, Any] = {}
        self._stack, self._explaining = ExitStack(), ExitStack()
        self._ahead = Ahead()
        self._stack.callback(self._ahead.close)
        self.tree = Tree(store)

    def close(self) -> None:
        """Close what was opened, and end the threads."""
        self._stack.close()

    def find(self, types: Sequence[str]) -> List[str]:
        """List the groups and datasets of some NWB types."""
        return self.tree.find(types)

    def look(self, path: str, depth: int) -> Node:
        """Describe a group or dataset."""
        return self.tree.look(path, depth)

    def wanted(self, path: str, rows: Rows, dtype: Any, empty: Empty) -> WantedRows:
        """Open a dataset of numbers to read rows of it."""
        return self.wanted_of(self._array(path), rows, dtype, empty)

    def wanted_of(
        self, array: Array, rows: Rows, dtype: Any = None, empty: Empty = np.empty
    ) -> WantedRows:
        """Open an array of numbers to read rows of it.

        Raises:
            InvalidInputError: The rows or the type do not fit.
            NwbError: It holds no numbers, or must not be read.
        """
        shown = one_line(f"/{array.path}")
        if array.kind[:1] not in ("<", ">", "|"):
            raise NwbError(f"{shown} holds {array.kind}, not numbers")
        link = array.attributes.get("_EXTERNAL_ARRAY_LINK")
        if link is not None:
            file, name = self._linked(link, shown)
            wanted: WantedRows = file.wanted(name, rows, dtype, empty)
            if wanted.shape != array.shape:
                raise NwbError(f"{shown} has another shape in the file that it refers to")
            return wanted
        if array.fault:
            raise NwbError(f"{shown} {array.fault}")
        return ZarrWanted(self._store, self._ahead, array, rows, dtype, self._limits, empty)

    def read_each(
        self, wanted: List[WantedRows], progress: ReadProgress
    ) -> Iterator["npt.NDArray[Any]"]:
        """Read datasets one after another."""
        return read_each(wanted, progress)

    def text(self, path: str) -> List[str]:
        """Read a dataset of texts."""
        return self.texts_of(self._array(path), _MAX_TEXTS, _MAX_TEXT_CHARACTERS)

    def texts_of(self, array: Array, most_texts: int, most_characters: int) -> List[str]:
        """Read an array of texts.

        Raises:
            NwbError: It holds no texts, too many or too long ones, or cannot be read.
        """
        return read_texts(self._store, self._ahead, array, most_texts, most_characters)

    def units_table(self, path: str, progress: ReadProgress) -> UnitsTable:
        """Read a units table."""
        return units_table(ZarrColumns(self, path), path, self._limits, progress)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Replace the exceptions of h5py in HDF5 files that are referred to."""
        with ExitStack() as self._explaining:
            for file in self._files.values():
                self._explaining.enter_context(file.explained())
            yield

    def forget(self) -> None:
        """Drop what was fetched ahead for a request."""
        self._ahead.clear()
        for file in self._files.values():
            file.forget()

    def _array(self, path: str) -> Array:
        found = self.tree.resolve(path)
        if not isinstance(found, Array):
            raise InvalidInputError(f"{one_line(path)} is a group, not a dataset")
        return found

    def _linked(self, link: Any, shown: str) -> "tuple[Any, str]":
        told = link if isinstance(link, dict) else {}
        url, name = told.get("url"), told.get("name")
        if not isinstance(url, str) or not isinstance(name, str):
            raise NwbError(f"{shown} refers to another file in a way that is not known here")
        if url not in self._files:
            if len(self._files) == _MAX_FILES:
                raise NwbError(f"the file refers to more than {_MAX_FILES} others")
            file = self._files[url] = self._open_hdf5(url, self._stack)
            self._explaining.enter_context(file.explained())
        return self._files[url], name
