"""Read arrays of texts, in bounded memory."""

import bz2
import json
import zlib
from itertools import islice
from typing import Any, Iterator, List, Optional

import numpy as np
import numpy.typing as npt

from devaria.common.text import one_line
from devaria.nwb.decoding.codecs import COMPRESSORS, Step, UndecodableError
from devaria.nwb.decoding.declared import blosc_lengths, zstd_length
from devaria.nwb.errors import NwbError
from devaria.nwb.zarr.ahead import Ahead
from devaria.nwb.zarr.chunks import ChunkDecoder, chunk_fetches
from devaria.nwb.zarr.documents import Array
from devaria.nwb.zarr.stores import Store

#: The longest chunk of texts, decoded. A chunk is read as a whole.
_MAX_CHUNK_BYTES = 8 * 1024 * 1024


def read_texts(
    store: Store, ahead: Ahead, array: Array, most_texts: int, most_characters: int
) -> List[str]:
    """Read an array of texts.

    Args:
        store: Has the chunks.
        ahead: Fetches them.
        array: The array.
        most_texts: How many texts it may have.
        most_characters: How many characters one may have, and, times 100, all together.

    Returns:
        The texts; one, if the array is a single text.

    Raises:
        NwbError: It holds no texts, too many or too long ones, or cannot be read.
    """
    shown = one_line(f"/{array.path}")
    if array.kind != "text" or len(array.grid) > 1:
        raise NwbError(f"{shown} is not a list of texts")
    if array.fault:
        raise NwbError(f"{shown} {array.fault}")
    count = array.grid[0] if array.grid else 1
    if count > most_texts or array.chunk_bytes > _MAX_CHUNK_BYTES:
        raise NwbError(f"{shown} has more than {most_texts:,} texts, or too long ones")
    length = array.chunks[0] if array.chunks else 1
    num_chunks = -(-count // length)
    places = [(number,) if array.grid else () for number in range(num_chunks)]
    plan = ahead.plan(chunk_fetches(store, array, iter(places)))
    texts: List[str] = []
    room = 100 * most_characters
    for number in range(num_chunks):
        for text in _chunk(array, plan.read(), length)[: count - number * length]:
            room -= len(text)
            if room < 0 or len(text) > most_characters:
                raise NwbError(f"{shown} has too long texts")
            texts.append(text)
    return texts


def _chunk(array: Array, stored: Optional[memoryview], length: int) -> List[str]:
    if stored is None:
        fill = array.fill if array.dtype is not None else array.fill or ""
        return [_text(fill.item() if isinstance(fill, (np.ndarray, np.generic)) else fill)] * length
    try:
        if array.dtype is not None:
            values: npt.NDArray[Any] = ChunkDecoder(array, array.dtype, may_be_short=False).decode(
                [stored], 0
            )
            return [_text(each) for each in values.ravel().tolist()]
        content = bytes(_decompressed(stored, array.codecs.steps))
        if array.codecs.text in ("json", "json2"):
            return _from_json(content)
        return list(islice(_with_lengths(content), length))
    except (UndecodableError, ValueError, IndexError, RecursionError):
        raise NwbError(f"{one_line('/' + array.path)} is damaged: a chunk is broken") from None


def _decompressed(stored: memoryview, steps: "tuple[Step, ...]") -> memoryview:
    """Undo compression of bytes whose length is not known before."""
    for step in reversed(steps):
        if step.name not in COMPRESSORS:
            raise UndecodableError
        length = _length(stored, step.name)
        if length > _MAX_CHUNK_BYTES:
            raise NwbError("the file is damaged: a chunk of texts is far longer than it may be")
        target = memoryview(bytearray(length))
        COMPRESSORS[step.name]([stored], target)
        stored = target
    return stored


def _length(stored: memoryview, name: str) -> int:
    """Return how long bytes become, as far as that is allowed."""
    if name == "blosc":
        lengths = blosc_lengths(stored)
        return lengths.decoded if lengths else 0
    if name == "zstd":
        return zstd_length(stored) or 0
    if name == "lz4":
        return int.from_bytes(stored[:4], "little")
    inflater: Any = bz2.BZ2Decompressor()
    if name != "bz2":
        inflater = zlib.decompressobj(zlib.MAX_WBITS + (16 if name == "gzip" else 0))
    try:
        return len(inflater.decompress(stored, _MAX_CHUNK_BYTES + 1))
    except (zlib.error, OSError):
        raise UndecodableError from None


def _from_json(content: bytes) -> List[str]:
    """Texts as numcodecs' JSON has them: the items, the type and the shape."""
    items = json.loads(content)
    if not isinstance(items, list) or len(items) < 2:
        raise UndecodableError
    texts = items[:-2]
    if len(texts) == 1 and isinstance(texts[0], list):
        texts = texts[0]
    if not all(isinstance(each, str) for each in texts):
        raise UndecodableError
    return texts


def _with_lengths(content: bytes) -> Iterator[str]:
    """Texts as numcodecs' VLenUTF8 has them: their number, and each behind its length."""
    count, at = int.from_bytes(content[:4], "little"), 4
    for _ in range(count):
        length = int.from_bytes(content[at : at + 4], "little")
        text = content[at + 4 : at + 4 + length]
        if at + 4 > len(content) or len(text) != length:
            raise UndecodableError
        yield text.decode("utf-8", "backslashreplace")
        at += 4 + length


def _text(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
