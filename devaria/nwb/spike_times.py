"""Read a column of spike times as float32, in the fastest way that its layout allows."""

import math
import threading
from typing import Any, Iterable, Iterator, Optional, Tuple, Union

import h5py
import numpy as np
import numpy.typing as npt

from devaria.nwb.hdf5.chunks import thread_decoder
from devaria.nwb.hdf5.column import (
    ChunkedColumnReader,
    ContiguousColumnReader,
    ReadProgress,
)
from devaria.nwb.hdf5.link_guard import refuse_expansion
from devaria.nwb.hdf5.remote_file import RemoteFile
from devaria.nwb.limits import ReadLimits

#: Bytes that h5py reads at once. Other threads wait for h5py's lock meanwhile: some milliseconds.
_SLAB_BYTES = 4 * 1024 * 1024

#: Columns of more chunks are left to h5py, because the place of each chunk is kept in memory.
_MAX_CHUNKS = 2_000_000


class SpikeTimes:
    """Spike times in float32, the precision of figpack, and their range in full precision.

    Args:
        count: Number of spike times.

    Attributes:
        values: float32, shape (count,), seconds.
        first: The earliest finite time before rounding; infinity if there is none.
        last: The latest finite time before rounding; minus infinity if there is none.
        num_non_finite: How many are NaN, or infinite in float32.
    """

    def __init__(self, count: int) -> None:
        self.values = np.empty(count, dtype=np.float32)
        self.first, self.last = math.inf, -math.inf
        self.num_non_finite = 0
        self._lock = threading.Lock()

    def put(self, start: int, slab: "npt.NDArray[Any]") -> None:
        """Store some of the values. Several threads may do so at once.

        Args:
            start: Number of the first value.
            slab: Real numbers of any dtype.
        """
        target = self.values[start : start + len(slab)]
        # A number beyond the range of float32 becomes infinite, and is left out later.
        with np.errstate(over="ignore", invalid="ignore"):
            target[:] = slab
            low, high, num_non_finite = _finite_range(slab, target)
        with self._lock:
            self.first, self.last = min(self.first, low), max(self.last, high)
            self.num_non_finite += num_non_finite


class SpikeTimesColumn:
    """A column of spike times, with the fastest reader for its layout.

    Args:
        file: The open file. Only a ``RemoteFile`` is read in parallel.
        dataset: A column, opened by ``link_guard.safe_dataset``.
        file_bytes: Length of the file.

    Raises:
        NwbError: The file gives the column an impossible place.
    """

    def __init__(self, file: h5py.File, dataset: h5py.Dataset, file_bytes: int) -> None:
        self._dataset = dataset
        self._reader: Union[ChunkedColumnReader, ContiguousColumnReader, None] = None
        # Versions of HDF5 differ in whether offsets include a user block.
        if isinstance(file, RemoteFile) and file.userblock_size == 0:
            if _has_readable_index(dataset):
                self._reader = ChunkedColumnReader(
                    dataset, file.prefetcher, file.btree_prefetcher, file_bytes
                )
            elif _is_contiguous(dataset):
                self._reader = ContiguousColumnReader(dataset, file.prefetcher, file_bytes)

    def read(self, count: int, limits: ReadLimits, progress: ReadProgress) -> SpikeTimes:
        """Read the first values.

        Args:
            count: How many values to read, 1 or more.
            limits: The largest ratio of declared to stored bytes.
            progress: Called with bytes read and bytes in all.

        Returns:
            The values.

        Raises:
            NwbError: The column declares far more values than are stored, or the server fails.
        """
        times = SpikeTimes(count)
        if self._reader is None:
            self._read_slabs(times, limits, progress)
            return times
        missing = self._reader.read(count, times.put, progress)
        # The stored bytes are only known now. No memory was touched yet for values not stored.
        self._refuse_bomb(count, self._reader.stored_bytes, limits)
        longest = _slab_length(self._dataset)
        for start, stop in _runs(sorted(missing), self._dataset.chunks, longest):
            times.put(start, self._dataset[start : min(stop, count)])
        return times

    def _read_slabs(self, times: SpikeTimes, limits: ReadLimits, progress: ReadProgress) -> None:
        count, step = len(times.values), _slab_length(self._dataset)
        stored_bytes = int(self._dataset.id.get_storage_size())
        self._refuse_bomb(count, stored_bytes, limits)
        total_bytes = max(1, stored_bytes)
        progress(0, total_bytes)
        for start in range(0, count, step):
            stop = min(start + step, count)
            times.put(start, self._dataset[start:stop])
            progress(total_bytes * stop // count, total_bytes)

    def _refuse_bomb(self, count: int, stored_bytes: int, limits: ReadLimits) -> None:
        item_bytes = self._dataset.dtype.itemsize
        refuse_expansion("spike_times", count, item_bytes, stored_bytes, limits)


def _has_readable_index(dataset: h5py.Dataset) -> bool:
    # h5py built with an old HDF5 has no chunk_iter.
    if not dataset.chunks or not hasattr(dataset.id, "chunk_iter"):
        return False
    return bool(dataset.shape[0] <= _MAX_CHUNKS * dataset.chunks[0])


def _is_contiguous(dataset: h5py.Dataset) -> bool:
    layout = dataset.id.get_create_plist().get_layout()
    has_place = layout == h5py.h5d.CONTIGUOUS and dataset.id.get_offset() is not None
    return has_place and thread_decoder(dataset) is not None


def _slab_length(dataset: h5py.Dataset) -> int:
    chunk: int = dataset.chunks[0] if dataset.chunks else 1
    slab_chunks: int = max(1, _SLAB_BYTES // (dataset.dtype.itemsize * chunk))
    return slab_chunks * chunk


def _runs(
    starts: Iterable[int], chunks: Optional[Tuple[int, ...]], longest: int
) -> Iterator[Tuple[int, int]]:
    """Join chunks that follow each other into ranges of values, up to a length."""
    length = chunks[0] if chunks else 0
    first = last = -1
    for start in starts:
        if start != last or last - first >= longest:
            if last > first:
                yield first, last
            first = start
        last = start + length
    if last > first:
        yield first, last


def _finite_range(
    slab: "npt.NDArray[Any]", as_float32: "npt.NDArray[np.float32]"
) -> Tuple[float, float, int]:
    low, high = float(slab.min()), float(slab.max())
    # If both extremes are finite, all values are: NaN propagates, and rounding keeps the order.
    if all(math.isfinite(np.float32(extreme)) for extreme in (low, high)):
        return low, high, 0
    is_finite = np.isfinite(as_float32)
    finite = slab[is_finite]
    if len(finite) == 0:
        return math.inf, -math.inf, len(slab)
    return float(finite.min()), float(finite.max()), len(slab) - len(finite)
