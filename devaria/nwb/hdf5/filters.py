"""Filters of HDF5 datasets: which are known, and how long what they decode to may be.

HDF5 brings some of them, and the package hdf5plugin brings five more. They are libraries, which
HDF5 would load from wherever the environment says: here they come from that package only.
"""

import math
import zlib
from itertools import product
from typing import Any, Dict, List, Optional, Sequence

import h5py

from devaria.common.text import one_line
from devaria.nwb.decoding.codecs import (
    SLICE_BYTES,
    Step,
    Stored,
    bomb,
    joined,
    longest_filtered,
    slices,
)
from devaria.nwb.decoding.declared import (
    blocks_length,
    blosc2_frame_lengths,
    blosc_lengths,
    zstd_length,
)
from devaria.nwb.decoding.selection import Where
from devaria.nwb.errors import NwbError

_BLOSC, _LZ4, _BITSHUFFLE, _ZSTD, _BLOSC2 = 32001, 32004, 32008, 32015, 32026

#: The filters that hdf5plugin brings, by their codes (HDF5's list of registered filters).
_PLUGINS: Dict[int, str] = {
    _BLOSC: "Blosc",
    _LZ4: "LZ4",
    _BITSHUFFLE: "bitshuffle",
    _ZSTD: "Zstd",
    _BLOSC2: "Blosc2",
}

#: The filters of HDF5 itself, and of h5py (LZF).
_OWN = (
    h5py.h5z.FILTER_DEFLATE,
    h5py.h5z.FILTER_SHUFFLE,
    h5py.h5z.FILTER_FLETCHER32,
    h5py.h5z.FILTER_SZIP,
    h5py.h5z.FILTER_NBIT,
    h5py.h5z.FILTER_SCALEOFFSET,
    h5py.h5z.FILTER_LZF,
)

#: Filters that decompress: they take as much memory as the stored bytes say.
_INFLATING = (h5py.h5z.FILTER_DEFLATE, *_PLUGINS)

#: What ``ThreadDecoder`` can undo.
_COMPRESSED = {
    h5py.h5z.FILTER_DEFLATE: "zlib",
    _BLOSC: "blosc",
    _LZ4: "lz4 of HDF5",
    _ZSTD: "zstd",
}

#: Each filter once, and in this order, as every writer has it.
_ORDER = ((h5py.h5z.FILTER_SHUFFLE,), tuple(_COMPRESSED), (h5py.h5z.FILTER_FLETCHER32,))


def refuse_unknown_filters(dataset: h5py.Dataset, name: str) -> None:
    """Refuse a dataset that cannot be decoded here. Filters of hdf5plugin are loaded.

    Args:
        dataset: Any dataset.
        name: Its name, for the error.

    Raises:
        NwbError: One of its filters is not known, or not installed.
    """
    plist = dataset.id.get_create_plist()
    for position in range(plist.get_nfilters()):
        code, _, _, label = plist.get_filter(position)
        if code in _PLUGINS:
            if not _loaded_plugin(code):
                raise NwbError(
                    f"{name} is compressed by the filter {_PLUGINS[code]} ({code}), which is not "
                    'installed on the runner: pip install "devaria[filters]"'
                )
        elif code not in _OWN or not h5py.h5z.filter_avail(code):
            shown = one_line(label.decode("ascii", "replace"))
            raise NwbError(f"{name} is compressed by a filter not known here: {code} ({shown})")


def _loaded_plugin(code: int) -> bool:
    if not hasattr(h5py.h5z, "filter_avail"):
        return False
    while h5py.h5pl.size():  # folders of the system, and of HDF5_PLUGIN_PATH
        h5py.h5pl.remove(0)
    try:
        import hdf5plugin  # noqa: F401 - this loads its libraries, by their paths
    except ImportError:
        return False
    return bool(h5py.h5z.filter_avail(code))


def restore_options(plist: Any) -> None:
    """Undo what a filter did to its options when the dataset was made: it will do so again.

    Args:
        plist: How a dataset was made, a copy of which another one will be made with.
    """
    filters = [plist.get_filter(place) for place in range(plist.get_nfilters())]
    if not any(each[0] == _BITSHUFFLE for each in filters):
        return
    for code, _, _, _ in filters:
        plist.remove_filter(code)
    for code, flags, settings, _ in filters:
        # bitshuffle puts three of its own before them.
        plist.set_filter(code, flags, settings[3:] if code == _BITSHUFFLE else settings)


def thread_steps(dataset: h5py.Dataset, item_bytes: int) -> Optional[List[Step]]:
    """Return the filters of a dataset, if ``ThreadDecoder`` supports all of them.

    Args:
        dataset: Any dataset.
        item_bytes: Length of a stored value.

    Returns:
        The filters, in the order in which they were applied; None if any is not supported.
    """
    plist = dataset.id.get_create_plist()
    steps: List[Step] = []
    allowed = list(_ORDER)
    for position in range(plist.get_nfilters()):
        code, _, settings, _ = plist.get_filter(position)
        while allowed and code not in allowed[0]:
            del allowed[0]
        if not allowed:
            return None
        del allowed[0]
        if code == h5py.h5z.FILTER_SHUFFLE:
            if tuple(settings) != (item_bytes,):
                return None
            steps.append(Step("shuffle", item_bytes))
        else:
            steps.append(Step(_COMPRESSED.get(code, "fletcher32")))
    return steps


class InflationGuard:
    """Refuses decompression bombs, which HDF5 would decompress to the end.

    Args:
        dataset: Any dataset.

    Attributes:
        is_needed: Whether its chunks may be compressed.

    Raises:
        NwbError: Another filter hides the compressed bytes.
    """

    def __init__(self, dataset: h5py.Dataset) -> None:
        plist = dataset.id.get_create_plist()
        filters = [plist.get_filter(place) for place in range(plist.get_nfilters())]
        codes = [each[0] for each in filters]
        self._places = [n for n, code in enumerate(codes) if code in _INFLATING]
        self.is_needed = bool(self._places)
        # A checksum may follow: it lies behind the compressed bytes.
        after = codes[self._places[0] + 1 :] if self._places else []
        if any(code != h5py.h5z.FILTER_FLETCHER32 for code in after):
            name = "gzip" if codes[self._places[0]] == h5py.h5z.FILTER_DEFLATE else "compression"
            raise NwbError(f"{one_line(dataset.name)} has filters after {name}: not supported")
        first: Any = filters[self._places[0]] if self._places else (0, 0, (), b"")
        self._code, _, self._settings, _ = first
        num_values = math.prod(dataset.chunks or ())
        self._most_bytes = longest_filtered(num_values * dataset.dtype.itemsize)

    def check(self, stored: Stored, filter_mask: int) -> None:
        """Find out how long a chunk becomes, without keeping it.

        Args:
            stored: Its bytes in the file.
            filter_mask: A set bit means that the filter at this position was not applied.

        Raises:
            NwbError: It becomes far longer than a chunk is.
        """
        if all(filter_mask >> place & 1 for place in self._places):
            return
        if self._code == h5py.h5z.FILTER_DEFLATE:
            self._inflate(stored)
        elif self._declared(joined(stored)) > self._most_bytes:
            raise bomb()

    def _declared(self, content: memoryview) -> int:
        """Return how much memory a filter of hdf5plugin takes.

        Raises:
            NwbError: The bytes are not what they say: the filter might read beyond their end.
        """
        length: Optional[int] = 0
        if self._code == _ZSTD:
            length = zstd_length(content)
        elif self._code in (_BLOSC, _BLOSC2):
            lengths = blosc2_frame_lengths(content) if self._code == _BLOSC2 else None
            lengths = lengths or blosc_lengths(content)
            is_whole = lengths is not None and lengths.stored <= len(content)
            length = lengths.decoded if lengths and is_whole else None
        elif self._code == _LZ4:
            length = blocks_length(content)
        elif any(self._settings[4:5]):  # else bitshuffle only moves bits
            length = blocks_length(content, self._settings[2])
        if length is None:
            raise NwbError("the file is damaged: a compressed chunk is broken")
        return length

    def _inflate(self, stored: Stored) -> None:
        inflater, room = zlib.decompressobj(), self._most_bytes
        for compressed in slices(stored):
            left: Any = compressed
            while left and not inflater.eof:
                try:
                    room -= len(inflater.decompress(left, SLICE_BYTES))
                except zlib.error:  # HDF5 stops there too
                    return
                if room < 0:
                    raise bomb()
                left = inflater.unconsumed_tail


def refuse_inflation(dataset: h5py.Dataset, rows: range, rest: Where = ()) -> None:
    """Refuse decompression bombs in the chunks that HDF5 is about to read.

    Args:
        dataset: Any dataset.
        rows: Numbers of the rows, within the dataset.
        rest: Slices of the other axes; an axis without one is read whole.

    Raises:
        NwbError: A chunk becomes far longer than it may be, or filters hide whether it does.
    """
    guard, chunks = InflationGuard(dataset), dataset.chunks
    if not guard.is_needed:
        return
    corners: List[Sequence[int]] = [sorted({row // chunks[0] * chunks[0] for row in rows})]
    whole = [slice(None)] * dataset.ndim
    for part, length, chunk in zip([*rest, *whole], dataset.shape[1:], chunks[1:]):
        start, stop, _ = part.indices(length)
        corners.append(range(start // chunk * chunk, stop, chunk))
    for corner in product(*corners):
        try:
            filter_mask, stored = dataset.id.read_direct_chunk(corner)
        except (OSError, RuntimeError):  # nothing is stored, or HDF5 fails to read it too
            continue
        guard.check([memoryview(stored)], filter_mask)
