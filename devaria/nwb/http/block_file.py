"""A read-only file object over byte ranges, cached in blocks, which h5py can open."""

import io
from collections import OrderedDict
from typing import Callable, Optional, Tuple

BLOCK_BYTES = 256 * 1024


class BlockFile(io.RawIOBase):
    """Fetches blocks on demand, and more and more blocks ahead during sequential reading.

    Args:
        fetch: Returns the bytes from one offset up to another.
        size: Length of the file in bytes.
        head: The start of the file, if it is known already.
        max_blocks: Most blocks in memory. The least recently used is dropped first.
        max_run_blocks: Most blocks that are fetched at once.
        peek: Called with the offset of a byte. Returns bytes that were fetched elsewhere and hold
            it, as an offset and the bytes; or None.
        before_read: Called with the length of each read of HDF5; it may refuse by an exception.
        note_read: Called with the offset and the bytes of each read of HDF5.

    Attributes:
        size: Length of the file in bytes.
        failure: The exception of the first read that failed. HDF5 replaces an exception of a file
            object by one of its own, so the cause is kept here.
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
        before_read: Callable[[int], None] = lambda _num_bytes: None,
        note_read: Callable[[int, memoryview], None] = lambda _start, _content: None,
    ) -> None:
        super().__init__()
        self._fetch = fetch
        self.size = size
        self._max_blocks = max_blocks
        self._max_run_blocks = max_run_blocks
        self._peek = peek
        self._before_read = before_read
        self._note_read = note_read
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._position = 0
        self._run_blocks = 1
        self._next_block = -1
        self.failure: Optional[Exception] = None
        whole = head if len(head) == size else head[: len(head) // BLOCK_BYTES * BLOCK_BYTES]
        self._keep(0, whole)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the offset of the next read, in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the offset of the next read.

        Args:
            offset: Bytes from the position that ``whence`` names.
            whence: ``io.SEEK_SET``, ``io.SEEK_CUR`` or ``io.SEEK_END``.

        Returns:
            The new offset.
        """
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]  # no Buffer in 3.8
        """Fill a buffer from the current offset on, up to the end of the file.

        Args:
            buffer: Any writable buffer.

        Returns:
            The number of bytes read.

        Raises:
            Exception: Any exception of ``fetch``, which ``failure`` keeps too.
        """
        view = memoryview(buffer).cast("B")
        start = self._position
        try:
            self._before_read(len(view))
            count = self._fill(view, start)
            self._note_read(start, view[:count])
        except Exception as error:
            self.failure = self.failure or error
            raise
        self._position = start + count
        return count

    def read_at(self, start: int, stop: int) -> bytes:
        """Read bytes without moving the offset of the next read, and without ``note_read``.

        Args:
            start: Offset of the first byte.
            stop: Offset after the last byte.

        Returns:
            The bytes; fewer if the file ends before ``stop``.
        """
        content = bytearray(max(0, min(stop, self.size) - start))
        self._fill(memoryview(content), start)
        return bytes(content)

    def cached(self, position: int) -> Optional[Tuple[int, bytes]]:
        """Return the block that holds a byte, if it is in memory. Several threads may call it.

        Args:
            position: Offset of the byte.

        Returns:
            The offset of the block's first byte, and its bytes; None if it is not there.
        """
        number = position // BLOCK_BYTES
        block = self._blocks.get(number)
        return None if block is None else (number * BLOCK_BYTES, block)

    def _fill(self, view: memoryview, start: int) -> int:
        place, end = start, min(start + len(view), self.size)
        while place < end:
            stretch_start, stretch = self._stretch(place, end)
            offset = place - stretch_start
            part = stretch[offset : offset + end - place]
            view[place - start : place - start + len(part)] = part
            place += len(part)
        return place - start

    def _stretch(self, position: int, end: int) -> Tuple[int, bytes]:
        number = position // BLOCK_BYTES
        if number not in self._blocks:
            fetched = self._peek(position)
            if fetched is not None:
                return fetched
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
