"""The values of a column of spike times, as float32, by whichever way is the fastest."""

import math
import threading
from typing import Any, Iterable, Iterator, Optional, Tuple, Union

import h5py
import numpy as np
import numpy.typing as npt

from devaria.nwb.hdf5.chunks import thread_decoder
from devaria.nwb.hdf5.column import ChunkStream, PieceStream, ReadProgress
from devaria.nwb.hdf5.link_guard import refuse_expansion
from devaria.nwb.hdf5.remote_file import RemoteFile
from devaria.nwb.limits import ReadLimits

#: Bytes read at once; h5py holds its lock meanwhile, so other threads wait for milliseconds.
_SLAB_BYTES = 4 * 1024 * 1024

#: Each is remembered while a column is read.
_MAX_CHUNKS = 2_000_000


class SpikeTimes:
    """Spike times in the precision that figpack keeps, and what is known of them.

    Args:
        count: How many there will be.

    Attributes:
        values: float32, shape (count,), seconds.
        first: The earliest finite one, before rounding; infinite if there is none.
        last: The latest finite one, before rounding.
        num_odd: How many are NaN, or infinite in float32.
    """

    def __init__(self, count: int) -> None:
        self.values = np.empty(count, dtype=np.float32)
        self.first, self.last = math.inf, -math.inf
        self.num_odd = 0
        self._lock = threading.Lock()

    def put(self, start: int, slab: "npt.NDArray[Any]") -> None:
        """Set some of them; several threads may.

        Args:
            start: Number of the first.
            slab: Any real numbers.
        """
        target = self.values[start : start + len(slab)]
        # Beyond float32 becomes infinite, and is left out as that is, with any kind of NaN.
        with np.errstate(over="ignore", invalid="ignore"):
            target[:] = slab
            low, high, num_odd = _finite_range(slab, target)
        with self._lock:
            self.first, self.last = min(self.first, low), max(self.last, high)
            self.num_odd += num_odd


class SpikeTimesColumn:
    """A column of spike times, and the fastest way to read it.

    Args:
        file: The open file; a ``RemoteFile`` is read the fast way.
        dataset: A column that ``hdf5_guard`` has passed.
        file_bytes: Length of the file.

    Raises:
        NwbError: Its values are said to lie where they cannot.
    """

    def __init__(self, file: h5py.File, dataset: h5py.Dataset, file_bytes: int) -> None:
        self._dataset = dataset
        self._stream: Union[ChunkStream, PieceStream, None] = None
        # Where a user block comes first, versions of HDF5 differ in whether places count it.
        if isinstance(file, RemoteFile) and file.userblock_size == 0:
            if _has_chunk_map(dataset):
                self._stream = ChunkStream(dataset, file.prefetcher, file.lookahead, file_bytes)
            elif _is_contiguous(dataset):
                self._stream = PieceStream(dataset, file.prefetcher, file_bytes)

    def read(self, count: int, limits: ReadLimits, progress: ReadProgress) -> SpikeTimes:
        """Read the first values.

        Args:
            count: How many are wanted, 1 or more.
            limits: How far values may exceed what is stored.
            progress: Takes bytes done and bytes in all.

        Returns:
            The values.

        Raises:
            NwbError: Far more is declared than stored, or the server fails.
        """
        times = SpikeTimes(count)
        if self._stream is None:
            self._read_slabs(times, limits, progress)
            return times
        left = self._stream.read(count, times.put, progress)
        # Only now is it known what is stored, but no memory has been touched for what is not.
        self._refuse_bomb(count, self._stream.stored_bytes, limits)
        longest = _slab_length(self._dataset)
        for start, stop in _runs(sorted(left), self._dataset.chunks, longest):
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


def _has_chunk_map(dataset: h5py.Dataset) -> bool:
    # h5py lacks it where HDF5 is old.
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
    """Join chunks that follow each other, up to a bound."""
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
    # The extremes tell of all: NaN spreads, and rounding keeps the order.
    if all(math.isfinite(np.float32(extreme)) for extreme in (low, high)):
        return low, high, 0
    is_finite = np.isfinite(as_float32)
    finite = slab[is_finite]
    if len(finite) == 0:
        return math.inf, -math.inf, len(slab)
    return float(finite.min()), float(finite.max()), len(slab) - len(finite)
