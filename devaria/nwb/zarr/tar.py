"""The members of a tar archive over HTTP, as LINDI writes it."""

import json
from typing import Dict, Iterator, Optional, Tuple

from devaria.nwb.errors import NwbError
from devaria.nwb.http.ranges import HttpRanges

#: LINDI writes where its index lies into the first member, which has this name and length.
_ENTRY_NAME, _ENTRY_BYTES = b".tar_entry.json", 1024

_MAX_INDEX_BYTES = 16 * 1024 * 1024

#: Most members that are found without an index: each takes a request.
_MAX_MEMBERS = 2_000

_BLOCK_BYTES = 512


def is_tar(head: bytes) -> bool:
    """Return whether a file is a tar archive, by its first bytes (POSIX ustar)."""
    return head[257:262] == b"ustar"


def members(ranges: HttpRanges) -> Dict[str, Tuple[int, int]]:
    """Find the members of an archive.

    Args:
        ranges: The archive.

    Returns:
        For each name, the offset of the first byte and the offset after the last.

    Raises:
        NwbError: The archive is damaged, or has too many members.
    """
    found = _from_index(ranges)
    return dict(_from_headers(ranges)) if found is None else found


def _from_index(ranges: HttpRanges) -> Optional[Dict[str, Tuple[int, int]]]:
    if not ranges.head.startswith(_ENTRY_NAME + b"\0"):
        return None
    try:
        place = json.loads(ranges.head[_BLOCK_BYTES : _BLOCK_BYTES + _ENTRY_BYTES])["index"]
        start, stop = _checked(ranges, place["d"], place["s"])
        if stop - start > _MAX_INDEX_BYTES:
            raise NwbError("the index of the tar archive is too long")
        files = json.loads(known_or_read(ranges, start, stop))["files"]
        return {str(each["n"]): _checked(ranges, each["d"], each["s"]) for each in files}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise NwbError("the index of the tar archive is damaged") from None


def _from_headers(ranges: HttpRanges) -> Iterator[Tuple[str, Tuple[int, int]]]:
    at = 0
    for _ in range(_MAX_MEMBERS):
        if at + _BLOCK_BYTES > ranges.size:
            return
        header = known_or_read(ranges, at, at + _BLOCK_BYTES)
        if not is_tar(header):
            return
        try:
            length = int(header[124:136].rstrip(b"\0 ") or b"0", 8)
        except ValueError:
            raise NwbError("the tar archive is damaged") from None
        place = _checked(ranges, at + _BLOCK_BYTES, length)
        names = (header[345:500].rstrip(b"\0"), header[:100].rstrip(b"\0"))
        yield b"/".join(filter(None, names)).decode("utf-8", "replace"), place
        at = place[1] + -place[1] % _BLOCK_BYTES
    raise NwbError(f"the tar archive has more than {_MAX_MEMBERS:,} members and no index")


def known_or_read(ranges: HttpRanges, start: int, stop: int) -> bytes:
    """Return a range of a file, without a request if it was fetched at first."""
    return ranges.known(start, stop) or ranges.read(start, stop)


def _checked(ranges: HttpRanges, start: object, length: object) -> Tuple[int, int]:
    if type(start) is not int or type(length) is not int:
        raise ValueError
    if not 0 <= start <= start + length <= ranges.size:
        raise NwbError("the tar archive is damaged: a member lies beyond its end")
    return start, start + length
