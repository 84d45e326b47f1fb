"""Read rows of a dataset of numbers, in the fastest way that its layout allows."""

import math
from typing import Any, Tuple, Union

import h5py
import numpy as np

from devaria.nwb.hdf5.chunked import ChunkedReader, ReadProgress
from devaria.nwb.hdf5.chunks import thread_decoder
from devaria.nwb.hdf5.contiguous import ContiguousReader
from devaria.nwb.hdf5.link_guard import refuse_expansion
from devaria.nwb.hdf5.pipeline import Consume
from devaria.nwb.hdf5.remote_file import RemoteFile
from devaria.nwb.hdf5.selection import Selection
from devaria.nwb.limits import ReadLimits

#: Bytes that h5py reads at once. Other threads wait for h5py's lock meanwhile: some milliseconds.
_SLAB_BYTES = 4 * 1024 * 1024

#: Datasets with more wanted chunks are left to h5py, because the place of each chunk is kept in
#: memory.
MAX_CHUNKS = 2_000_000


class RowsReader:
    """Reads some rows of a dataset of numbers, with the fastest reader for its layout.

    Args:
        file: The open file. Only a ``RemoteFile`` is read in parallel.
        dataset: A dataset with one axis or more, which ``link_guard.refuse_unsafe`` has accepted.
        name: Its name, for errors.
        rows: Numbers of the wanted rows, with a step of 1 or more.
        file_bytes: Length of the file.

    Raises:
        NwbError: The file gives the dataset an impossible place.
    """

    def __init__(
        self, file: h5py.File, dataset: h5py.Dataset, name: str, rows: range, file_bytes: int
    ) -> None:
        self._dataset = dataset
        self._name = name
        self._item_bytes: int = dataset.dtype.itemsize
        self._rows = rows
        self._reader: Union[ChunkedReader, ContiguousReader, None] = None
        # Versions of HDF5 differ in whether offsets include a user block.
        if not isinstance(file, RemoteFile) or file.userblock_size != 0:
            return
        selection = Selection(dataset.shape, dataset.chunks, rows) if dataset.chunks else None
        if selection is not None and _has_readable_index(dataset, selection):
            self._reader = ChunkedReader(
                dataset, selection, file.prefetcher, file.btree_prefetcher, file_bytes
            )
        elif _is_contiguous(dataset):
            self._reader = ContiguousReader(dataset, rows, file.prefetcher, file_bytes)

    def plan(self) -> None:
        """Start to fetch the rows, before ``read``.

        Raises:
            NwbError: The index of the chunks is wrong, or the server fails.
        """
        if self._reader is not None:
            self._reader.plan()

    def shorten(self, count: int) -> None:
        """Read only the first rows.

        Args:
            count: How many.
        """
        self._rows = self._rows[:count]
        if isinstance(self._reader, ChunkedReader):
            dataset = self._dataset
            self._reader.selection = Selection(dataset.shape, dataset.chunks, self._rows)
        elif self._reader is not None:
            self._reader.rows = self._rows

    def read(self, consume: Consume, limits: ReadLimits, progress: ReadProgress) -> None:
        """Read the rows.

        Args:
            consume: Called with the values, in any order, perhaps by several threads. Each place
                is an index into an array of the wanted rows.
            limits: The largest ratio of declared to stored bytes.
            progress: Called with bytes read and bytes in all.

        Raises:
            NwbError: The dataset declares far more values than are stored, or the server fails.
        """
        if self._reader is None:
            self._read_slabs(consume, limits, progress)
        else:
            self._reader.read(consume, progress)
        if isinstance(self._reader, ChunkedReader):
            self._read_rest(self._reader, consume, limits)

    def _read_rest(self, reader: ChunkedReader, consume: Consume, limits: ReadLimits) -> None:
        """Fill in what is not stored, and have HDF5 read what is unusual."""
        # The stored bytes are only known now. No memory was touched yet for values not stored.
        enough = self._num_values() * self._item_bytes // limits.max_expansion + 1
        self._refuse_bomb(reader.stored_bytes(enough), limits)
        fill_value = _fill_value(self._dataset)
        for number in reader.absent:
            where, inside = reader.selection.place(number)
            lengths = zip(inside, self._dataset.chunks)
            shape = [len(range(*part.indices(length))) for part, length in lengths]
            consume(where, np.broadcast_to(fill_value, shape))
        for number in reader.left:
            self._read_by_hdf5(reader.selection.place(number)[0], consume)

    def _read_slabs(self, consume: Consume, limits: ReadLimits, progress: ReadProgress) -> None:
        count, step = len(self._rows), self._rows_a_slab()
        stored_bytes = int(self._dataset.id.get_storage_size())
        self._refuse_bomb(stored_bytes, limits)
        total_bytes = max(1, stored_bytes)
        progress(0, total_bytes)
        for start in range(0, count, step):
            stop = min(start + step, count)
            self._read_by_hdf5((slice(start, stop),), consume)
            progress(total_bytes * stop // count, total_bytes)

    def _read_by_hdf5(self, where: Tuple[slice, ...], consume: Consume) -> None:
        rows = self._rows[where[0]]
        taken = slice(rows.start, rows[-1] + 1, rows.step)
        consume(where, self._dataset[(taken, *where[1:])])

    def _rows_a_slab(self) -> int:
        row_bytes = self._item_bytes * math.prod(self._dataset.shape[1:])
        chunk: int = self._dataset.chunks[0] if self._dataset.chunks else 1
        # Whole chunks, or HDF5 would decode them twice.
        rows: int = max(1, _SLAB_BYTES // max(1, row_bytes * chunk)) * chunk
        return max(1, rows // self._rows.step)

    def _refuse_bomb(self, stored_bytes: int, limits: ReadLimits) -> None:
        refuse_expansion(self._name, self._num_values(), self._item_bytes, stored_bytes, limits)

    def _num_values(self) -> int:
        values_a_row: int = math.prod(self._dataset.shape[1:])
        return len(self._rows) * values_a_row


def _has_readable_index(dataset: h5py.Dataset, selection: Selection) -> bool:
    # h5py built with an old HDF5 has no chunk_iter.
    return hasattr(dataset.id, "chunk_iter") and selection.num_chunks <= MAX_CHUNKS


def _is_contiguous(dataset: h5py.Dataset) -> bool:
    layout = dataset.id.get_create_plist().get_layout()
    has_place = layout == h5py.h5d.CONTIGUOUS and dataset.id.get_offset() is not None
    return has_place and thread_decoder(dataset) is not None


def _fill_value(dataset: h5py.Dataset) -> Any:
    """Return the value that HDF5 gives where nothing is stored."""
    plist = dataset.id.get_create_plist()
    value = np.zeros((), dataset.dtype)
    is_undefined = plist.fill_value_defined() == h5py.h5d.FILL_VALUE_UNDEFINED
    if not is_undefined and plist.get_fill_time() != h5py.h5d.FILL_TIME_NEVER:
        plist.get_fill_value(value)
    return value[()]
