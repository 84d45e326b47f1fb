"""LINDI files: JSON that has the documents of Zarr, and says where the chunks lie in other files.

(LINDI, and the reference file system of kerchunk, version 1.) The other files are named by URLs,
which come from the file: each goes through the address guard, and a file of this machine is never
meant.
"""

import base64
import binascii
import re
import threading
from functools import partial
from itertools import groupby
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence

from devaria.common.text import one_line
from devaria.nwb.errors import InvalidInputError, NwbError
from devaria.nwb.http.ranges import HttpRanges
from devaria.nwb.limits import FetchCount
from devaria.nwb.params import shown_url
from devaria.nwb.zarr.ahead import Fetch
from devaria.nwb.zarr.runs import run_fetches
from devaria.nwb.zarr.stores import MAX_CONSOLIDATED_BYTES, Document, parsed, tree_of
from devaria.nwb.zarr.tar import is_tar, known_or_read, members

#: The member of a tar archive that has the JSON.
_MEMBER = "lindi.json"

#: Most files that a file may refer to.
_MAX_FILES = 32

#: How much of the JSON one request fetches.
_PART_BYTES = 2 * 1024 * 1024

_TEMPLATE = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}")

#: Opens the file at a URL.
OpenRanges = Callable[[str], HttpRanges]


class _Reference(NamedTuple):
    """Where a chunk lies: a URL, or empty for the archive itself; and its range."""

    url: str
    start: int
    stop: int


class LindiStore:
    """A LINDI file.

    Args:
        ranges: The file itself, JSON or a tar archive. It is closed at the end.
        open_ranges: Opens the files that it refers to.
        max_fetch_bytes: How much is fetched of all of them together.

    Attributes:
        version: The version of the format of its documents.
        shown: The file, for errors.

    Raises:
        NwbError: The file is too long or damaged.
    """

    #: It cuts a contiguous dataset into chunks: the last one ends with the dataset.
    has_short_chunks = True

    def __init__(self, ranges: HttpRanges, open_ranges: OpenRanges, max_fetch_bytes: int) -> None:
        self.shown = shown_url(ranges.url)
        self._own = ranges
        self._open_ranges = open_ranges
        self._fetched = FetchCount(self.shown, max_fetch_bytes)
        self._files: Dict[str, HttpRanges] = {}
        self._opening = threading.Lock()
        self._members = members(ranges) if is_tar(ranges.head) else {}
        whole = self._members.get(_MEMBER) if is_tar(ranges.head) else (0, ranges.size)
        if whole is None:
            raise NwbError(f"{self.shown} is a tar archive without {_MEMBER}, not an NWB file")
        if whole[1] - whole[0] > MAX_CONSOLIDATED_BYTES:
            raise NwbError(f"{self.shown} has more than {MAX_CONSOLIDATED_BYTES:,} bytes of JSON")
        document = parsed(self._json(*whole), self.shown)
        refs, templates = document.get("refs"), document.get("templates") or {}
        if not isinstance(refs, dict) or not isinstance(templates, dict):
            raise NwbError(f"{self.shown} is a JSON document without references, not an NWB file")
        self._refs: Dict[str, Any] = refs
        self._templates: Dict[str, Any] = templates
        self._tree = tree_of(refs)
        self.version = 3 if "zarr.json" in refs else 2

    def close(self) -> None:
        """Close the files."""
        for ranges in (self._own, *self._files.values()):
            ranges.close()

    def documents(self, keys: Sequence[str]) -> List[Optional[Document]]:
        """Return documents; None for each that is not there."""
        return [self._document(key) for key in keys]

    def names(self, path: str) -> List[str]:
        """List what is in a group."""
        return self._tree.get(path, [])

    def fetches(self, keys: Iterator[str], chunk_bytes: int, longest: int) -> Iterator[Fetch]:
        """Tell how to fetch chunks: those that lie close to each other together."""
        del chunk_bytes
        places = (self._place(key, longest) for key in keys)
        for url, group in groupby(places, key=lambda place: getattr(place, "url", None)):
            if url is None:
                for inline in group:
                    content = inline if isinstance(inline, bytes) else None
                    yield Fetch(partial(_same, content), 0)
            else:
                spans = ((each.start, each.stop) for each in group if isinstance(each, _Reference))
                yield from run_fetches(spans, partial(self._read, url))

    def read_end(self, key: str, num_bytes: int) -> Optional[bytes]:
        """Read the last bytes of an object; None if there is no such object."""
        place = self._place(key, 2**62)
        if place is None or isinstance(place, bytes):
            return None if place is None else place[-num_bytes:]
        return self._read(place.url, max(place.start, place.stop - num_bytes), place.stop)

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """Read a range of an object."""
        place = self._place(key, 2**62)
        if isinstance(place, bytes):
            return place[start:stop]
        if place is None or place.start + stop > place.stop:
            raise NwbError(f"{one_line(key)} is shorter than its index says: it is damaged")
        return self._read(place.url, place.start + start, place.start + stop)

    def _json(self, start: int, stop: int) -> bytes:
        starts = range(start, stop, _PART_BYTES)
        parts = [known_or_read(self._own, at, min(at + _PART_BYTES, stop)) for at in starts]
        return b"".join(parts)

    def _document(self, key: str) -> Optional[Document]:
        reference = self._refs.get(key)
        if reference is None or isinstance(reference, dict):
            return reference
        place = self._place(key, MAX_CONSOLIDATED_BYTES)
        if isinstance(place, _Reference):
            place = self._read(*place)
        return parsed(place or b"", key)

    def _place(self, key: str, longest: int) -> "bytes | _Reference | None":
        reference = self._refs.get(key)
        if reference is None:
            return None
        if isinstance(reference, str):
            return _inline(reference, key, longest)
        if not isinstance(reference, list) or len(reference) != 3:
            raise _damaged(key)
        url, start, length = reference
        if not isinstance(url, str) or type(start) is not int or type(length) is not int:
            raise _damaged(key)
        if start < 0 or not 0 < length <= longest:
            raise _damaged(key)
        url = _TEMPLATE.sub(self._template, url)
        if not url:
            raise _damaged(key)
        if not url.startswith("./"):
            return _Reference(url, start, start + length)
        first, stop = self._members.get(url[2:], (0, 0))
        if first + start + length > stop:
            raise NwbError(f"{one_line(key)} refers to {one_line(url)}, which is not there as told")
        return _Reference("", first + start, first + start + length)

    def _template(self, match: "re.Match[str]") -> str:
        return str(self._templates.get(match[1], ""))

    def _read(self, url: str, start: int, stop: int) -> bytes:
        ranges = self._file(url)
        if stop > ranges.size:
            shown = shown_url(url or self.shown)
            raise NwbError(f"{shown} is shorter than {self.shown} says: it is another file")
        self._fetched.add(stop - start)
        return known_or_read(ranges, start, stop)

    def _file(self, url: str) -> HttpRanges:
        if not url:
            return self._own
        with self._opening:
            if url not in self._files:
                if len(self._files) == _MAX_FILES:
                    raise NwbError(f"{self.shown} refers to more than {_MAX_FILES} files")
                if not url.startswith(("http://", "https://")):
                    raise NwbError(
                        f"{self.shown} refers to {one_line(url)}, a file on the machine that wrote "
                        "it: it must refer to http or https URLs"
                    )
                try:
                    self._files[url] = self._open_ranges(url)
                except InvalidInputError:
                    raise NwbError(f"{self.shown} refers to what is no http or https URL") from None
            return self._files[url]


def _inline(reference: str, key: str, longest: int) -> bytes:
    if len(reference) > 2 * longest + 100:
        raise _damaged(key)
    if not reference.startswith("base64:"):
        return reference.encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(reference[len("base64:") :], validate=True)
    except (binascii.Error, ValueError):
        raise _damaged(key) from None


def _same(content: Optional[bytes]) -> Optional[bytes]:
    return content


def _damaged(key: str) -> NwbError:
    return NwbError(f"the reference {one_line(key)} is damaged")
