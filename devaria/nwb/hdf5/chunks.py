"""Decode the stored bytes of chunks into values: in threads, or by HDF5 itself."""

import math
from typing import Any, Optional

import h5py
import numpy.typing as npt

from devaria.nwb.decoding.codecs import Stored, UndecodableError
from devaria.nwb.decoding.decoder import ThreadDecoder
from devaria.nwb.hdf5.filters import restore_options, thread_steps
from devaria.nwb.hdf5.guards.inflation import InflationGuard


class Hdf5Decoder:
    """Decodes chunks with any filter of HDF5, through a file in memory that has one chunk.

    It is for one thread, which holds h5py's lock meanwhile.

    Args:
        dataset: The dataset whose chunks will be decoded.
    """

    in_threads = False

    def __init__(self, dataset: h5py.Dataset) -> None:
        name = f"chunk decoder {id(self)}"
        self._file = h5py.File(name, "w", driver="core", backing_store=False)
        space = h5py.h5s.create_simple(dataset.chunks)
        layout = dataset.id.get_create_plist()
        restore_options(layout)
        layout.set_alloc_time(h5py.h5d.ALLOC_TIME_INCR)  # allocates no chunk before it is written
        stored_type = dataset.id.get_type().copy()
        made = h5py.h5d.create(self._file.id, b"chunk", stored_type, space, layout)
        self._chunk = h5py.Dataset(made)
        self._guard = InflationGuard(dataset)

    def decode(self, stored: Stored, filter_mask: int) -> "npt.NDArray[Any]":
        """Decode one chunk, as ``ThreadDecoder.decode`` does.

        Args:
            stored: Its bytes in the file.
            filter_mask: A set bit means that the filter at this position was not applied.

        Returns:
            The values, along the axes of the chunk.

        Raises:
            UndecodableError: The bytes are damaged, or not all filters were applied.
            NwbError: They inflate to far more than a chunk: a decompression bomb.
        """
        if filter_mask:
            # HDF5 may ignore the mask of a chunk that was just written.
            raise UndecodableError
        self._guard.check(stored, filter_mask)
        try:
            corner = (0,) * self._chunk.ndim
            self._chunk.id.write_direct_chunk(corner, b"".join(stored), filter_mask)
            values: npt.NDArray[Any] = self._chunk[...]
        except OSError:
            raise UndecodableError from None
        return values

    def close(self) -> None:
        """Free the file in memory."""
        self._file.close()


def thread_decoder(dataset: h5py.Dataset) -> Optional[ThreadDecoder]:
    """Return a decoder for a dataset that can be decoded in threads.

    Args:
        dataset: A dataset of numbers, in chunks or contiguous.

    Returns:
        The decoder; None if only HDF5 can decode the dataset's type or filters.
    """
    dtype = dataset.dtype
    if not dataset.id.get_type().equal(h5py.h5t.py_create(dtype)):
        return None
    steps = thread_steps(dataset, dtype.itemsize)
    if steps is None:
        return None
    return ThreadDecoder(dtype, math.prod(dataset.chunks or (0,)), steps)
