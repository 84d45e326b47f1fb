"""Check variable-length values of an HDF5 file before HDF5 reads them.

They are stored in "global heap collections". HDF5 steps from object to object in a collection by
the lengths that the file gives. A length of 0 makes it loop for ever, in C code that Python cannot
stop (seen with HDF5 2.0; HDF5 File Format Specification, III.E).
"""

import struct
from typing import Any, Callable, List, Optional

import h5py
import numpy as np
import numpy.typing as npt

from devaria.common.text import one_line
from devaria.nwb.decoding.codecs import Step, UndecodableError
from devaria.nwb.decoding.decoder import ThreadDecoder
from devaria.nwb.errors import NwbError
from devaria.nwb.hdf5.filters import thread_steps

#: A dataset stores such a reference for each string: its length, the address of its collection, and
#: the number of its object there.
_REFERENCE = np.dtype([("length", "<u4"), ("address", "<u8"), ("number", "<u4")])

_COLLECTION_HEAD = struct.Struct("<4sB3xQ")
_OBJECT_HEAD = struct.Struct("<HHIQ")

#: Longest collection. HDF5 makes one of more than 64 KB for a single text only, which is never
#: wanted. An attribute may refer to such a text many times, and HDF5 then reads it each time.
_MAX_COLLECTION_BYTES = 1024 * 1024

#: Longest chunk of strings.
_MAX_CHUNK_BYTES = 64 * 1024 * 1024

#: Most chunks of strings: the place of each is kept in memory.
_MAX_CHUNKS = 65_536

#: Returns the bytes of the file from one offset up to another.
ReadBytes = Callable[[int, int], bytes]


def refuse_broken_heap(start: int, content: memoryview, read_bytes: ReadBytes) -> None:
    """Check a heap that HDF5 reads: a collection, by stepping through it as HDF5 would.

    Names and attributes of large objects lie in "fractal heaps". Those may be compressed, and HDF5
    would inflate them to the end. Nobody writes such files.

    Args:
        start: Offset of the first byte that HDF5 reads.
        content: The bytes that it reads. Those of a collection start with its head.
        read_bytes: Reads bytes of the file.

    Raises:
        NwbError: It is a collection, and it is broken or too long. Or a fractal heap is compressed.
    """
    if bytes(content[:4]) == b"FRHP" and bytes(content[7:9]) != b"\0\0":
        raise NwbError("the file has a group or attributes that are compressed: not supported")
    if len(content) < _COLLECTION_HEAD.size or bytes(content[:4]) != b"GCOL":
        return
    _, version, size = _COLLECTION_HEAD.unpack(content[: _COLLECTION_HEAD.size])
    if version != 1 or size >= 2**32:  # no text is so long
        raise _damage()
    if size > _MAX_COLLECTION_BYTES:
        raise NwbError(f"the file has a text of about {size:,} bytes in an attribute: too long")
    # HDF5 reads a long collection in two steps.
    collection = content if size <= len(content) else read_bytes(start, start + size)
    if len(collection) < size:
        raise _damage()
    place = _COLLECTION_HEAD.size
    while place + _OBJECT_HEAD.size <= size:
        number, _, _, length = _OBJECT_HEAD.unpack_from(collection, place)
        # Object 0 is the free space at the end; its length includes its header.
        step = length if number == 0 else _OBJECT_HEAD.size + (length + 7) // 8 * 8
        if step < _OBJECT_HEAD.size or place + step > size:
            raise _damage()
        place += step


def refuse_long_strings(
    strings: h5py.Dataset, rows: "npt.NDArray[np.int64]", max_length: int, read_bytes: ReadBytes
) -> None:
    """Check the lengths of some strings of a dataset.

    Args:
        strings: A dataset of variable-length strings with at most one axis, which
            ``link_guard.refuse_unsafe`` has accepted.
        rows: The rows that will be read, one or more.
        max_length: Longest string that is accepted, in bytes.
        read_bytes: Reads bytes of the file.

    Raises:
        NwbError: A string is too long, or its length is stored in a way that cannot be checked.
    """
    longest = int(_references(strings, int(rows.max()) + 1, read_bytes)[rows]["length"].max())
    if longest > max_length:
        raise NwbError(f"{one_line(strings.name)} has a text of {longest:,} bytes: too long")


def _references(strings: h5py.Dataset, count: int, read_bytes: ReadBytes) -> "npt.NDArray[np.void]":
    steps = thread_steps(strings, _REFERENCE.itemsize)
    if steps is None or strings.file.id.get_create_plist().get_sizes() != (8, 8):
        raise _unknown_form()
    if strings.chunks:
        return _references_in_chunks(strings, count, steps, read_bytes)
    start = strings.id.get_offset()
    if start is None:
        raise _unknown_form()
    stored = read_bytes(start, start + count * _REFERENCE.itemsize)
    if len(stored) < count * _REFERENCE.itemsize:
        raise _damage()
    return np.frombuffer(stored, _REFERENCE)


def _references_in_chunks(
    strings: h5py.Dataset, count: int, steps: List[Step], read_bytes: ReadBytes
) -> "npt.NDArray[np.void]":
    length: int = strings.chunks[0]
    is_long = length * _REFERENCE.itemsize > _MAX_CHUNK_BYTES
    if not hasattr(strings.id, "chunk_iter") or is_long or count > length * _MAX_CHUNKS:
        raise _unknown_form()
    decoder = ThreadDecoder(_REFERENCE, length, steps)
    references = np.zeros(count, _REFERENCE)
    infos: List[Any] = []

    def note(info: Any) -> Optional[bool]:
        if info.chunk_offset[0] < count:
            infos.append(info)
        return True if len(infos) > _MAX_CHUNKS else None

    strings.id.chunk_iter(note)
    for info in infos:
        target = references[info.chunk_offset[0] :][:length]
        stored = read_bytes(info.byte_offset, info.byte_offset + min(info.size, _MAX_CHUNK_BYTES))
        try:
            target[:] = decoder.decode([memoryview(stored)], info.filter_mask)[: len(target)]
        except UndecodableError:
            raise _damage() from None
    return references


def _damage() -> NwbError:
    return NwbError("the file is damaged: a heap of variable-length texts in it is broken")


def _unknown_form() -> NwbError:
    return NwbError("the file has texts in a form that is not supported")
