"""Read rows of a dataset of numbers, in the fastest way that its layout allows."""

import math
from bisect import bisect_left
from typing import Any, List, Tuple, Union

import h5py
import numpy as np
import numpy.typing as npt

from devaria.nwb.decoding.pipeline import Consume
from devaria.nwb.decoding.selection import Selection, Where
from devaria.nwb.decoding.wanted import ReadProgress
from devaria.nwb.hdf5.chunk_index import ChunkIndex, SharedPlaces, fill_value
from devaria.nwb.hdf5.chunked import ChunkedReader
from devaria.nwb.hdf5.chunks import thread_decoder
from devaria.nwb.hdf5.contiguous import ContiguousReader
from devaria.nwb.hdf5.guards.inflation import refuse_inflation
from devaria.nwb.hdf5.guards.reads import read_slab, rows_at_once
from devaria.nwb.hdf5.link_guard import refuse_expansion
from devaria.nwb.hdf5.remote_file import RemoteFile
from devaria.nwb.limits import ReadLimits

#: Bytes that h5py reads at once. Other threads wait for h5py's lock meanwhile: some milliseconds.
_SLAB_BYTES = 4 * 1024 * 1024

#: Datasets with more wanted chunks are left to h5py, because the place of each chunk is kept in
#: memory.
MAX_CHUNKS = 2_000_000

#: An index of more chunks is not fetched before the chunks.
MAX_CHUNKS_AHEAD = 65_536


class RowsReader:
    """Reads some rows of a dataset of numbers, with the fastest reader for its layout.

    Args:
        file: The open file. Only a ``RemoteFile`` is read in parallel.
        dataset: A dataset with one axis or more, which ``link_guard.refuse_unsafe`` has accepted.
        name: Its name, for errors.
        rows: Numbers of the wanted rows, with a step of 1 or more.
        file_bytes: Length of the file.
        limits: The largest ratio of declared to stored bytes.

    Raises:
        NwbError: The file gives the dataset an impossible place.
    """

    def __init__(
        self,
        file: h5py.File,
        dataset: h5py.Dataset,
        name: str,
        rows: range,
        file_bytes: int,
        limits: ReadLimits,
    ) -> None:
        self._file, self._file_bytes = file, file_bytes
        self._dataset = dataset
        self._name = name
        self._item_bytes: int = dataset.dtype.itemsize
        self._rows = rows
        self._limits = limits
        self._reader: Union[ChunkedReader, ContiguousReader, None] = None
        self._pieces: List[Tuple[int, int]] = []
        self._piece_chunks = 0
        # Versions of HDF5 differ in whether offsets include a user block.
        if not isinstance(file, RemoteFile) or file.userblock_size != 0:
            return
        if dataset.chunks:
            selection = Selection(dataset.shape, dataset.chunks, rows)
            if _has_readable_index(dataset, selection):
                index = ChunkIndex(dataset, selection, file.metadata, file_bytes)
                self._reader = ChunkedReader(dataset, index, file.prefetcher)
        elif _is_contiguous(dataset):
            self._reader = ContiguousReader(dataset, rows, file.prefetcher, file_bytes)

    # --- all rows at once ------------------------------------------------------------------------

    def survey(self) -> None:
        """Look at where the first chunks lie, before `read_all`.

        Raises:
            NwbError: The index gives a chunk an impossible place, or the server fails.
        """
        if isinstance(self._reader, ChunkedReader):
            self._reader.survey()

    def shorten(self, count: int) -> None:
        """Have `read_all` read only the first rows.

        Args:
            count: How many.
        """
        self._rows = self._rows[:count]
        if isinstance(self._reader, ChunkedReader):
            shape, chunks = self._dataset.shape, self._dataset.chunks
            self._reader.index.selection = Selection(shape, chunks, self._rows)
        elif self._reader is not None:
            self._reader.rows = self._rows

    def refuse_expansion(self, stored_bytes: int) -> None:
        """Refuse rows that are far longer than what is stored.

        Args:
            stored_bytes: Length of the chunks in the file.

        Raises:
            NwbError: They are.
        """
        num_values, item_bytes = self._num_values(), self._item_bytes
        refuse_expansion(self._name, num_values, item_bytes, stored_bytes, self._limits)

    def read_all(self, consume: Consume, progress: ReadProgress) -> None:
        """Read the rows.

        Args:
            consume: Called with the values, in any order, perhaps by several threads. Each place
                is an index into an array of the wanted rows.
            progress: Called with bytes read and bytes in all.

        Raises:
            NwbError: The dataset declares far more values than are stored, or the server fails.
        """
        if self._reader is None:
            self._read_slabs(consume, progress)
            return
        self._reader.read_all(consume, progress)
        if isinstance(self._reader, ChunkedReader):
            # The stored bytes are only known now. No memory was touched for values not stored.
            self._refuse_bomb(self._reader.index)
            self._read_rest(self._reader, 0, self._reader.index.selection.num_chunks, consume)

    # --- in pieces -------------------------------------------------------------------------------

    def share(self, places: SharedPlaces) -> None:
        """Walk the index of the chunks once for all readers of the dataset, before `fetch_index`.

        Args:
            places: The places of the chunks.
        """
        if isinstance(self._reader, ChunkedReader):
            self._reader.index.share(places)

    def fetch_index(self) -> None:
        """Start to fetch the index of the chunks, if it is not too long."""
        if isinstance(self._reader, ChunkedReader) and not self.reads_whole():
            self._reader.index.fetch()

    def reads_whole(self) -> bool:
        """Return whether `read_all` is better than `plan` and `read_piece` with one piece.

        That is so if the index of the chunks is long, and if HDF5 reads this layout alone.
        """
        return self._reader is None or self.index_chunks > MAX_CHUNKS_AHEAD

    @property
    def index_chunks(self) -> int:
        """How many chunks the index has up to the last wanted one; 0 without chunks."""
        reader = self._reader
        return reader.index.selection.index_chunks if isinstance(reader, ChunkedReader) else 0

    def pieces(self, most_rows: int) -> List[Tuple[int, int]]:
        """Divide the wanted rows into pieces. Chunks are divided only if one is too long.

        Args:
            most_rows: How many rows a piece may have, 1 or more.

        Returns:
            For each piece, its first row and the row after its last one, counted among the wanted.
        """
        if isinstance(self._reader, ChunkedReader):
            selection = self._reader.index.selection
            self._piece_chunks, self._pieces = selection.divided(most_rows)
        if not self._pieces:
            count = len(self._rows)
            starts = range(0, count, most_rows)
            self._pieces = [(start, min(start + most_rows, count)) for start in starts]
        return self._pieces

    def is_ready(self) -> bool:
        """Return whether `plan` will not wait for the network."""
        reader = self._reader
        return not isinstance(reader, ChunkedReader) or reader.index.is_fetched()

    def plan(self) -> None:
        """Find the wanted rows in the file, and start to fetch them; after `pieces`.

        Raises:
            NwbError: The index of the chunks is wrong, the dataset declares far more values than
                are stored, or the server fails.
        """
        if isinstance(self._reader, ContiguousReader):
            self._reader.plan()
        elif self._reader is not None and self._piece_chunks:
            self.fetch_index()
            self._reader.plan(self._piece_chunks)
            self._refuse_bomb(self._reader.index)

    def read_piece(self, number: int, consume: Consume, progress: ReadProgress) -> None:
        """Read a piece, after `plan`. Pieces are read in their order.

        Args:
            number: Its number.
            consume: Called as by `read_all`, with places in an array of the piece's rows.
            progress: Called with what is read and what is to be read of the piece, in any unit.

        Raises:
            NwbError: The server fails.
        """
        first, stop = self._pieces[number]
        reader = self._reader

        def shifted(where: Where, part: "npt.NDArray[Any]") -> None:
            rows = slice(where[0].start - first, where[0].stop - first)
            consume((rows, *where[1:]), part)

        if isinstance(reader, ContiguousReader):
            reader.read(first, stop, shifted, lambda row: progress(row - first, stop - first))
        elif reader is not None and self._piece_chunks:
            begin, end = number * self._piece_chunks, (number + 1) * self._piece_chunks
            reader.read_piece(number, shifted, progress)
            num_chunks = reader.index.selection.num_chunks
            self._read_rest(reader, begin, min(end, num_chunks), shifted)
        else:  # a chunk has more rows than a piece, or HDF5 reads this layout alone
            rows, told = self._rows[first:stop], (self._file_bytes, self._limits)
            own = RowsReader(self._file, self._dataset, self._name, rows, *told)
            own.survey()
            own.read_all(consume, progress)

    # --- parts of both ---------------------------------------------------------------------------

    def _read_rest(self, reader: ChunkedReader, first: int, stop: int, consume: Consume) -> None:
        """Fill in the chunks that are not stored, and have HDF5 read those that are unusual."""
        index = reader.index
        absent = index.absent(first, stop)
        fill: Any = fill_value(self._dataset) if absent else None
        for number in absent:
            where, inside = index.selection.place(number)
            lengths = zip(inside, self._dataset.chunks)
            shape = [len(range(*part.indices(length))) for part, length in lengths]
            consume(where, np.broadcast_to(fill, shape))
        unusual = index.unusual[
            bisect_left(index.unusual, first) : bisect_left(index.unusual, stop)
        ]
        for number in (*unusual, *reader.left):
            self._read_by_hdf5(index.selection.place(number)[0], consume)

    def _read_slabs(self, consume: Consume, progress: ReadProgress) -> None:
        count, step = len(self._rows), self._rows_a_slab()
        stored_bytes = int(self._dataset.id.get_storage_size())
        self.refuse_expansion(stored_bytes)
        total_bytes = max(1, stored_bytes)
        progress(0, total_bytes)
        for start in range(0, count, step):
            stop = min(start + step, count)
            self._read_by_hdf5((slice(start, stop),), consume)
            progress(total_bytes * stop // count, total_bytes)

    def _read_by_hdf5(self, where: Where, consume: Consume) -> None:
        rows = self._rows[where[0]]
        refuse_inflation(self._dataset, rows, where[1:])
        taken = slice(rows.start, rows[-1] + 1, rows.step)
        consume(where, read_slab(self._dataset, (taken, *where[1:])))

    def _rows_a_slab(self) -> int:
        row_bytes = self._item_bytes * math.prod(self._dataset.shape[1:])
        chunk: int = self._dataset.chunks[0] if self._dataset.chunks else 1
        # Whole chunks, or HDF5 would decode them twice.
        rows: int = max(1, _SLAB_BYTES // max(1, row_bytes * chunk)) * chunk
        return max(1, min(rows, rows_at_once(self._dataset)) // self._rows.step)

    def _refuse_bomb(self, index: ChunkIndex) -> None:
        enough = self._num_values() * self._item_bytes // self._limits.max_expansion + 1
        self.refuse_expansion(index.stored_bytes(enough))

    def _num_values(self) -> int:
        values_a_row: int = math.prod(self._dataset.shape[1:])
        return len(self._rows) * values_a_row


def _has_readable_index(dataset: h5py.Dataset, selection: Selection) -> bool:
    # h5py built with an old HDF5 has no chunk_iter. With one unlimited axis that is not the first,
    # chunk_iter may give wrong offsets (seen with HDF5 2.0).
    is_told_right = dataset.maxshape[0] is None or dataset.maxshape.count(None) != 1
    has_places = hasattr(dataset.id, "chunk_iter") and is_told_right
    return has_places and selection.num_chunks <= MAX_CHUNKS


def _is_contiguous(dataset: h5py.Dataset) -> bool:
    layout = dataset.id.get_create_plist().get_layout()
    has_place = layout == h5py.h5d.CONTIGUOUS and dataset.id.get_offset() is not None
    return has_place and thread_decoder(dataset) is not None
