"""Check the variable-length strings of an HDF5 file before HDF5 reads them.

They are stored in "global heap collections". HDF5 steps from object to object in a collection by
the lengths that the file gives. A length of 0 makes it loop for ever, in C code that Python cannot
stop (seen with HDF5 2.0; HDF5 File Format Specification, III.E).
"""

import struct
from typing import Any, Callable, List

import h5py
import numpy as np
import numpy.typing as npt

from devaria.nwb.errors import NwbError
from devaria.nwb.hdf5.chunks import ThreadDecoder, UndecodableError, thread_filters

#: A column stores such a reference for each string: its length, the address of its collection, and
#: the number of its object there.
_REFERENCE = np.dtype([("length", "<u4"), ("address", "<u8"), ("number", "<u4")])

_COLLECTION_HEAD = struct.Struct("<4sB3xQ")
_OBJECT_HEAD = struct.Struct("<HHIQ")

#: Most bytes of all collections that one column refers to.
_MAX_HEAP_BYTES = 64 * 1024 * 1024

#: Returns the bytes of the file from one offset up to another.
ReadBytes = Callable[[int, int], bytes]


def refuse_broken_strings(
    strings: h5py.Dataset, rows: "npt.NDArray[np.int64]", max_length: int, read_bytes: ReadBytes
) -> None:
    """Check the strings of some rows of a column.

    Args:
        strings: A column of variable-length strings, opened by ``link_guard.safe_dataset``.
        rows: The rows that will be read, one or more.
        max_length: Longest string that is accepted, in bytes.
        read_bytes: Reads bytes of the file.

    Raises:
        NwbError: A string is broken, too long, or stored in a way that cannot be checked.
    """
    references = _references(strings, int(rows.max()) + 1, read_bytes)[rows]
    longest = int(references["length"].max())
    if longest > max_length:
        raise NwbError(f"a unit's id has {longest:,} characters")
    total_bytes = 0
    for address in np.unique(references["address"][references["length"] > 0]).tolist():
        total_bytes += _checked_collection(address, _MAX_HEAP_BYTES - total_bytes, read_bytes)


def _references(strings: h5py.Dataset, count: int, read_bytes: ReadBytes) -> "npt.NDArray[np.void]":
    filters = thread_filters(strings, _REFERENCE.itemsize)
    if filters is None or strings.file.id.get_create_plist().get_sizes() != (8, 8):
        raise _unknown_form()
    if strings.chunks:
        return _references_in_chunks(strings, count, filters, read_bytes)
    start = strings.id.get_offset()
    if start is None:
        raise _unknown_form()
    stored = read_bytes(start, start + count * _REFERENCE.itemsize)
    if len(stored) < count * _REFERENCE.itemsize:
        raise _damage()
    return np.frombuffer(stored, _REFERENCE)


def _references_in_chunks(
    strings: h5py.Dataset, count: int, filters: List[int], read_bytes: ReadBytes
) -> "npt.NDArray[np.void]":
    length: int = strings.chunks[0]
    if not hasattr(strings.id, "chunk_iter") or length * _REFERENCE.itemsize > _MAX_HEAP_BYTES:
        raise _unknown_form()
    decoder = ThreadDecoder(_REFERENCE, length, filters)
    references = np.zeros(count, _REFERENCE)
    infos: List[Any] = []
    strings.id.chunk_iter(infos.append)
    for info in infos:
        target = references[info.chunk_offset[0] :][:length]
        if len(target) == 0:
            continue
        stored = read_bytes(info.byte_offset, info.byte_offset + min(info.size, _MAX_HEAP_BYTES))
        try:
            target[:] = decoder.decode([memoryview(stored)], info.filter_mask)[: len(target)]
        except UndecodableError:
            raise _damage() from None
    return references


def _checked_collection(address: int, max_bytes: int, read_bytes: ReadBytes) -> int:
    """Step through a collection as HDF5 would, and return its length."""
    head = read_bytes(address, address + _COLLECTION_HEAD.size)
    if len(head) < _COLLECTION_HEAD.size:
        raise _damage()
    signature, version, size = _COLLECTION_HEAD.unpack(head)
    if signature != b"GCOL" or version != 1 or size > max_bytes:
        raise _damage()
    collection = read_bytes(address, address + size)
    if len(collection) != size:
        raise _damage()
    place = _COLLECTION_HEAD.size
    while place + _OBJECT_HEAD.size <= size:
        number, _, _, length = _OBJECT_HEAD.unpack_from(collection, place)
        # Object 0 is the free space at the end; its length includes its header.
        step = length if number == 0 else _OBJECT_HEAD.size + (length + 7) // 8 * 8
        if step < _OBJECT_HEAD.size or place + step > size:
            raise _damage()
        place += step
    return int(size)


def _damage() -> NwbError:
    return NwbError("the file is damaged: the strings of the units' ids are broken")


def _unknown_form() -> NwbError:
    return NwbError("the ids of the units are strings in a form that is not supported")
