"""What the chunks of an array went through. Codecs are of a list: none of it runs a file's code."""

from dataclasses import dataclass, replace
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from devaria.common.text import one_line
from devaria.nwb.decoding.codecs import Step

#: The codecs of texts of any length.
TEXT_CODECS = ("vlen-utf8", "vlen-bytes", "json", "json2")

#: Codecs of bytes, by their names in Zarr 2 and 3.
_BYTES = ("zlib", "gzip", "bz2", "blosc", "zstd", "lz4", "fletcher32", "crc32c")

#: What comes before the names of numcodecs in Zarr 3.
_PREFIX = "numcodecs."


class UnsupportedError(Exception):
    """A codec is not known here, or not allowed. The text is the predicate of a sentence."""


@dataclass(frozen=True)
class Codecs:
    """What the chunks of an array went through.

    Attributes:
        steps: The filters, in the order in which they were applied.
        text: The codec of texts, before the steps; None for numbers and texts of one length.
        order: The axes of a chunk in the order in which they are stored; None for theirs.
        is_big: Whether numbers have their most significant byte first (Zarr 3).
        inner_shape: Lengths of the axes of a shard's inner chunks; None without shards.
        index_steps: What the index of a shard went through.
        index_first: Whether the index stands at the start of a shard.
    """

    steps: Tuple[Step, ...] = ()
    text: Optional[str] = None
    order: Optional[Tuple[int, ...]] = None
    is_big: bool = False
    inner_shape: Optional[Tuple[int, ...]] = None
    index_steps: Tuple[Step, ...] = ()
    index_first: bool = False

    def in_order(self, order: Tuple[int, ...]) -> "Codecs":
        """Return the same for chunks whose axes are stored in another order."""
        return replace(self, order=order)


def codecs_2(filters: Sequence[Any], compressor: Any, dtype: "Optional[np.dtype[Any]]") -> Codecs:
    """Read the codecs of an array of Zarr 2.

    Args:
        filters: Its filters, in the order in which they were applied.
        compressor: Its compressor, which was applied after them; None for none.
        dtype: Type of the values; None for texts of any length.

    Raises:
        UnsupportedError: One is not known here, or not allowed.
    """
    steps: List[Step] = []
    text = None
    for codec in [*filters, *([compressor] if compressor else [])]:
        name = codec["id"]
        if name in TEXT_CODECS and dtype is None and not steps and text is None:
            text = str(name)
        else:
            steps.append(_step(name, codec, dtype))
    if dtype is None and text is None:
        raise UnsupportedError("has values that are neither numbers nor texts")
    return Codecs(tuple(steps), text)


def codecs_3(codecs: Sequence[Any], dtype: "Optional[np.dtype[Any]]", axes: int) -> Codecs:
    """Read the codecs of an array of Zarr 3.

    Args:
        codecs: They, in the order in which they were applied.
        dtype: Type of the values; None for texts of any length.
        axes: How many axes it has.

    Raises:
        UnsupportedError: One is not known here, or not allowed.
    """
    found = Codecs()
    if codecs and codecs[0]["name"] == "sharding_indexed":
        return _sharded(codecs, dtype, axes)
    steps: List[Step] = []
    for codec in codecs:
        name, settings = codec["name"], codec.get("configuration") or {}
        if name == "transpose" and found.order is None and not steps:
            order = settings["order"]
            if order == "F":
                order = list(range(axes))[::-1]
            if order != "C":
                if sorted(order) != list(range(axes)):
                    raise ValueError
                found = found.in_order(tuple(order))
        elif name in ("bytes", "endian") and not steps:
            found = replace(found, is_big=settings.get("endian") == "big")
        elif name in TEXT_CODECS and dtype is None and not steps:
            found = replace(found, text=name)
        else:
            steps.append(_step(name, settings, dtype))
    if dtype is None and found.text is None:
        raise UnsupportedError("has values that are neither numbers nor texts")
    return replace(found, steps=tuple(steps))


def _sharded(codecs: Sequence[Any], dtype: "Optional[np.dtype[Any]]", axes: int) -> Codecs:
    if len(codecs) > 1:
        raise UnsupportedError("has codecs around its shards, which is not supported")
    settings = codecs[0]["configuration"]
    if any(each["name"] == "sharding_indexed" for each in settings["codecs"]):
        raise UnsupportedError("has shards in shards, which is not supported")
    inner = codecs_3(settings["codecs"], dtype, axes)
    index = codecs_3(settings["index_codecs"], np.dtype("<u8"), 1)
    shape = settings["chunk_shape"]
    if not all(type(each) is int and 0 < each < 2**62 for each in shape) or index.is_big:
        raise ValueError
    if any(step.name not in ("crc32c", "fletcher32") for step in index.steps):
        raise UnsupportedError("has a compressed index of its shards, which is not supported")
    return replace(
        inner,
        inner_shape=tuple(shape),
        index_steps=index.steps,
        index_first=settings.get("index_location", "end") == "start",
    )


def _step(name: Any, settings: Dict[str, Any], dtype: "Optional[np.dtype[Any]]") -> Step:
    known = name[len(_PREFIX) :] if isinstance(name, str) and name.startswith(_PREFIX) else name
    if known in _BYTES:
        return Step(known)
    if known == "shuffle":
        item_bytes = settings.get("elementsize", 4)
        if type(item_bytes) is not int or not 0 < item_bytes <= 1024:
            raise ValueError
        return Step("shuffle", item_bytes)
    if known == "delta" and dtype is not None and dtype.kind in "iuf":
        types = [settings.get(key) or dtype.str for key in ("dtype", "astype")]
        if all(np.dtype(str(each)) == dtype for each in types):
            return Step("delta")
    shown = one_line(str(name), 60)
    if known == "pickle":
        raise UnsupportedError(f"is written with the codec {shown}, which would run code: refused")
    raise UnsupportedError(f"is written with the codec {shown}, which is not known here")
