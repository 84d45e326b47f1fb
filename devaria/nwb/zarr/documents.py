"""The metadata of one group or array, as Zarr 2 and Zarr 3 have them, checked.

(Zarr storage specification version 2; Zarr core specification version 3.0.)
"""

import base64
import math
import re
from dataclasses import dataclass
from typing import Any, List, Optional, Sequence, Tuple

import numpy as np

from devaria.common.text import one_line
from devaria.nwb.errors import NwbError
from devaria.nwb.zarr.codecs import Codecs, UnsupportedError, codecs_2, codecs_3
from devaria.nwb.zarr.stores import Document

_MAX_AXES = 16

#: Types of Zarr 2 that are numbers, or texts of one length.
_TYPE_2 = re.compile(r"[<>|](?:[biufc]\d{1,2}|[SU]\d{1,6})")
_TYPE_3 = re.compile(r"bool|u?int(?:8|16|32|64)|float(?:16|32|64)|complex(?:64|128)")

_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@dataclass(frozen=True)
class Group:
    """A group.

    Attributes:
        path: Its path, without a slash at the start; empty for the root.
        attributes: Its attributes, as JSON has them.
    """

    path: str
    attributes: Document


@dataclass(frozen=True)
class Array:
    """An array.

    Attributes:
        path: Its path, without a slash at the start.
        attributes: Its attributes, as JSON has them.
        shape: Lengths of its axes; empty for a single value.
        grid: The same as it is stored: a single value may have an axis.
        chunks: Lengths of the axes of a chunk that is decoded as one: of a shard's inner chunks.
        shards: Lengths of the axes of a stored object; the same as ``chunks`` without shards.
        dtype: Type of the values; None for others than numbers and texts of one length.
        kind: What `Node.dtype` has.
        codecs: What a chunk went through.
        fill: The value where nothing is stored.
        fault: Why the values cannot be read, if so.
    """

    path: str
    attributes: Document
    shape: Tuple[int, ...]
    grid: Tuple[int, ...]
    chunks: Tuple[int, ...]
    shards: Tuple[int, ...]
    dtype: "Optional[np.dtype[Any]]"
    kind: str
    codecs: Codecs
    fill: Any
    separator: str
    prefix: str
    fault: str = ""

    def key(self, place: Sequence[int]) -> str:
        """Return the key of a stored object.

        Args:
            place: Its number on each axis.
        """
        names = [str(each) for each in place]
        if self.prefix:
            return f"{self.path}/{self.separator.join([self.prefix, *names])}"
        return f"{self.path}/{self.separator.join(names) or '0'}"

    @property
    def chunk_length(self) -> int:
        """Number of values in a chunk."""
        return math.prod(self.chunks)

    @property
    def chunk_bytes(self) -> int:
        """Length of a decoded chunk, at least 1; of texts of any length, of their references."""
        return max(1, self.chunk_length * (self.dtype.itemsize if self.dtype else 16))


def keys_of(path: str, version: int) -> List[str]:
    """Return the keys of the documents that tell what is at a path.

    Args:
        path: The path, without a slash at the start.
        version: Version of the format.
    """
    start = f"{path}/" if path else ""
    names = ("zarr.json",) if version == 3 else (".zarray", ".zgroup", ".zattrs")
    return [start + name for name in names]


def node_of(path: str, documents: Sequence[Optional[Document]]) -> "Group | Array | None":
    """Tell what is at a path.

    Args:
        path: The path, without a slash at the start.
        documents: The documents of `keys_of`.

    Returns:
        The group or array; None if nothing is there.

    Raises:
        NwbError: The documents are damaged.
    """
    try:
        if len(documents) == 1:
            return _node_3(path, documents[0])
        array, group, attributes = documents
        if array is not None:
            return _array_2(path, array, _document(attributes or {}))
        return None if group is None else Group(path, _document(attributes or {}))
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, IndexError):
        raise NwbError(f"the metadata of {one_line('/' + path)} are damaged") from None


def _node_3(path: str, document: Optional[Document]) -> "Group | Array | None":
    if document is None:
        return None
    attributes = _document(document.get("attributes") or {})
    if document["node_type"] == "group":
        return Group(path, attributes)
    shape = _lengths(document["shape"], 0)
    shards = _lengths(document["chunk_grid"]["configuration"]["chunk_shape"], 1)
    name = document["data_type"]
    dtype, kind = _type_3(name)
    encoding = document["chunk_key_encoding"]
    separator = (encoding.get("configuration") or {}).get(
        "separator", "/" if encoding["name"] == "default" else "."
    )
    fault, codecs = "", Codecs()
    try:
        codecs = codecs_3(document["codecs"], dtype, len(shape))
    except UnsupportedError as error:
        fault = str(error)
    if dtype is not None and codecs.is_big and dtype.itemsize > 1:
        dtype = dtype.newbyteorder(">")
        kind = dtype.str if dtype.kind in "biufc" else kind
    if document.get("storage_transformers"):
        fault = "it has storage transformers"
    inner = codecs.inner_shape or shards
    return _made(
        path=path,
        attributes=attributes,
        grid=shape,
        chunks=inner,
        shards=shards,
        dtype=dtype,
        kind=kind,
        codecs=codecs,
        fill=document.get("fill_value"),
        separator=_separator(separator),
        prefix="c" if encoding["name"] == "default" else "",
        fault=fault,
    )


def _array_2(path: str, document: Document, attributes: Document) -> Array:
    shape = _lengths(document["shape"], 0)
    chunks = _lengths(document["chunks"], 1)
    dtype, kind = _type_2(document["dtype"])
    if "_COMPOUND_DTYPE" in attributes:
        kind, dtype = "compound", None
    fault, codecs = "", Codecs()
    try:
        filters, compressor = document.get("filters") or [], document.get("compressor")
        codecs = codecs_2(filters, compressor, dtype)
    except UnsupportedError as error:
        fault = str(error)
    if document.get("order") == "F":
        codecs = codecs.in_order(tuple(range(len(shape)))[::-1])
    return _made(
        path=path,
        attributes=attributes,
        grid=shape,
        chunks=chunks,
        shards=chunks,
        dtype=dtype,
        kind=kind,
        codecs=codecs,
        fill=document.get("fill_value"),
        separator=_separator(document.get("dimension_separator") or "."),
        prefix="",
        fault=fault,
    )


def _made(**fields: Any) -> Array:
    """Check what belongs together, and take values of one element for single values."""
    grid, attributes, dtype = fields["grid"], fields["attributes"], fields["dtype"]
    same_axes = len(grid) == len(fields["chunks"]) == len(fields["shards"])
    if not same_axes or any(a % b for a, b in zip(fields["shards"], fields["chunks"])):
        raise ValueError
    # hdmf-zarr and LINDI write single values as arrays of one.
    is_single = attributes.get("zarr_dtype") == "scalar" or attributes.get("_SCALAR") is True
    shape = () if is_single and grid == (1,) else grid
    if attributes.get("zarr_dtype") == "object":
        fields["kind"] = "reference"
    if dtype is not None:
        fields["fill"] = _fill(fields["fill"], dtype)
    return Array(shape=shape, **fields)


def _lengths(value: Any, least: int) -> Tuple[int, ...]:
    if not isinstance(value, list) or len(value) > _MAX_AXES:
        raise ValueError
    if not all(type(each) is int and least <= each < 2**62 for each in value):
        raise ValueError
    return tuple(value)


def _document(value: Any) -> Document:
    if not isinstance(value, dict):
        raise TypeError
    return value


def _separator(value: Any) -> str:
    if value not in (".", "/"):
        raise ValueError
    return str(value)


def _type_2(name: Any) -> "Tuple[Optional[np.dtype[Any]], str]":
    if isinstance(name, list):
        return None, "compound"
    if name == "|O":
        return None, "text"  # unless the codecs say otherwise
    if isinstance(name, str) and _TYPE_2.fullmatch(name):
        dtype = np.dtype(name)
        return dtype, "text" if dtype.kind in "SU" else dtype.str
    return None, "opaque"


def _type_3(name: Any) -> "Tuple[Optional[np.dtype[Any]], str]":
    if name == "string":
        return None, "text"
    if isinstance(name, str) and _TYPE_3.fullmatch(name):
        dtype = np.dtype(name)
        return dtype, dtype.str
    if isinstance(name, dict):
        kinds = {"fixed_length_utf32": "U", "null_terminated_bytes": "S"}
        kind = kinds.get(name["name"])
        length = (name.get("configuration") or {}).get("length_bytes")
        if kind and type(length) is int and 0 < length < 4_000_000:
            return np.dtype(f"<{kind}{length // 4 if kind == 'U' else length}"), "text"
        return None, "compound" if name["name"] == "structured" else "opaque"
    return None, "opaque"


def _fill(value: Any, dtype: "np.dtype[Any]") -> Any:
    if value is None:
        return np.zeros((), dtype)
    if dtype.kind == "U":
        return np.array(str(value), dtype)
    if dtype.kind == "S":
        return np.array(base64.b64decode(value), dtype)
    if isinstance(value, str) and value.startswith("0x"):  # the bits of a number
        bits = int(value, 16).to_bytes(dtype.itemsize, "big")
        return np.frombuffer(bits, dtype.newbyteorder(">"))[0]
    if isinstance(value, list):
        real, imaginary = map(_number, value)
        return np.array(real + 1j * imaginary, dtype)
    return np.array(_number(value)).astype(dtype)


def _number(value: Any) -> Any:
    return _SPECIAL[value] if isinstance(value, str) else value


#: What some attributes are to a library, and not to a reader.
HIDDEN_ATTRIBUTES = frozenset(
    (
        *("_ARRAY_DIMENSIONS", "_SCALAR", "_COMPOUND_DTYPE", "_SOFT_LINK"),
        *("_EXTERNAL_ARRAY_LINK", "zarr_dtype", "zarr_link"),
    )
)
