"""Name the format of a file that is not HDF5: a web page, a git-LFS pointer or another one."""

import re
from typing import Optional
from urllib.parse import urlsplit

#: The first bytes of an HDF5 file.
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"

_KINDS = (
    (rb"version https://git-lfs", "a git-LFS pointer (the file itself lies elsewhere)"),
    (rb"(?i)<!doctype html|<html|<head", "a web page (HTML)"),
    (rb"<\?xml|<", "an XML document"),
    (rb"PK\x03\x04", "a zip archive"),
    (rb"\x1f\x8b", "a gzip archive"),
    (rb"[\[{]", "a JSON document"),
    (rb"CDF|\x93NUMPY|MATLAB", "a file of another format"),
)


def is_hdf5(head: bytes) -> bool:
    """Return whether a file is HDF5, by its signature.

    Args:
        head: The first bytes of the file.

    Returns:
        True if the signature is at byte 0, or at 512, 1024, 2048 and so on, where HDF5 looks for
        it behind a user block (HDF5 File Format Specification, II.A).
    """
    offset = 0
    while offset < len(head):
        if head.startswith(HDF5_SIGNATURE, offset):
            return True
        offset = 2 * offset or 512
    return False


def is_lindi(head: bytes) -> bool:
    """Return whether a file may be LINDI: JSON with references, or a tar archive with such JSON.

    Args:
        head: The first bytes of the file, as many as are there or 256 KiB.
    """
    is_json = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{" and b'"refs"' in head
    return is_json or head[257:262] == b"ustar"


def foreign_kind(head: bytes, url: str) -> Optional[str]:
    """Name the format of a file that is not HDF5.

    Args:
        head: The first bytes of the file.
        url: URL of the file.

    Returns:
        A noun with its article, such as "a web page (HTML)". None if the file is HDF5, or its
        format is not known.
    """
    if is_hdf5(head):
        return None
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if b"zarr_format" in head or b".zgroup" in head or _is_zarr_path(url):
        return "a zarr store or a part of one"
    return next((kind for pattern, kind in _KINDS if re.match(pattern, text)), None)


def foreign_fault(head: bytes, url: str) -> Optional[str]:
    """Explain why a file is not an NWB file, if it is not HDF5.

    Args:
        head: The first bytes of the file.
        url: URL of the file.

    Returns:
        The predicate of a sentence that starts with the file; None if the file is HDF5.
    """
    if is_hdf5(head):
        return None
    return f"is {foreign_kind(head, url) or 'not HDF5'}, not an NWB file"


def _is_zarr_path(url: str) -> bool:
    return re.search(r"\.zarr(/|$)|/\.?zmetadata$", urlsplit(url).path) is not None
