"""A read-only file object over byte ranges, cached in blocks, that h5py can open."""

import io
from collections import OrderedDict
from typing import Callable, Optional, Tuple

BLOCK_BYTES = 256 * 1024


class BlockFile(io.RawIOBase):
    """Reads blocks when they are asked for, a growing number ahead while reading goes forward.

    Args:
        fetch: Gives the bytes from an offset up to another.
        size: Length of the file in bytes.
        head: The start of the file, where it is known already.
        max_blocks: Blocks kept in memory; the least recently used goes first.
        max_run_blocks: Longest run of blocks fetched at once.
        peek: Gives a stretch of the file that has a byte, by its offset and content, if somebody
            else has fetched it.
        saw: Is told what is read, a call for each read.

    Attributes:
        size: Length of the file in bytes.
        failure: The exception that ended the first read that failed. HDF5 turns an exception of
            a file object into a text of its own, so whoever uses the file looks here.
    """

    def __init__(
        self,
        fetch: Callable[[int, int], bytes],
        size: int,
        head: bytes = b"",
        *,
        max_blocks: int = 256,
        max_run_blocks: int = 16,
        peek: Callable[[int], Optional[Tuple[int, bytes]]] = lambda _position: None,
        saw: Callable[[memoryview], None] = lambda _content: None,
    ) -> None:
        super().__init__()
        self._fetch = fetch
        self.size = size
        self._max_blocks = max_blocks
        self._max_run_blocks = max_run_blocks
        self._peek = peek
        self._saw = saw
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._position = 0
        self._run_blocks = 1
        self._next_block = -1
        self.failure: Optional[Exception] = None
        whole = head if len(head) == size else head[: len(head) // BLOCK_BYTES * BLOCK_BYTES]
        self._keep(0, whole)

    def readable(self) -> bool:
        """Say that this file can be read."""
        return True

    def seekable(self) -> bool:
        """Say that reading can go on from anywhere."""
        return True

    def tell(self) -> int:
        """Give the offset of the next read, in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the offset of the next read.

        Args:
            offset: Bytes from where ``whence`` says.
            whence: ``io.SEEK_SET``, ``io.SEEK_CUR`` or ``io.SEEK_END``.

        Returns:
            The new offset.
        """
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]  # no Buffer in 3.8
        """Fill a buffer from the current offset on: wholly, unless the file ends before.

        Args:
            buffer: Any writable buffer.

        Returns:
            The number of bytes read.

        Raises:
            Exception: What ``fetch`` raised; kept in ``failure`` as well.
        """
        view = memoryview(buffer).cast("B")
        end = min(self._position + len(view), self.size)
        start = self._position
        try:
            while self._position < end:
                stretch_start, stretch = self._stretch(self._position, end)
                offset = self._position - stretch_start
                part = stretch[offset : offset + end - self._position]
                view[self._position - start : self._position - start + len(part)] = part
                self._position += len(part)
            self._saw(view[: max(0, end - start)])
        except Exception as error:
            self.failure = self.failure or error
            raise
        return max(0, end - start)

    def _stretch(self, position: int, end: int) -> Tuple[int, bytes]:
        number = position // BLOCK_BYTES
        if number not in self._blocks:
            seen = self._peek(position)
            if seen is not None:
                return seen
            self._load(number, (end - 1) // BLOCK_BYTES)
        self._blocks.move_to_end(number)
        return number * BLOCK_BYTES, self._blocks[number]

    def _load(self, number: int, last_needed: int) -> None:
        forward = number == self._next_block
        self._run_blocks = min(2 * self._run_blocks, self._max_run_blocks) if forward else 1
        stop = min(max(last_needed + 1, number + self._run_blocks), number + self._max_run_blocks)
        stop = next((n for n in range(number + 1, stop) if n in self._blocks), stop)
        start_byte = number * BLOCK_BYTES
        self._keep(number, self._fetch(start_byte, min(stop * BLOCK_BYTES, self.size)))
        self._next_block = stop

    def _keep(self, first_block: int, run: bytes) -> None:
        for offset in range(0, len(run), BLOCK_BYTES):
            self._blocks[first_block + offset // BLOCK_BYTES] = run[offset : offset + BLOCK_BYTES]
        while len(self._blocks) > self._max_blocks:
            self._blocks.popitem(last=False)
