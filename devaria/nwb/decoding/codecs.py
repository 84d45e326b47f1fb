"""Undo one filter of a chunk, in bounded memory, without h5py and without the lock of Python."""

import bz2
import zlib
from typing import Callable, Dict, Iterator, NamedTuple, Sequence, Union

import numpy as np

from devaria.nwb.decoding.declared import blosc_lengths, zstd_length
from devaria.nwb.errors import NwbError

#: Bytes that one call inflates, or inflates to: few enough for the processor's cache.
SLICE_BYTES = 32 * 1024

#: The stored bytes of a chunk, in one or more pieces.
Stored = Sequence[memoryview]

#: Length of a checksum.
CHECKSUM_BYTES = 4


class UndecodableError(Exception):
    """The stored bytes are damaged, or need HDF5 itself."""


class Step(NamedTuple):
    """A filter that was applied to a chunk.

    Attributes:
        name: Its name: a key of ``COMPRESSORS`` or ``CHECKSUMS``, or ``shuffle`` or ``delta``.
        item_bytes: Length of an item that was shuffled.
    """

    name: str
    item_bytes: int = 1


def bomb() -> NwbError:
    """Return the error for a chunk that is longer than it may be."""
    return NwbError("the file is damaged: a compressed chunk is far longer than it may be")


def longest_filtered(chunk_bytes: int) -> int:
    """Return the longest that a chunk may be after a filter, which may lengthen it a little.

    Args:
        chunk_bytes: Its length before.
    """
    return 2 * chunk_bytes + 64 * 1024


def slices(stored: Stored) -> Iterator[memoryview]:
    """Yield the bytes of a chunk in slices of ``SLICE_BYTES`` at most."""
    for piece in stored:
        for at in range(0, len(piece), SLICE_BYTES):
            yield piece[at : at + SLICE_BYTES]


def joined(stored: Stored) -> memoryview:
    """Return the bytes of a chunk in one piece."""
    return stored[0] if len(stored) == 1 else memoryview(b"".join(stored))


# --- decompression: each fills the target, or raises UndecodableError, or NwbError for a bomb -----


class _Bz2:
    """A decompressor of bz2 with the face of zlib's."""

    def __init__(self) -> None:
        self._inner = bz2.BZ2Decompressor()

    @property
    def eof(self) -> bool:
        return self._inner.eof

    def decompress(self, compressed: memoryview, most: int) -> bytes:
        return self._inner.decompress(compressed, most)


def _inflate(stored: Stored, target: memoryview, inflater: Union["zlib._Decompress", _Bz2]) -> None:
    place = 0
    for compressed in slices(stored):
        try:
            # At most one byte too many: a decompression bomb stops here.
            inflated = inflater.decompress(compressed, len(target) - place + 1)
        except (zlib.error, OSError):
            raise UndecodableError from None
        if place + len(inflated) > len(target):
            raise bomb()
        target[place : place + len(inflated)] = inflated
        place += len(inflated)
        if inflater.eof:  # else zlib would copy all that follows, again at each slice
            break
    if place != len(target) or not inflater.eof:
        raise UndecodableError


def _zlib(stored: Stored, target: memoryview) -> None:
    _inflate(stored, target, zlib.decompressobj())


def _gzip(stored: Stored, target: memoryview) -> None:
    _inflate(stored, target, zlib.decompressobj(16 + zlib.MAX_WBITS))


def _bz2(stored: Stored, target: memoryview) -> None:
    _inflate(stored, target, _Bz2())


def _blosc(stored: Stored, target: memoryview) -> None:
    from numcodecs import blosc

    # Else it would start threads of its own beside those that decode chunks.
    blosc.use_threads = False
    content = joined(stored)
    lengths = blosc_lengths(content)
    # c-blosc would read beyond the end of bytes that are shorter than they say.
    if lengths is None or lengths.stored > len(content):
        raise UndecodableError
    _check(lengths.decoded, target)
    _by_numcodecs(blosc.decompress, content, target)


def _zstd(stored: Stored, target: memoryview) -> None:
    from numcodecs.zstd import decompress

    content = joined(stored)
    length = zstd_length(content)
    if length is not None:
        _check(length, target)
    _by_numcodecs(decompress, content, target)


def _lz4(stored: Stored, target: memoryview) -> None:
    """One block behind its length, as numcodecs writes it."""
    from numcodecs.lz4 import decompress

    content = joined(stored)
    _check(int.from_bytes(content[:4], "little"), target)
    _by_numcodecs(decompress, content, target)


def _lz4_of_hdf5(stored: Stored, target: memoryview) -> None:
    """Blocks behind the length of all and of one, as HDF5's filter 32004 writes them."""
    from numcodecs.lz4 import decompress

    content = joined(stored)
    _check(int.from_bytes(content[:8], "big"), target)
    block_bytes = int.from_bytes(content[8:12], "big")
    at, place = 12, 0
    while place < len(target):
        part = target[place : place + block_bytes]
        length = int.from_bytes(content[at : at + 4], "big")
        block = content[at + 4 : at + 4 + length]
        if not part or not length or len(block) != length:
            raise UndecodableError
        if length == len(part):  # it was not compressed
            part[:] = block
        else:
            _by_numcodecs(decompress, len(part).to_bytes(4, "little") + bytes(block), part)
        at, place = at + 4 + length, place + len(part)


def _check(declared: int, target: memoryview) -> None:
    if declared > len(target):
        raise bomb()
    if declared < len(target):
        raise UndecodableError


def _by_numcodecs(
    decompress: Callable[[object, object], object],
    content: Union[bytes, memoryview],
    target: memoryview,
) -> None:
    try:
        decompress(content, target)
    except (RuntimeError, ValueError):
        raise UndecodableError from None


Decompress = Callable[[Stored, memoryview], None]

COMPRESSORS: Dict[str, Decompress] = {
    "zlib": _zlib,
    "gzip": _gzip,
    "bz2": _bz2,
    "blosc": _blosc,
    "zstd": _zstd,
    "lz4": _lz4,
    "lz4 of HDF5": _lz4_of_hdf5,
}


# --- checksums: each returns the bytes before it, or raises UndecodableError ----------------------


def _fletcher32(content: memoryview) -> memoryview:
    from numcodecs.fletcher32 import Fletcher32

    if len(content) < CHECKSUM_BYTES:
        raise UndecodableError
    try:
        Fletcher32().decode(np.frombuffer(content, np.uint8))
    except (RuntimeError, ValueError):
        raise UndecodableError from None
    return content[:-CHECKSUM_BYTES]


def _crc32c(content: memoryview) -> memoryview:
    try:
        from numcodecs.checksum32 import CRC32C

        CRC32C(location="end").decode(content)
    except ImportError:  # an old numcodecs, or one without the package for this checksum
        pass
    except (RuntimeError, ValueError):
        raise UndecodableError from None
    return content[:-CHECKSUM_BYTES]


CHECKSUMS: Dict[str, Callable[[memoryview], memoryview]] = {
    "fletcher32": _fletcher32,
    "crc32c": _crc32c,
}
