"""Filters of HDF5 datasets: which are known, and which can be undone in threads.

HDF5 brings some of them, and the package hdf5plugin brings five more. They are libraries, which
HDF5 would load from wherever the environment says: here they come from that package only.
"""

from typing import Any, Dict, List, Optional, Tuple

import h5py

from devaria.common.text import one_line
from devaria.nwb.decoding.codecs import Step
from devaria.nwb.errors import NwbError

BLOSC, LZ4, BITSHUFFLE, ZSTD, BLOSC2 = 32001, 32004, 32008, 32015, 32026

#: The filters that hdf5plugin brings, by their codes (HDF5's list of registered filters).
PLUGINS: Dict[int, str] = {
    BLOSC: "Blosc",
    LZ4: "LZ4",
    BITSHUFFLE: "bitshuffle",
    ZSTD: "Zstd",
    BLOSC2: "Blosc2",
}

#: The filters of HDF5 itself, and of h5py (LZF).
_OWN = (
    h5py.h5z.FILTER_DEFLATE,
    h5py.h5z.FILTER_SHUFFLE,
    h5py.h5z.FILTER_FLETCHER32,
    h5py.h5z.FILTER_SZIP,
    h5py.h5z.FILTER_NBIT,
    h5py.h5z.FILTER_SCALEOFFSET,
    h5py.h5z.FILTER_LZF,
)

#: What ``ThreadDecoder`` can undo.
_COMPRESSED = {
    h5py.h5z.FILTER_DEFLATE: "zlib",
    BLOSC: "blosc",
    LZ4: "lz4 of HDF5",
    ZSTD: "zstd",
}

#: Each filter once, and in this order, as every writer has it.
_ORDER = ((h5py.h5z.FILTER_SHUFFLE,), tuple(_COMPRESSED), (h5py.h5z.FILTER_FLETCHER32,))


def filters_of(plist: Any) -> List[Tuple[int, int, Tuple[int, ...], bytes]]:
    """Return the filters of a dataset, in the order in which they were applied.

    Args:
        plist: How the dataset was made.

    Returns:
        For each, its code, flags, settings and label.
    """
    return [plist.get_filter(place) for place in range(plist.get_nfilters())]


def refuse_unknown_filters(dataset: h5py.Dataset, name: str) -> None:
    """Refuse a dataset that cannot be decoded here. Filters of hdf5plugin are loaded.

    Args:
        dataset: Any dataset.
        name: Its name, for the error.

    Raises:
        NwbError: One of its filters is not known, or not installed.
    """
    for code, _, _, label in filters_of(dataset.id.get_create_plist()):
        if code in PLUGINS:
            if not _loaded_plugin(code):
                raise NwbError(
                    f"{name} is compressed by the filter {PLUGINS[code]} ({code}), which is not "
                    'installed on the runner: pip install "devaria[filters]"'
                )
        elif code not in _OWN or not h5py.h5z.filter_avail(code):
            shown = one_line(label.decode("ascii", "replace"))
            raise NwbError(f"{name} is compressed by a filter not known here: {code} ({shown})")


def _loaded_plugin(code: int) -> bool:
    if not hasattr(h5py.h5z, "filter_avail"):
        return False
    while h5py.h5pl.size():  # folders of the system, and of HDF5_PLUGIN_PATH
        h5py.h5pl.remove(0)
    try:
        import hdf5plugin  # noqa: F401 - this loads its libraries, by their paths
    except ImportError:
        return False
    return bool(h5py.h5z.filter_avail(code))


def restore_options(plist: Any) -> None:
    """Undo what a filter did to its options when the dataset was made: it will do so again.

    Args:
        plist: How a dataset was made, a copy of which another one will be made with.
    """
    filters = filters_of(plist)
    if not any(each[0] == BITSHUFFLE for each in filters):
        return
    for code, _, _, _ in filters:
        plist.remove_filter(code)
    for code, flags, settings, _ in filters:
        # bitshuffle puts three of its own before them.
        plist.set_filter(code, flags, settings[3:] if code == BITSHUFFLE else settings)


def thread_steps(dataset: h5py.Dataset, item_bytes: int) -> Optional[List[Step]]:
    """Return the filters of a dataset, if ``ThreadDecoder`` supports all of them.

    Args:
        dataset: Any dataset.
        item_bytes: Length of a stored value.

    Returns:
        The filters, in the order in which they were applied; None if any is not supported.
    """
    steps: List[Step] = []
    allowed = list(_ORDER)
    for code, _, settings, _ in filters_of(dataset.id.get_create_plist()):
        while allowed and code not in allowed[0]:
            del allowed[0]
        if not allowed:
            return None
        del allowed[0]
        if code == h5py.h5z.FILTER_SHUFFLE:
            if tuple(settings) != (item_bytes,):
                return None
            steps.append(Step("shuffle", item_bytes))
        else:
            steps.append(Step(_COMPRESSED.get(code, "fletcher32")))
    return steps
