"""The length that compressed bytes declare for what they hold. Nothing is decompressed.

What decompresses them takes that much memory before it looks any further.
"""

from typing import NamedTuple, Optional


class BloscLengths(NamedTuple):
    """The lengths in a Blosc header.

    Attributes:
        decoded: Length of what is compressed.
        stored: Length of the compressed bytes, with the header.
    """

    decoded: int
    stored: int


def blosc_lengths(content: memoryview) -> Optional[BloscLengths]:
    """Read the header of Blosc or Blosc2 (c-blosc, README_CHUNK_FORMAT; both have these fields).

    Args:
        content: Compressed bytes.

    Returns:
        The lengths; None if the bytes are too short for a header.
    """
    if len(content) < 16:
        return None
    return BloscLengths(
        int.from_bytes(content[4:8], "little"), int.from_bytes(content[12:16], "little")
    )


def zstd_length(content: memoryview) -> Optional[int]:
    """Read the content size of the first Zstandard frame (RFC 8878, 3.1.1.1).

    Args:
        content: Compressed bytes.

    Returns:
        The length; None if the frame does not tell it, or the bytes are none.
    """
    if bytes(content[:4]) != b"\x28\xb5\x2f\xfd" or len(content) < 5:
        return None
    descriptor = content[4]
    is_single = descriptor >> 5 & 1
    size_bytes = (is_single, 2, 4, 8)[descriptor >> 6]
    start = 5 + (1 - is_single) + (0, 1, 2, 4)[descriptor & 3]
    field = content[start : start + size_bytes]
    if not size_bytes or len(field) < size_bytes:
        return None
    return int.from_bytes(field, "little") + (256 if size_bytes == 2 else 0)


def blosc2_frame_lengths(content: memoryview) -> Optional[BloscLengths]:
    """Read the header of a contiguous Blosc2 frame, and of its first chunk (README_CFRAME_FORMAT).

    Args:
        content: A frame.

    Returns:
        The longer of the two decoded lengths, and the length of the frame; None if it is no frame.
    """
    if bytes(content[2:10]) != b"b2frame\0" or len(content) < 48:
        return None
    header_bytes = int.from_bytes(content[11:15], "big")
    chunk = blosc_lengths(content[header_bytes:])
    if chunk is None:
        return None
    decoded = max(int.from_bytes(content[30:38], "big"), chunk.decoded)
    return BloscLengths(decoded, int.from_bytes(content[16:24], "big"))


def blocks_length(content: memoryview, item_bytes: int = 0) -> Optional[int]:
    """Read the lengths of blocks, as HDF5's filters LZ4 and bitshuffle have them.

    Args:
        content: The length of all in 8 bytes, that of a block in 4, and each block behind its
            length as it is stored; the most significant byte first.
        item_bytes: Length of a value, for bitshuffle: it leaves out up to seven at the end.

    Returns:
        The length of all; None if a block lies beyond the end of the bytes.
    """
    decoded, block = int.from_bytes(content[:8], "big"), int.from_bytes(content[8:12], "big")
    if len(content) < 12 or (decoded and not block):
        return None
    whole = decoded - decoded % (8 * item_bytes) if item_bytes else decoded
    at, left = 12, -(-whole // max(1, block))
    while left and at + 4 <= len(content):
        at, left = at + 4 + int.from_bytes(content[at : at + 4], "big"), left - 1
    return decoded if not left and at + decoded - whole <= len(content) else None
