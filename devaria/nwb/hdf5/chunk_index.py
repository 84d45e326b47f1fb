"""Find where the wanted chunks of a dataset lie in the file."""

import math
from bisect import bisect_left
from typing import Any, Callable, List, NamedTuple, Optional, Tuple

import h5py
import numpy as np

from devaria.nwb.decoding.codecs import longest_filtered
from devaria.nwb.decoding.selection import Selection
from devaria.nwb.errors import NwbError
from devaria.nwb.hdf5.metadata import MetadataPrefetcher, address_of
from devaria.nwb.hdf5.pointers import CHUNK_ENTRIES, Wanted, header, pointers_in

#: Numbers are rarely compressed by more than this.
_MAX_COMPRESSION = 20

#: In so many pieces of a dataset's header the index is looked for.
_MAX_HEADER_PIECES = 32


class Chunk(NamedTuple):
    """A chunk's place in the file, and its number in the selection."""

    start: int
    stop: int
    number: int
    filter_mask: int


class SharedPlaces:
    """The places of a dataset's chunks, for many selections of few rows each.

    Args:
        dataset: A dataset in chunks.

    Attributes:
        stop_row: The row from which on no selection wants chunks.
    """

    def __init__(self, dataset: h5py.Dataset) -> None:
        self._dataset = dataset
        self._infos: List[Any] = []
        self._rows: List[int] = []
        self.stop_row = 0

    def between(self, first_row: int, stop_row: int) -> List[Any]:
        """Return what h5py tells about the chunks that begin between two rows.

        Args:
            first_row: The first row.
            stop_row: The row after the last one.
        """
        if not self._rows:
            self._dataset.id.chunk_iter(self._note)
            self._infos.sort(key=lambda info: info.chunk_offset[0])
            self._rows = [info.chunk_offset[0] for info in self._infos]
        return self._infos[bisect_left(self._rows, first_row) : bisect_left(self._rows, stop_row)]

    def _note(self, info: Any) -> Optional[bool]:
        self._infos.append(info)
        return True if info.chunk_offset[0] >= self.stop_row else None


class ChunkIndex:
    """The index of a dataset's chunks, which HDF5 reads.

    Args:
        dataset: A dataset in chunks, which ``link_guard.refuse_unsafe`` has accepted.
        selection: The wanted rows.
        metadata: Fetches the index ahead of HDF5.
        file_bytes: Length of the file.

    Attributes:
        selection: The wanted rows. They may become fewer at the end before ``walk``.
        address: Address of the dataset in the file.
        chunk_bytes: Length of a decompressed chunk.
        unusual: The numbers of the chunks that only HDF5 can read, ascending; known after ``walk``.
    """

    def __init__(
        self,
        dataset: h5py.Dataset,
        selection: Selection,
        metadata: MetadataPrefetcher,
        file_bytes: int,
    ) -> None:
        self._dataset = dataset
        self.selection = selection
        self._metadata = metadata
        self._file_bytes = file_bytes
        self.address = address_of(dataset)
        self._header = header(self.address, 0)
        self.chunk_bytes: int = math.prod(dataset.chunks) * dataset.dtype.itemsize
        self._has_filters = dataset.id.get_create_plist().get_nfilters() > 0
        self._shared: Optional[SharedPlaces] = None
        self._seen = bytearray()
        self._stored_bytes = 0
        self.unusual: List[int] = []

    def share(self, places: SharedPlaces) -> None:
        """Take the places of chunks from a list that other selections of the dataset use too.

        Args:
            places: The list.
        """
        self._shared = places
        places.stop_row = max(places.stop_row, self.selection.stop_row)

    def fetch(self) -> None:
        """Start to fetch the index."""
        stop_row = self._shared.stop_row if self._shared else self.selection.stop_row
        self._metadata.search_later(self._header, Wanted(True, stop_row))

    def is_fetched(self) -> bool:
        """Return whether nothing of it is being fetched."""
        return self._metadata.is_over(self._header)

    def guess(self) -> Optional[Tuple[int, int]]:
        """Return where all wanted chunks probably lie, before any place is known.

        HDF5 puts the first chunk behind the root of a new index. It makes the root's first child
        when the root is full. If the distance between both is that of so many chunks, then nothing
        else was written between them.

        Returns:
            The offset of the first byte, and the offset after the last one. None if the index has
            another form or is not known yet, or if the distance is another one.
        """
        if self.selection.num_chunks != self.selection.index_chunks:
            return None
        found = self._root()
        if found is None:
            return None
        start, first_child = found
        bytes_a_chunk = (first_child - start) // CHUNK_ENTRIES
        if not self.chunk_bytes // _MAX_COMPRESSION <= bytes_a_chunk <= self.chunk_bytes * 9 // 8:
            return None
        stop = start + bytes_a_chunk * self.selection.num_chunks
        return start, min(stop, self._file_bytes)

    def _root(self) -> Optional[Tuple[int, int]]:
        """Return where the root of the index ends, and where its first child begins.

        None if the root is not a B-tree's (version 1) of two levels, or is not known yet.
        """
        wanted, to_do = Wanted(has_index=True), [self._header]
        for _ in range(_MAX_HEADER_PIECES):  # a damaged header may lead back to itself
            pointer = to_do.pop() if to_do else None
            if pointer is None:
                break
            content = self._metadata.content(pointer) if pointer.kind != "raw" else None
            found = [] if content is None else pointers_in(pointer, content, wanted)
            if pointer.kind == "chunk tree":
                is_right = bool(found) and found[0].kind == "raw"
                end = pointer.address + pointer.num_bytes
                return (end, found[0].address) if is_right else None
            to_do += found
        return None

    def first(self, count: int) -> List[Chunk]:
        """Return the first wanted chunks. HDF5 keeps the part of the index that it reads for this.

        Args:
            count: How many at most.

        Raises:
            NwbError: The index gives a chunk an impossible place, or the server fails.
        """
        found: List[Chunk] = []

        def note(info: Any) -> Optional[bool]:
            if self.selection.is_beyond(info.chunk_offset):
                return True
            chunk = self._chunk(info)
            if chunk is not None:
                found.append(chunk)
            return True if len(found) == count else None

        self._dataset.id.chunk_iter(note)
        return found

    def walk(self, visit: Callable[[Chunk], object]) -> None:
        """Find all wanted chunks, once.

        Args:
            visit: Called with each that is not unusual, in the order of the index.

        Raises:
            NwbError: The index gives a chunk an impossible place, or the server fails.
            Exception: Any exception of ``visit``.
        """
        self._metadata.wait_for(self._header)
        self._seen = bytearray(self.selection.num_chunks)

        def note(info: Any) -> Optional[bool]:
            if self.selection.is_beyond(info.chunk_offset):
                return True
            chunk = self._chunk(info)
            if chunk is not None:
                self._see(chunk)
                if self._is_unfiltered_edge(info):
                    self.unusual.append(chunk.number)
                else:
                    visit(chunk)
            return None

        if self._shared is None:
            self._dataset.id.chunk_iter(note)
        else:
            for info in self._shared.between(self.selection.first_row, self.selection.stop_row):
                note(info)
        self.unusual.sort()

    def absent(self, first: int, stop: int) -> List[int]:
        """Return the numbers of the wanted chunks that are not stored; call it after `walk`.

        Args:
            first: The first number to look at.
            stop: The number after the last one to look at.
        """
        seen = self._seen
        return [number for number in range(first, stop) if not seen[number]]

    def stored_bytes(self, enough: int) -> int:
        """Return the length of the chunks in the file that hold wanted rows; call it after `walk`.

        Args:
            enough: If they are shorter than this, all chunks of the dataset count.
        """
        if self._stored_bytes < enough:
            self._stored_bytes = 0
            self._dataset.id.chunk_iter(self._count)
        return self._stored_bytes

    def _count(self, info: Any) -> None:
        self._stored_bytes += info.size

    def _chunk(self, info: Any) -> Optional[Chunk]:
        number = self.selection.number(info.chunk_offset)
        if info.size > longest_filtered(self.chunk_bytes):
            raise _wrong_index()
        if number is None:
            return None
        return Chunk(info.byte_offset, info.byte_offset + info.size, number, info.filter_mask)

    def _see(self, chunk: Chunk) -> None:
        if self._seen[chunk.number] or chunk.stop > self._file_bytes:
            raise _wrong_index()
        self._seen[chunk.number] = 1
        self._stored_bytes += chunk.stop - chunk.start

    def _is_unfiltered_edge(self, info: Any) -> bool:
        """Tell whether a chunk may be stored without filters since it reaches beyond the edge.

        Nothing that h5py shows says so (H5Pset_chunk_opts). Such a chunk has its full length.
        """
        if info.size != self.chunk_bytes or not self._has_filters:
            return False
        ends = (at + length for at, length in zip(info.chunk_offset, self.selection.chunks))
        return any(end > length for end, length in zip(ends, self._dataset.shape))


def fill_value(dataset: h5py.Dataset) -> Any:
    """Return the value that HDF5 gives where a dataset stores nothing."""
    plist = dataset.id.get_create_plist()
    value = np.zeros((), dataset.dtype)
    is_undefined = plist.fill_value_defined() == h5py.h5d.FILL_VALUE_UNDEFINED
    if not is_undefined and plist.get_fill_time() != h5py.h5d.FILL_TIME_NEVER:
        plist.get_fill_value(value)
    return value[()]


def _wrong_index() -> NwbError:
    return NwbError("the file is damaged: an index of chunks is wrong")
