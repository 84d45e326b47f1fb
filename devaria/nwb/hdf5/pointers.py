"""Find the addresses that HDF5 will read next in the metadata that it reads now.

The results only say what to fetch ahead. HDF5 itself still reads what it reads, so a wrong address
costs a request and nothing else (HDF5 File Format Specification, III and IV).
"""

import struct
from contextlib import suppress
from typing import Callable, Dict, Iterator, List, NamedTuple

#: Lengths of nodes with the numbers of entries that HDF5 itself writes.
_GROUP_TREE_BYTES, _SYMBOLS_BYTES, _HEAP_BYTES, _COLLECTION_BYTES = 544, 328, 32, 4096

#: HDF5 reads this much of an object header first.
_HEADER_BYTES = 512

#: Entries of a node in an index of chunks.
CHUNK_ENTRIES = 64

#: Longer blocks of an extensible array are divided into pages.
_MAX_ELEMENTS_UNPAGED = 1024

#: Longest piece that is fetched ahead for one address.
_MAX_BYTES = 256 * 1024

#: Most addresses that are taken from one piece.
_MAX_POINTERS = 4_096

_U64 = struct.Struct("<Q")


class Pointer(NamedTuple):
    """The address of a piece of metadata.

    Attributes:
        kind: What lies there: a key of `_PARSERS`, or ``"raw"`` for what is not looked into.
        address: Offset of its first byte.
        num_bytes: How long it is at least.
        levels: How many levels of groups below it are wanted.
        axes: In an index of chunks: the number of axes, with that of the bytes of a value.
    """

    kind: str
    address: int
    num_bytes: int
    levels: int = 0
    axes: int = 0


class Wanted(NamedTuple):
    """What is fetched ahead of a dataset.

    Attributes:
        has_index: Whether the indexes of chunks are wanted.
        stop_row: The row from which on chunks are not wanted. HDF5 looks through an index from its
            start.
    """

    has_index: bool = False
    stop_row: int = 2**63


def header(address: int, levels: int) -> Pointer:
    """Point to the header of a group or dataset.

    Args:
        address: Its address, as ``h5py.h5o.get_info`` gives it.
        levels: How many levels of groups below it are wanted.
    """
    return Pointer("header", address, _HEADER_BYTES, levels)


def pointers_in(pointer: Pointer, content: bytes, wanted: Wanted) -> List[Pointer]:
    """Find the addresses in a piece of metadata.

    Args:
        pointer: What the piece is.
        content: Its bytes: ``pointer.num_bytes`` or more, if the file is that long.
        wanted: What is wanted of a dataset.

    Returns:
        What HDF5 will read next. The same piece again, with its true length, if it is longer.
    """
    found: List[Pointer] = []
    parse = _PARSERS.get(pointer.kind)
    # A damaged piece ends the search in it.
    with suppress(struct.error, IndexError, StopIteration):
        for each in parse(pointer, content, wanted) if parse else ():
            if len(found) < _MAX_POINTERS and each.num_bytes <= _MAX_BYTES:
                found.append(each)
    return found


def _header(pointer: Pointer, content: bytes, wanted: Wanted) -> Iterator[Pointer]:
    if content[:4] == b"OHDR":
        flags = content[5]
        at = 6 + 16 * (flags >> 5 & 1) + 4 * (flags >> 4 & 1)
        length_bytes = 1 << (flags & 3)
        length = int.from_bytes(content[at : at + length_bytes], "little")
        start, has_order = at + length_bytes, flags >> 2 & 1
    else:
        start, length, has_order = 16, struct.unpack_from("<I", content, 8)[0], -1
    if start + length > len(content) and pointer.num_bytes < start + length:
        yield pointer._replace(num_bytes=start + length)
        return
    yield from _messages(pointer, content[start : start + length], has_order, wanted)


def _continuation(pointer: Pointer, content: bytes, wanted: Wanted) -> Iterator[Pointer]:
    content = content[: pointer.num_bytes]
    if content[:4] == b"OCHK":
        yield from _messages(pointer, content[4:-4], pointer.axes, wanted)
    else:
        yield from _messages(pointer, content, -1, wanted)


def _messages(
    pointer: Pointer, content: bytes, has_order: int, wanted: Wanted
) -> Iterator[Pointer]:
    """Step through the messages of a header; ``has_order`` is -1 in the first format."""
    at = 0
    while at + 4 <= len(content):
        if has_order < 0:
            kind, length = struct.unpack_from("<HH", content, at)
            at += 8
        else:
            kind, length = struct.unpack_from("<BH", content, at)
            at += 4 + 2 * has_order
        body = content[at : at + length]
        at += length
        if kind == 0x10:
            address, num_bytes = struct.unpack_from("<QQ", body)
            yield Pointer("continuation", address, num_bytes, pointer.levels, has_order)
        elif kind in _MESSAGES:
            with suppress(struct.error, IndexError):  # the next message may be whole
                yield from _MESSAGES[kind](pointer, body, wanted)


def _symbol_table(pointer: Pointer, body: bytes, _wanted: Wanted) -> Iterator[Pointer]:
    if pointer.levels:
        tree, heap = struct.unpack_from("<QQ", body)
        yield from _group(tree, heap, pointer.levels)


def _group(tree: int, heap: int, levels: int) -> Iterator[Pointer]:
    yield Pointer("group tree", tree, _GROUP_TREE_BYTES, levels)
    yield Pointer("heap", heap, _HEAP_BYTES)


def _link(pointer: Pointer, body: bytes, _wanted: Wanted) -> Iterator[Pointer]:
    flags = body[1]
    at = 2
    kind = 0
    if flags & 8:
        kind, at = body[at], at + 1
    at += 8 * (flags >> 2 & 1) + (flags >> 4 & 1)
    size_bytes = 1 << (flags & 3)
    at += size_bytes + int.from_bytes(body[at : at + size_bytes], "little")
    if kind == 0 and pointer.levels:
        yield header(_U64.unpack_from(body, at)[0], pointer.levels - 1)


def _layout(_pointer: Pointer, body: bytes, wanted: Wanted) -> Iterator[Pointer]:
    if not wanted.has_index:
        return
    if body[0] in (1, 2) and body[2] == 2:
        yield _chunk_tree(_U64.unpack_from(body, 8)[0], body[1])
    elif body[0] == 3 and body[1] == 2:
        yield _chunk_tree(_U64.unpack_from(body, 3)[0], body[2])
    elif body[0] in (4, 5) and body[1] == 2:
        flags, axes, length_bytes = body[2:5]
        at = 5 + axes * length_bytes
        kind = body[at]
        # What stands between the kind and the address: of one chunk, its size if it is filtered.
        at += 1 + {1: 12 * (flags >> 1 & 1), 3: 1, 4: 5, 5: 6}.get(kind, 0)
        if kind in (3, 4, 5):
            name = {3: "fixed array", 4: "extensible array"}.get(kind, "raw")
            yield Pointer(name, _U64.unpack_from(body, at)[0], 128)


def _chunk_tree(address: int, axes: int) -> Pointer:
    key_bytes = 8 + 8 * axes
    num_bytes = 24 + CHUNK_ENTRIES * (key_bytes + 8) + key_bytes
    return Pointer("chunk tree", address, num_bytes, axes=axes)


def _attribute(_pointer: Pointer, body: bytes, _wanted: Wanted) -> Iterator[Pointer]:
    version, _, *lengths = struct.unpack_from("<BBHHH", body)
    at = 9 if version == 3 else 8
    type_at = at + (_padded(lengths[0]) if version == 1 else lengths[0])
    at += sum(map(_padded, lengths) if version == 1 else lengths)
    if body[type_at] & 15 != 9:  # values of variable length
        return
    for place in range(at, len(body) - 15, 16):
        yield Pointer("raw", _U64.unpack_from(body, place + 4)[0], _COLLECTION_BYTES)


def _padded(length: int) -> int:
    return (length + 7) // 8 * 8


def _group_tree(pointer: Pointer, content: bytes, _wanted: Wanted) -> Iterator[Pointer]:
    if content[:5] != b"TREE\0":
        return
    level, count = struct.unpack_from("<BH", content, 5)
    for at in range(32, 32 + 16 * count, 16):
        address = _U64.unpack_from(content, at)[0]
        if level:
            yield pointer._replace(address=address)
        else:
            yield Pointer("symbols", address, _SYMBOLS_BYTES, pointer.levels)


def _symbols(pointer: Pointer, content: bytes, _wanted: Wanted) -> Iterator[Pointer]:
    if content[:4] != b"SNOD":
        return
    count = struct.unpack_from("<H", content, 6)[0]
    for at in range(8, 8 + 40 * count, 40):
        _, address, cached, _, tree, heap = struct.unpack_from("<QQIIQQ", content, at)
        if cached != 2:  # a soft link
            yield header(address, pointer.levels - 1)
        if cached == 1 and pointer.levels > 1:
            yield from _group(tree, heap, pointer.levels - 1)


def _heap(_pointer: Pointer, content: bytes, _wanted: Wanted) -> Iterator[Pointer]:
    if content[:4] == b"HEAP":
        num_bytes, _, address = struct.unpack_from("<QQQ", content, 8)
        yield Pointer("raw", address, num_bytes)


def _chunks(pointer: Pointer, content: bytes, wanted: Wanted) -> Iterator[Pointer]:
    if content[:5] != b"TREE\1":
        return
    level, count = struct.unpack_from("<BH", content, 5)
    step = 16 + 8 * pointer.axes
    for at in range(24, 24 + step * count, step) if level else ():
        # The key before a child is the place of the first chunk in it. Leaves point to chunks only.
        if _U64.unpack_from(content, at + 8)[0] < wanted.stop_row:
            address = _U64.unpack_from(content, at + step - 8)[0]
            yield pointer._replace(address=address, kind="raw" if level == 1 else pointer.kind)


def _fixed_array(_pointer: Pointer, content: bytes, _wanted: Wanted) -> Iterator[Pointer]:
    if content[:4] == b"FAHD":
        entry_bytes, _, count, address = struct.unpack_from("<BBQQ", content, 6)
        yield Pointer("raw", address, min(32 + entry_bytes * count, _MAX_BYTES))


def _extensible_array(_pointer: Pointer, content: bytes, _wanted: Wanted) -> Iterator[Pointer]:
    if content[:4] == b"EAHD":
        element_bytes, _, elements, _, pointers = struct.unpack_from("<5B", content, 6)
        address = _U64.unpack_from(content, 60)[0]
        start = 14 + element_bytes * elements
        yield Pointer("index block", address, start + 16 * pointers + 256, pointers, start)


def _index_block(pointer: Pointer, content: bytes, _wanted: Wanted) -> Iterator[Pointer]:
    """Find the first blocks of an array. With each second one, the blocks double in length."""
    if content[:4] != b"EAIB":
        return
    num_direct = 2 * (pointer.levels - 1)
    for number, at in enumerate(range(pointer.axes, pointer.num_bytes - 8, 8)):
        address = _U64.unpack_from(content, at)[0]
        if number < num_direct:
            yield Pointer("raw", address, 4096)
        else:
            level = number - num_direct + 2 * (pointer.levels.bit_length() - 1)
            num_bytes = 32 + 8 * (1 << level // 2)
            yield Pointer("super block", address, num_bytes, axes=level)


def _super_block(pointer: Pointer, content: bytes, _wanted: Wanted) -> Iterator[Pointer]:
    elements = 16 << (pointer.axes + 1) // 2
    if content[:4] == b"EASB" and elements <= _MAX_ELEMENTS_UNPAGED:
        for at in range(18, 18 + 8 * (1 << pointer.axes // 2), 8):
            yield Pointer("raw", _U64.unpack_from(content, at)[0], 32 + 24 * elements)


_Parser = Callable[[Pointer, bytes, Wanted], Iterator[Pointer]]

_MESSAGES: Dict[int, _Parser] = {
    0x06: _link,
    0x08: _layout,
    0x0C: _attribute,
    0x11: _symbol_table,
}

_PARSERS: Dict[str, _Parser] = {
    "header": _header,
    "continuation": _continuation,
    "group tree": _group_tree,
    "symbols": _symbols,
    "heap": _heap,
    "chunk tree": _chunks,
    "fixed array": _fixed_array,
    "extensible array": _extensible_array,
    "index block": _index_block,
    "super block": _super_block,
}
