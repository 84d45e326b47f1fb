"""Open a remote HDF5 file, or explain why it cannot be read."""

import gc
import re
from contextlib import ExitStack, closing, contextmanager
from typing import Iterator, Optional, Tuple

import h5py

from devaria.common.text import one_line
from devaria.nwb.errors import InvalidInputError, NwbError
from devaria.nwb.file_kind import HDF5_SIGNATURE, foreign_fault
from devaria.nwb.hdf5.guards.reads import refuse_long_read
from devaria.nwb.hdf5.heap_guard import refuse_broken_heap
from devaria.nwb.hdf5.metadata import MetadataPrefetcher
from devaria.nwb.http.block_file import BlockFile
from devaria.nwb.http.prefetch import Prefetcher
from devaria.nwb.http.ranges import CONNECTIONS, MOST_CONNECTIONS, HttpRanges
from devaria.nwb.params import shown_url

#: The exceptions that h5py raises for a damaged file, depending on the place of the damage.
_HDF5_ERRORS = (OSError, RuntimeError, LookupError, ValueError, TypeError, ArithmeticError)

#: A signature behind a longer user block is not looked for: each place may cost a request.
_MAX_USER_BLOCK_BYTES = 64 * 1024 * 1024


class RemoteFile(h5py.File):  # type: ignore[misc]  # h5py is untyped
    """An open file that is read over the network.

    Attributes:
        prefetcher: Fetches ranges in parallel. HDF5 reads from these ranges too.
        metadata: Fetches metadata in parallel.
        blocks: The file object that HDF5 reads.
        url: URL of the file.
    """

    prefetcher: Prefetcher
    metadata: MetadataPrefetcher
    blocks: BlockFile
    url: str

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Replace the exceptions of h5py by NwbErrors, for the length of a ``with`` block.

        Raises:
            NwbError: The file cannot be fetched, or is damaged.
        """
        self.blocks.failure = None
        with _explained(self.blocks, self.url):
            yield


@contextmanager
def open_remote_file(ranges: HttpRanges) -> Iterator[Tuple[RemoteFile, int]]:
    """Open a file over HTTP ranges, for the length of a ``with`` block.

    Python's garbage collector is off in the block.

    Args:
        ranges: The ranges of the file. They are closed at the end.

    Yields:
        The open file, and its length in bytes.

    Raises:
        NwbError: The file cannot be fetched, is not HDF5, or is damaged. The block raises it too,
            in place of the exceptions of h5py.
    """
    with ExitStack() as stack:
        stack.enter_context(closing(ranges))
        # The collector may run in a fetching thread and delete an h5py object there, which waits
        # for h5py's lock. This thread holds the lock while it waits for that thread: a deadlock.
        if gc.isenabled():
            gc.disable()
            stack.callback(gc.enable)
        fault = foreign_fault(ranges.head, ranges.url)
        if fault is not None and not _has_user_block(ranges):
            raise NwbError(f"{shown_url(ranges.url)} {fault}")

        def fetch(start: int, stop: int) -> bytes:
            return ranges.known(start, stop) or ranges.read(start, stop)

        prefetcher = Prefetcher(fetch, CONNECTIONS, MOST_CONNECTIONS, ranges.size)
        stack.enter_context(closing(prefetcher))

        def known(position: int) -> Optional[Tuple[int, bytes]]:
            return blocks.cached(position) or ranges.peek_tail(position)

        metadata = MetadataPrefetcher(fetch, CONNECTIONS, ranges.size, known)
        stack.enter_context(closing(metadata))
        blocks = BlockFile(
            fetch,
            ranges.size,
            ranges.head,
            peek=lambda position: (
                metadata.peek(position) or prefetcher.peek(position) or ranges.peek_tail(position)
            ),
            before_read=refuse_long_read,
            note_read=lambda start, content: refuse_broken_heap(start, content, blocks.read_at),
        )
        # HDF5 must close the file before the file object is freed, or it may crash at exit.
        with _explained(blocks, ranges.url), RemoteFile(blocks, "r") as file:
            file.prefetcher, file.metadata = prefetcher, metadata
            file.blocks, file.url = blocks, ranges.url
            yield file, ranges.size


def _has_user_block(ranges: HttpRanges) -> bool:
    """Return whether the file is HDF5 behind a user block that is longer than what is known."""
    start = 512
    while start <= _MAX_USER_BLOCK_BYTES and start + len(HDF5_SIGNATURE) <= ranges.size:
        stop = start + len(HDF5_SIGNATURE)
        if (ranges.known(start, stop) or ranges.read(start, stop)) == HDF5_SIGNATURE:
            return True
        start *= 2
    return False


@contextmanager
def _explained(blocks: BlockFile, url: str) -> Iterator[None]:
    try:
        yield
    except (NwbError, InvalidInputError):
        raise
    except _HDF5_ERRORS as error:
        if blocks.failure is not None:
            raise blocks.failure from None
        raise NwbError(f"{shown_url(url)} {_damage(error)}") from error


def _damage(error: Exception) -> str:
    text = str(error.args[0]) if error.args else type(error).__name__  # a KeyError quotes itself
    if "truncated file" in text:
        lengths = re.search(r"eof = (\d+).*stored_eof = (\d+)", text)
        detail = f": {lengths[1]} of {lengths[2]} bytes are there" if lengths else ""
        return f"is truncated{detail}"
    return f"is damaged: {one_line(text)}"
