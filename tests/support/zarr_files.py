"""Zarr and LINDI forms of HDF5 files for tests, as the files of a server."""

import base64
import json
import warnings
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import h5py
import numpy as np
import zarr

#: The formats that the installed zarr can write: zarr 2 knows the first only.
IS_ZARR_3 = int(zarr.__version__.split(".")[0]) >= 3
FORMATS = (2, 3) if IS_ZARR_3 else (2,)

#: Returns options of zarr for a dataset, by its path.
Options = Callable[[str], Dict[str, Any]]


def zarr_files(
    content: h5py.File,
    folder: Path,
    *,
    version: int = 2,
    is_consolidated: bool = True,
    options: Options = lambda _path: {},
) -> Dict[str, bytes]:
    """Write a Zarr form of an HDF5 file, with links and single values as hdmf-zarr has them.

    Args:
        content: The open file.
        folder: A folder that is not there yet.
        version: Version of the format.
        is_consolidated: Whether one document holds all.
        options: Options of zarr for a dataset, by its path.

    Returns:
        The objects by their keys.
    """
    told = {"zarr_format": version} if IS_ZARR_3 else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root = zarr.open_group(str(folder), mode="w", **told)
        _copy(content, root, options)
        if is_consolidated:
            zarr.consolidate_metadata(str(folder), **told)
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _copy(source: h5py.Group, target: Any, options: Options) -> None:
    links = []
    target.attrs.update({name: _plain(source.attrs[name]) for name in source.attrs})
    for name in source:
        link = source.get(name, getlink=True)
        if isinstance(link, h5py.SoftLink):
            links.append({"name": name, "source": ".", "path": link.path})
        elif isinstance(source[name], h5py.Group):
            _copy(source[name], target.create_group(name), options)
        else:
            _copy_values(source[name], target, name, options(source[name].name))
    if links:
        target.attrs["zarr_link"] = links


def _copy_values(source: h5py.Dataset, target: Any, name: str, told: Dict[str, Any]) -> None:
    is_text = h5py.check_string_dtype(source.dtype) is not None and source.dtype.kind == "O"
    values: Any = source.asstr()[...] if is_text else source[...]
    values = np.asarray(values).reshape(source.shape or (1,))
    told = {"chunks": source.chunks or values.shape, **told}
    if any(length == 0 for length in told["chunks"]):
        told["chunks"] = tuple(max(1, length) for length in told["chunks"])
    if is_text:
        dtype: Any = str
    else:
        dtype = values.dtype
    if IS_ZARR_3:
        made = target.create_array(name, shape=values.shape, dtype=dtype, **told)
    else:
        made = target.create_dataset(name, shape=values.shape, dtype=dtype, **told)
    if values.size:
        made[...] = values.astype(object) if is_text else values
    attributes = {key: _plain(source.attrs[key]) for key in source.attrs}
    if source.shape == ():
        attributes["zarr_dtype"] = "scalar"
    made.attrs.update(attributes)


def _plain(value: Any) -> Any:
    if isinstance(value, h5py.Reference):
        return {"_REFERENCE": {"path": "/"}}
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return value


def lindi_of(
    content: h5py.File, url: str, *, most_chunks: int = 1000, inline_bytes: int = 64
) -> Dict[str, Any]:
    """Return a LINDI form of an HDF5 file, as the package lindi writes it.

    Args:
        content: The open file.
        url: Where the file will be.
        most_chunks: A dataset of more chunks refers to the HDF5 file as a whole.
        inline_bytes: Contiguous datasets up to this length are in the JSON.
    """
    refs: Dict[str, Any] = {".zgroup": {"zarr_format": 2}, ".zattrs": _attributes(content)}

    def add(path: str, parent: h5py.Group) -> None:
        for name in parent:
            link = parent.get(name, getlink=True)
            here = f"{path}{name}"
            if isinstance(link, h5py.SoftLink):
                refs[f"{here}/.zgroup"] = {"zarr_format": 2}
                refs[f"{here}/.zattrs"] = {"_SOFT_LINK": {"path": link.path}}
            elif isinstance(parent[name], h5py.Group):
                refs[f"{here}/.zgroup"] = json.dumps({"zarr_format": 2})
                refs[f"{here}/.zattrs"] = _attributes(parent[name])
                add(f"{here}/", parent[name])
            else:
                _refer(refs, here, parent[name], url, most_chunks, inline_bytes)

    add("", content)
    return {"templates": {"u1": url}, "refs": refs}


def _attributes(thing: Any) -> Dict[str, Any]:
    return {name: _plain(thing.attrs[name]) for name in thing.attrs}


def _refer(
    refs: Dict[str, Any],
    path: str,
    dataset: h5py.Dataset,
    url: str,
    most_chunks: int,
    inline_bytes: int,
) -> None:
    attributes = _attributes(dataset)
    is_text = h5py.check_string_dtype(dataset.dtype) is not None
    is_inline = is_text or dataset.shape == () or dataset.id.get_offset() is not None
    is_inline &= is_text or dataset.nbytes <= inline_bytes
    shape = list(dataset.shape or (1,))
    document = {
        "zarr_format": 2,
        "shape": shape,
        "chunks": [max(1, length) for length in dataset.chunks or shape],
        "dtype": "|O" if is_text else dataset.dtype.str,
        "compressor": None,
        "filters": [{"id": "json2"}] if is_text else _filters(dataset),
        "order": "C",
        "fill_value": None if is_text else dataset.fillvalue.tolist(),
    }
    if dataset.shape == ():
        attributes["_SCALAR"] = True
    first = ".".join("0" for _ in shape)
    if is_text:
        values = np.asarray(dataset.asstr()[...], dtype=object).reshape(shape)
        refs[f"{path}/{first}"] = json.dumps([*values.tolist(), "|O", shape])
    elif is_inline:
        encoded = base64.b64encode(dataset[...].tobytes()).decode("ascii")
        refs[f"{path}/{first}"] = f"base64:{encoded}"
    elif dataset.chunks:
        infos: List[Any] = []
        dataset.id.chunk_iter(infos.append)
        if len(infos) > most_chunks:
            link = {"link_type": "hdf5_dataset", "url": url, "name": path}
            attributes["_EXTERNAL_ARRAY_LINK"] = link
            infos = []
        for info in infos:
            place = [a // b for a, b in zip(info.chunk_offset, dataset.chunks)]
            key = f"{path}/{'.'.join(map(str, place))}"
            refs[key] = ["{{u1}}", info.byte_offset, info.size]
    elif dataset.size:
        # A long contiguous dataset in pieces; the last one is shorter than the others.
        rows = -(-shape[0] // 3)
        document["chunks"] = [rows, *shape[1:]]
        row_bytes = dataset.nbytes // shape[0]
        for number, row in enumerate(range(0, shape[0], rows)):
            start = dataset.id.get_offset() + row * row_bytes
            length = min(rows, shape[0] - row) * row_bytes
            key = ".".join([str(number), *("0" for _ in shape[1:])])
            refs[f"{path}/{key}"] = ["{{u1}}", start, length]
    refs[f"{path}/.zarray"] = json.dumps(document)
    refs[f"{path}/.zattrs"] = attributes


def _filters(dataset: h5py.Dataset) -> Optional[List[Dict[str, Any]]]:
    filters: List[Dict[str, Any]] = []
    if dataset.shuffle:
        filters.append({"id": "shuffle", "elementsize": dataset.dtype.itemsize})
    if dataset.compression == "gzip":
        filters.append({"id": "zlib", "level": 4})
    if dataset.fletcher32:
        filters.append({"id": "fletcher32"})
    return filters or None


def tar_of(members: Dict[str, bytes], *, has_index: bool = True) -> bytes:
    """Return a tar archive as LINDI writes it: its first member tells where its index lies."""
    names = [".tar_entry.json", ".tar_index.json", *members] if has_index else list(members)
    lengths = {".tar_entry.json": 1024, ".tar_index.json": 4096 + 200 * len(members)}
    files, at = [], 0
    for name in names:
        length = len(members[name]) if name in members else lengths[name]
        files.append({"n": name, "o": at, "d": at + 512, "s": length})
        at += 512 + length + -length % 512
    own: Dict[str, bytes] = {}
    if has_index:
        entry = json.dumps({"index": files[1]}).encode().ljust(1024)
        index = json.dumps({"files": files}).encode().ljust(lengths[".tar_index.json"])
        own = {".tar_entry.json": entry, ".tar_index.json": index}
    parts = []
    for each in files:
        content = members.get(each["n"], b"") or own[each["n"]]
        header = bytearray(512)
        header[: len(each["n"])] = each["n"].encode()
        header[124:136] = b"%011o\0" % len(content)
        header[156:157] = b"0"
        header[257:265] = b"ustar\x0000"
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        parts.append(bytes(header) + content + bytes(-len(content) % 512))
    return b"".join(parts) + bytes(1024)
