"""What kind of file lies behind a URL, and opening it: HDF5, a Zarr folder, or LINDI."""

import re
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, Optional, Union
from urllib.parse import urlsplit, urlunsplit

from devaria.common.http.addresses import Connect
from devaria.nwb.errors import NoFileError, NwbError
from devaria.nwb.file_kind import is_hdf5, is_lindi
from devaria.nwb.http.objects import HttpObjects
from devaria.nwb.http.ranges import CONNECTIONS, HttpRanges
from devaria.nwb.limits import ReadLimits
from devaria.nwb.params import shown_url

if TYPE_CHECKING:
    from devaria.nwb.container import Container
    from devaria.nwb.zarr.stores import HttpStore

#: How much of the end of the file is requested early, in bytes.
_END_BYTES = 512 * 1024

#: Documents of a Zarr folder, whose URL people may give for that of the folder.
_DOCUMENTS = (".zmetadata", ".zgroup", ".zattrs", "zarr.json")

#: Called with a line for the console.
Say = Callable[[str], object]


class FileOpener:
    """Opens the file that a parent names, and to those that it refers to.

    Args:
        opening: The fields of `devaria.nwb.sandbox.parent.Opening`.
        limits: How much is read at most.
        say: Called with lines for the console.
        connect: Opens connections; None for the address guard of this process.
    """

    def __init__(
        self,
        opening: Dict[str, Any],
        limits: ReadLimits,
        say: Say,
        connect: Optional[Connect] = None,
    ) -> None:
        self._url: str = opening["url"]
        self._allow_hosts = opening["allow_hosts"]
        self._limits = limits
        self._say = say
        self._connect = connect

    def connect(self) -> "Union[HttpRanges, HttpStore]":
        """Find out what the URL leads to.

        Returns:
            The ranges of a file, or a Zarr folder.

        Raises:
            InvalidInputError: The URL is wrong.
            NwbError: Nothing can be fetched from there.
        """
        url = _folder_url(self._url)
        path = urlsplit(url).path
        is_zarr = path.rstrip("/").endswith(".zarr") or url != self._url
        if is_zarr or "/zarr/" in path:
            store = self._folder(url)
            if store is not None:
                return store
        if is_zarr:
            text = "is not a Zarr folder: it has neither .zmetadata nor zarr.json nor .zgroup"
            raise NwbError(f"{shown_url(url)} {text}")
        try:
            ranges = self._data_file(self._url)
        except NoFileError:
            store = self._folder(url)
            if store is None:
                raise
            return store
        if not is_hdf5(ranges.head) and not is_lindi(ranges.head):
            store = self._folder(url)  # a server may answer with a page about the folder
            if store is not None:
                ranges.close()
                return store
        return ranges

    @contextmanager
    def opened(self, connected: "Union[HttpRanges, HttpStore]") -> "Iterator[Container]":
        """Open what `connect` has returned, for the length of a ``with`` block.

        Args:
            connected: The ranges of a file, or a Zarr folder. It is closed at the end.

        Yields:
            The open file.

        Raises:
            NwbError: It cannot be read.
        """
        from devaria.nwb.zarr.container import ZarrContainer
        from devaria.nwb.zarr.lindi import LindiStore

        with ExitStack() as stack:
            if isinstance(connected, HttpRanges) and not is_lindi(connected.head):
                yield self._hdf5(connected, stack)
                return
            store: Any = connected
            if isinstance(connected, HttpRanges):
                store = LindiStore(connected, self.ranges, self._limits.max_fetch_bytes)
            stack.enter_context(closing(store))
            container = ZarrContainer(store, self._limits, self._linked)
            yield stack.enter_context(closing(container))

    def ranges(self, url: str, *, end_bytes: int = 0, connections_ahead: int = 0) -> HttpRanges:
        """Connect to one file.

        Args:
            url: Its URL.
            end_bytes: How many bytes of its end to request together with its start.
            connections_ahead: As for `HttpRanges`.
        """
        return HttpRanges(
            url,
            limits=self._limits,
            end_bytes=end_bytes,
            connections_ahead=connections_ahead,
            allow_hosts=self._allow_hosts,
            connect=self._connect,
            say=self._say,
        )

    def _data_file(self, url: str) -> HttpRanges:
        """Connect to a file that much will be read of."""
        return self.ranges(url, end_bytes=_END_BYTES, connections_ahead=CONNECTIONS)

    def _linked(self, url: str, stack: ExitStack) -> "Container":
        return self._hdf5(self._data_file(url), stack)

    def _hdf5(self, ranges: HttpRanges, stack: ExitStack) -> "Container":
        from devaria.nwb.hdf5.container import Hdf5Container
        from devaria.nwb.hdf5.remote_file import open_remote_file

        file, file_bytes = stack.enter_context(open_remote_file(ranges))
        return Hdf5Container(file, file_bytes, self._limits)

    def _folder(self, url: str) -> "Optional[HttpStore]":
        from devaria.nwb.zarr.stores import opened_folder

        objects = HttpObjects(
            url, limits=self._limits, allow_hosts=self._allow_hosts, connect=self._connect
        )
        store = None
        try:
            store = opened_folder(objects)
        finally:
            if store is None:
                objects.close()
        return store


def _folder_url(url: str) -> str:
    """Return the URL of the folder that a URL lies in, if it is that of a part of a Zarr folder."""
    parts = urlsplit(url)
    folder = re.match(r"(.*?\.zarr)/", parts.path)
    if folder is not None:
        return urlunsplit(parts._replace(path=folder[1]))
    path, _, name = parts.path.rpartition("/")
    return urlunsplit(parts._replace(path=path)) if name in _DOCUMENTS else url
