"""Refuse decompression bombs, which HDF5 would inflate to the end.

HDF5 asks its filters how long a chunk becomes, and takes the memory for it. What each filter says
stands in the chunk or in the settings of the dataset, which the file gives.
"""

import math
import zlib
from itertools import product
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import h5py
import numpy as np
import numpy.typing as npt

from devaria.common.text import one_line
from devaria.nwb.decoding.codecs import SLICE_BYTES, Stored, bomb, joined, longest_filtered, slices
from devaria.nwb.decoding.declared import (
    BloscLengths,
    blocks_length,
    blosc2_frame_lengths,
    blosc_lengths,
    zstd_length,
)
from devaria.nwb.decoding.selection import Where
from devaria.nwb.errors import NwbError
from devaria.nwb.hdf5.filters import BITSHUFFLE, BLOSC, BLOSC2, LZ4, PLUGINS, ZSTD, filters_of
from devaria.nwb.hdf5.guards.reads import read_slab, reading_values, rows_at_once

#: Every chunk may inflate to so much: what lzf makes of a short chunk need not be counted.
_HARMLESS_BYTES = 64 * 1024 * 1024

#: lzf writes at most 264 bytes for 3.
_LZF_EXPANSION = 88


#: What a dataset tells one of its filters.
Settings = Tuple[int, ...]


class InflationGuard:
    """Refuses decompression bombs in the chunks of a dataset.

    Args:
        dataset: Any dataset.

    Attributes:
        is_needed: Whether a filter may make its chunks longer.
        most_bytes: The longest that a stored or a decompressed chunk may be.

    Raises:
        NwbError: Another filter hides the compressed bytes, or the settings of a filter are those
            of another dataset.
    """

    def __init__(self, dataset: h5py.Dataset) -> None:
        filters = filters_of(dataset.id.get_create_plist())
        codes = [each[0] for each in filters]
        num_values = math.prod(dataset.chunks or ())
        self.most_bytes = longest_filtered(num_values * dataset.dtype.itemsize)
        self._checks = [
            (place, _CHECKS[code], settings)
            for place, (code, _, settings, _) in enumerate(filters)
            if code in _CHECKS and not _only_moves_bits(code, settings)
        ]
        self.is_needed = bool(self._checks)
        # A checksum may follow the compression: it lies behind the compressed bytes.
        after = codes[self._checks[0][0] + 1 :] if self._checks else []
        if any(code != h5py.h5z.FILTER_FLETCHER32 for code in after):
            name = _NAMES[codes[self._checks[0][0]]]
            raise NwbError(f"{one_line(dataset.name)} has filters after {name}: not supported")
        for code, _, settings, _ in filters:
            if _told_bytes(code, settings) > max(self.most_bytes, _HARMLESS_BYTES):
                raise NwbError(
                    f"the file is damaged: a filter of {one_line(dataset.name)} is wrong"
                )

    def check(self, stored: Stored, filter_mask: int) -> None:
        """Find out how long a chunk becomes, without keeping it.

        Args:
            stored: Its bytes in the file.
            filter_mask: A set bit means that the filter at this position was not applied.

        Raises:
            NwbError: It becomes far longer than it may be.
        """
        for place, check, settings in self._checks:
            if not filter_mask >> place & 1:
                check(stored, self.most_bytes, settings)


def refuse_inflation(dataset: h5py.Dataset, rows: range, rest: Where = ()) -> None:
    """Refuse decompression bombs in the chunks that HDF5 is about to read.

    Args:
        dataset: Any dataset.
        rows: Numbers of the rows, within the dataset.
        rest: Slices of the other axes; an axis without one is read whole.

    Raises:
        NwbError: A chunk inflates to far more than its length, or filters hide whether it does.
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
            filter_mask, stored = _stored(dataset, corner, guard.most_bytes)
        except (OSError, RuntimeError):  # nothing is stored, or HDF5 fails to read it too
            continue
        guard.check([stored], filter_mask)


def _stored(
    dataset: h5py.Dataset, corner: Tuple[int, ...], most_bytes: int
) -> Tuple[int, memoryview]:
    # Pages of this memory that no bytes come to are never taken.
    room = np.empty(most_bytes, np.uint8)
    try:
        with reading_values():
            filter_mask, stored = dataset.id.read_direct_chunk(corner, out=room)
    except ValueError:  # it is longer
        raise bomb() from None
    return filter_mask, memoryview(stored)


def _check_gzip(stored: Stored, most_bytes: int, _settings: Settings) -> None:
    inflater, room = zlib.decompressobj(), most_bytes
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


def _check_lzf(stored: Stored, most_bytes: int, _settings: Settings) -> None:
    """Add up the runs of a chunk, until the rest cannot matter any more."""
    content = joined(stored)
    most_bytes = max(most_bytes, _HARMLESS_BYTES)
    place = length = 0
    while length + _LZF_EXPANSION * (len(content) - place) > most_bytes:
        if length > most_bytes:
            raise bomb()
        control = content[place]
        if control < 32:  # so many bytes as they are
            length += control + 1
            place += control + 2
        else:  # a repetition; the longest ones have another byte for their length
            is_long = control >= 0xE0 and place + 1 < len(content)
            length += (control >> 5) + 2 + (content[place + 1] if is_long else 0)
            place += 3 if is_long else 2
        if place >= len(content):
            break
    if length > most_bytes:
        raise bomb()


def _check_szip(stored: Stored, most_bytes: int, _settings: Settings) -> None:
    head = b"".join(bytes(piece[:4]) for piece in stored[:4])[:4]
    if int.from_bytes(head, "little") > most_bytes:
        raise bomb()


def _declared(
    read: Callable[[memoryview, Settings], Optional[int]],
) -> Callable[[Stored, int, Settings], None]:
    """Return the check of a filter whose chunks begin with their lengths."""

    def check(stored: Stored, most_bytes: int, settings: Settings) -> None:
        length = read(joined(stored), settings)
        if length is None:  # the filter might read beyond the end of the bytes
            raise NwbError("the file is damaged: a compressed chunk is broken")
        if length > most_bytes:
            raise bomb()

    return check


def _blosc_length(content: memoryview, _settings: Settings) -> Optional[int]:
    return _whole(blosc_lengths(content), content)


def _blosc2_length(content: memoryview, _settings: Settings) -> Optional[int]:
    return _whole(blosc2_frame_lengths(content) or blosc_lengths(content), content)


def _whole(lengths: Optional[BloscLengths], content: memoryview) -> Optional[int]:
    return lengths.decoded if lengths and lengths.stored <= len(content) else None


#: Filters whose chunks tell how long they become, and what finds that out.
_CHECKS: Dict[int, Callable[[Stored, int, Settings], None]] = {
    h5py.h5z.FILTER_DEFLATE: _check_gzip,
    h5py.h5z.FILTER_SZIP: _check_szip,
    h5py.h5z.FILTER_LZF: _check_lzf,
    BLOSC: _declared(_blosc_length),
    BLOSC2: _declared(_blosc2_length),
    ZSTD: _declared(lambda content, _settings: zstd_length(content)),
    LZ4: _declared(lambda content, _settings: blocks_length(content)),
    BITSHUFFLE: _declared(lambda content, settings: blocks_length(content, settings[2])),
}

_NAMES = {
    h5py.h5z.FILTER_DEFLATE: "gzip",
    h5py.h5z.FILTER_SZIP: "szip",
    h5py.h5z.FILTER_LZF: "lzf",
    **PLUGINS,
}


def _only_moves_bits(code: int, settings: Settings) -> bool:
    return code == BITSHUFFLE and not any(settings[4:5])


def _told_bytes(code: int, settings: Settings) -> int:
    """Return the length of a chunk that a filter's settings tell; 0 if they tell none."""
    if code in (h5py.h5z.FILTER_NBIT, h5py.h5z.FILTER_SCALEOFFSET) and len(settings) > 4:
        return settings[2] * settings[4]  # number and length of the values
    if code == h5py.h5z.FILTER_LZF and len(settings) > 2:
        return settings[2]
    return 0


def read_column(dataset: h5py.Dataset, num_rows: int, rest: Where = ()) -> "npt.NDArray[Any]":
    """Have HDF5 read the first rows of a dataset, and bound what it inflates.

    Args:
        dataset: The dataset, of a type that numpy has.
        num_rows: How many rows.
        rest: What to read of each row; everything if it is empty.

    Returns:
        The values.

    Raises:
        NwbError: A chunk is a decompression bomb.
    """
    step = rows_at_once(dataset)
    slabs = []
    for start in range(0, max(1, num_rows), step):
        rows = range(start, min(start + step, num_rows))
        refuse_inflation(dataset, rows, rest)
        slabs.append(read_slab(dataset, (slice(rows.start, rows.stop), *rest)))
    return slabs[0] if len(slabs) == 1 else np.concatenate(slabs)
