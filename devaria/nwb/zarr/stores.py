"""Where documents and chunks of a Zarr file come from: the interface, and a folder over HTTP."""

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Dict, Iterator, List, Optional, Protocol, Sequence

from devaria.common.text import one_line
from devaria.nwb.errors import NwbError
from devaria.nwb.http.objects import OBJECT_CONNECTIONS, HttpObjects
from devaria.nwb.zarr.ahead import Fetch
from devaria.nwb.zarr.listing import FolderListing

#: The longest document of one group or array, and the longest consolidated one.
MAX_DOCUMENT_BYTES = 4 * 1024 * 1024
MAX_CONSOLIDATED_BYTES = 32 * 1024 * 1024

#: Most documents that are fetched one by one.
_MAX_DOCUMENTS = 20_000

#: A JSON object.
Document = Dict[str, Any]


class Store(Protocol):
    """Documents and chunks by their keys.

    Attributes:
        version: The version of the format: 2 or 3.
        shown: The file, for errors.
        has_short_chunks: Whether a chunk without codecs may end with the data.
    """

    version: int
    shown: str
    has_short_chunks: bool

    def documents(self, keys: Sequence[str]) -> List[Optional[Document]]:
        """Return documents; None for each that is not there."""

    def names(self, path: str) -> List[str]:
        """List what may be in a group: names of groups and arrays, perhaps of others too."""

    def fetches(self, keys: Iterator[str], chunk_bytes: int, longest: int) -> Iterator[Fetch]:
        """Tell how to fetch chunks.

        Args:
            keys: Their keys.
            chunk_bytes: Length of each when it is decoded.
            longest: The longest that each may be.
        """

    def read_end(self, key: str, num_bytes: int) -> Optional[bytes]:
        """Read the last bytes of an object; None if there is no such object."""

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """Read a range of an object."""


class HttpStore:
    """A folder over HTTP.

    Args:
        objects: The folder.
        version: The version of the format.
        consolidated: The documents by their keys, if one document holds all.
    """

    has_short_chunks = False

    def __init__(
        self,
        objects: HttpObjects,
        version: int,
        consolidated: Optional[Dict[str, Document]],
    ) -> None:
        self.version = version
        self.shown = objects.shown_url
        self._objects = objects
        self._consolidated = consolidated
        self._known: Dict[str, Optional[Document]] = {}
        self._listing = FolderListing(objects)
        self._tree = None if consolidated is None else tree_of(consolidated)
        self._pool = ThreadPoolExecutor(OBJECT_CONNECTIONS, "documents")

    def close(self) -> None:
        """Close the connections, and end the threads."""
        self._objects.close()
        self._pool.shutdown(wait=False)

    def documents(self, keys: Sequence[str]) -> List[Optional[Document]]:
        """Return documents; None for each that is not there."""
        if self._consolidated is not None:
            return [self._consolidated.get(key) for key in keys]
        unknown = [key for key in dict.fromkeys(keys) if key not in self._known]
        if len(self._known) + len(unknown) > _MAX_DOCUMENTS:
            raise NwbError(
                f"{self.shown} has more than {_MAX_DOCUMENTS:,} documents, and none that holds "
                "all: consolidate its metadata"
            )
        self._known.update(zip(unknown, self._pool.map(self._fetched, unknown)))
        return [self._known[key] for key in keys]

    def names(self, path: str) -> List[str]:
        """List what may be in a group."""
        if self._tree is not None:
            return self._tree.get(path, [])
        return self._listing.names(path)

    def fetches(self, keys: Iterator[str], chunk_bytes: int, longest: int) -> Iterator[Fetch]:
        """Tell how to fetch chunks: each is an object."""
        for key in keys:
            yield Fetch(partial(self._objects.read, key, longest), chunk_bytes // 2)

    def read_end(self, key: str, num_bytes: int) -> Optional[bytes]:
        """Read the last bytes of an object; None if there is no such object."""
        return self._objects.read_end(key, num_bytes)

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """Read a range of an object."""
        return self._objects.read_range(key, start, stop)

    def _fetched(self, key: str) -> Optional[Document]:
        content = self._objects.read(key, MAX_DOCUMENT_BYTES, is_probe=True)
        is_page = content is not None and content.lstrip()[:1] == b"<"  # some answer so to all
        return None if content is None or is_page else parsed(content, key)


def opened_folder(objects: HttpObjects) -> Optional[HttpStore]:
    """Open a Zarr folder.

    Args:
        objects: The folder.

    Returns:
        The store; None if it is no Zarr folder.

    Raises:
        NwbError: The server cannot be reached, or its documents are damaged.
    """
    keys = (".zmetadata", "zarr.json", ".zgroup")
    with ThreadPoolExecutor(len(keys)) as pool:
        read = partial(objects.read, most_bytes=MAX_CONSOLIDATED_BYTES, is_probe=True)
        contents = list(pool.map(read, keys))
    all_of_2, root_of_3, root_of_2 = (
        None if content is None else _if_document(content) for content in contents
    )
    if all_of_2 is not None and isinstance(all_of_2.get("metadata"), dict):
        return HttpStore(objects, 2, all_of_2["metadata"])
    if root_of_3 is not None and root_of_3.get("zarr_format") == 3:
        return HttpStore(objects, 3, consolidated_3(root_of_3))
    if root_of_2 is not None and root_of_2.get("zarr_format") == 2:
        return HttpStore(objects, 2, None)
    return None


def consolidated_3(root: Document) -> Optional[Dict[str, Document]]:
    """Return all documents by their keys, if the root of Zarr 3 has them."""
    told = root.get("consolidated_metadata")
    inside = told.get("metadata") if isinstance(told, dict) else None
    if not isinstance(inside, dict):
        return None
    return {"zarr.json": root, **{f"{path}/zarr.json": inside[path] for path in inside}}


def tree_of(documents: Dict[str, Document]) -> Dict[str, List[str]]:
    """Return the names in each group, by its path.

    Args:
        documents: All documents, or anything else, by their keys.
    """
    tree: Dict[str, Dict[str, None]] = {}
    for key in documents:
        path, _, name = key.rpartition("/")
        if name in (".zgroup", ".zarray", "zarr.json") and path:
            parent, _, child = path.rpartition("/")
            tree.setdefault(parent, {})[child] = None
    return {path: sorted(names) for path, names in tree.items()}


def parsed(content: bytes, key: str) -> Document:
    """Parse a document.

    Raises:
        NwbError: It is no JSON object.
    """
    document = _if_document(content)
    if document is None:
        raise NwbError(f"{one_line(key)} is damaged: it is no JSON object")
    return document


def _if_document(content: bytes) -> Optional[Document]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
