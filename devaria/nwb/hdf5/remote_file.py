"""Opening a remote HDF5 file, and saying what is wrong where it cannot be read."""

import re
from contextlib import ExitStack, closing, contextmanager
from typing import Iterator, Tuple

import h5py

from devaria.common.text import one_line
from devaria.nwb.collection import no_collection
from devaria.nwb.errors import InvalidInputError, NwbError
from devaria.nwb.hdf5.btree_prefetch import IndexLookahead
from devaria.nwb.hdf5.file_kind import foreign_fault
from devaria.nwb.http.block_file import BlockFile
from devaria.nwb.http.prefetch import Prefetcher
from devaria.nwb.http.ranges import CONNECTIONS, HttpRanges
from devaria.nwb.params import shown_url

#: What h5py raises where a file is damaged; which one depends on where.
_HDF5_ERRORS = (OSError, RuntimeError, LookupError, ValueError, TypeError, ArithmeticError)


class RemoteFile(h5py.File):  # type: ignore[misc]  # h5py is untyped
    """An open file that is read over the network.

    Attributes:
        prefetcher: Fetches ranges of it in parallel; what it has, HDF5 need not fetch.
        lookahead: Fetches the index of chunks in parallel.
        blocks: The file object that HDF5 reads.
    """

    prefetcher: Prefetcher
    lookahead: IndexLookahead
    blocks: BlockFile

    def read_bytes(self, start: int, stop: int) -> bytes:
        """Read what HDF5 is not to be trusted with.

        Args:
            start: Offset of the first byte.
            stop: Offset after the last byte.

        Returns:
            The bytes, fewer if the file ends before.
        """
        self.blocks.seek(start)
        return self.blocks.read(max(0, min(stop, self.blocks.size) - start)) or b""


@contextmanager
def open_remote_file(ranges: HttpRanges) -> Iterator[Tuple[RemoteFile, int]]:
    """Open a file over HTTP ranges, for the length of a ``with`` block.

    Args:
        ranges: The ranges of the file; they are closed at the end.

    Yields:
        The open file, and its length in bytes.

    Raises:
        NwbError: The file cannot be fetched, is not HDF5, or is damaged, be it found out here or
            while the block reads.
    """
    with ExitStack() as stack:
        stack.enter_context(closing(ranges))
        # A collection in another thread may meet an h5py object, whose end must wait for h5py's
        # lock; this thread holds that while it waits for bytes, which the other may have to bring.
        stack.enter_context(no_collection())
        fault = foreign_fault(ranges.head, ranges.url)
        if fault is not None:
            raise NwbError(f"{shown_url(ranges.url)} {fault}")
        prefetcher = stack.enter_context(closing(Prefetcher(ranges.read, CONNECTIONS)))
        lookahead = IndexLookahead(ranges.read, CONNECTIONS, ranges.size)
        blocks = BlockFile(
            ranges.read,
            ranges.size,
            ranges.head,
            peek=lambda position: (
                lookahead.peek(position) or prefetcher.peek(position) or ranges.peek_end(position)
            ),
            saw=lookahead.saw,
        )
        try:
            # HDF5 must be done with the Python file before that goes, or it may crash at exit.
            with RemoteFile(blocks, "r") as file:
                file.prefetcher, file.lookahead, file.blocks = prefetcher, lookahead, blocks
                yield file, ranges.size
        except (NwbError, InvalidInputError):
            raise
        except _HDF5_ERRORS as error:
            if blocks.failure is not None:
                raise blocks.failure from None
            raise NwbError(f"{shown_url(ranges.url)} {_damage(error)}") from error


def _damage(error: Exception) -> str:
    text = str(error.args[0]) if error.args else type(error).__name__  # a KeyError quotes itself
    if "truncated file" in text:
        lengths = re.search(r"eof = (\d+).*stored_eof = (\d+)", text)
        detail = f": {lengths[1]} of {lengths[2]} bytes are there" if lengths else ""
        return f"is truncated{detail}"
    return f"is damaged: {one_line(text)}"
