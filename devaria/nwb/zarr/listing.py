"""List the names in a folder over HTTP, which has no consolidated metadata.

HTTP itself has no way to list a folder. Many servers answer with a page of links, and S3 with an
XML document. Where neither comes, the names that NWB files usually have are tried.
"""

import re
from html import unescape
from typing import Dict, List, Optional
from urllib.parse import quote, unquote, urlsplit

from devaria.nwb.errors import NwbError
from devaria.nwb.http.objects import HttpObjects

_MAX_PAGE_BYTES = 4 * 1024 * 1024
_MAX_NAMES = 2_000

_LINK = re.compile(rb"<a\s[^>]*?href\s*=\s*[\"']([^\"'?#]+?)/?[\"']", re.I)
_S3_PREFIX = re.compile(rb"<CommonPrefixes>\s*<Prefix>([^<]+)</Prefix>")

#: Groups and datasets of the NWB schema that figures need.
_USUAL = (
    *("acquisition", "analysis", "general", "intervals", "processing", "stimulus", "units"),
    *("behavior", "ecephys", "ophys", "PoseEstimation", "Skeletons"),
    *("spike_times", "spike_times_index", "id"),
    *("data", "timestamps", "starting_time", "confidence", "reference_frame", "external_file"),
    *("dimension", "num_samples", "nodes", "edges", "skeleton", "source_software", "labels"),
)


class FolderListing:
    """Lists folders, each once.

    Args:
        objects: The folder of the file.
    """

    def __init__(self, objects: HttpObjects) -> None:
        self._objects = objects
        self._known: Dict[str, List[str]] = {}
        self._is_s3 = True  # until it answers otherwise

    def names(self, path: str) -> List[str]:
        """List the names in a folder, or those that may be there.

        Args:
            path: Path of the folder in the file; empty for the root.
        """
        if path not in self._known:
            found = self._page(path) or self._s3(path) or list(_USUAL)
            self._known[path] = found[:_MAX_NAMES]
        return self._known[path]

    def _page(self, path: str) -> Optional[List[str]]:
        page = self._read(f"{path}/" if path else "")
        if page is None or b"<" not in page[:1000]:
            return None
        names = [unquote(unescape(link.decode("utf-8", "replace"))) for link in _LINK.findall(page)]
        last = [name.rsplit("/", 1)[-1] for name in names if not name.startswith(("http", "."))]
        return sorted({name for name in last if name})

    def _s3(self, path: str) -> Optional[List[str]]:
        if not self._is_s3:
            return None
        parts = urlsplit(self._objects.url)
        prefix = f"{parts.path.strip('/')}/{path}".rstrip("/") + "/"
        try:
            query = f"list-type=2&delimiter=/&prefix={quote(prefix)}"
            bucket = self._objects.read_root(query, _MAX_PAGE_BYTES)
        except NwbError:
            return None
        self._is_s3 = bucket is not None and b"<ListBucketResult" in bucket
        prefixes = _S3_PREFIX.findall(bucket or b"")
        found = [unescape(each.decode("utf-8", "replace")) for each in prefixes]
        return sorted({each.rstrip("/").rsplit("/", 1)[-1] for each in found})

    def _read(self, key: str) -> Optional[bytes]:
        try:
            return self._objects.read(key, _MAX_PAGE_BYTES, is_probe=True)
        except NwbError:  # a listing only helps
            return None
