"""Fetching the index of a column's chunks in parallel, where it is strewn over the file.

HDF5 keeps that index as a B-tree and reads one node after another, each over a round trip of its
own. An inner node tells where its children are, so they can be fetched together (HDF5 file format
specification, III.A.1: version 1 B-trees, node type 1).
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Callable, Dict, List, Optional, Tuple

#: Bytes of a node before its first key; of a key of a one-dimensional column; of an address.
_HEADER_BYTES, _KEY_BYTES, _ADDRESS_BYTES = 24, 24, 8

#: HDF5's own nodes are of 2 kB, with 64 children. What claims more is not to be trusted.
_MAX_NODE_BYTES = 64 * 1024
_MAX_BYTES = 32 * 1024 * 1024


class IndexLookahead:
    """Looks at what HDF5 reads of a file for nodes of chunk indexes, and fetches their children.

    Args:
        fetch: Gives the bytes from an offset up to another; is called by several threads.
        threads: Ranges fetched at once.
        size: Length of the file in bytes.
    """

    def __init__(self, fetch: Callable[[int, int], bytes], threads: int, size: int) -> None:
        self._fetch = fetch
        self._threads = threads
        self._size = size
        self._is_on = False
        self._inner: List[bytes] = []
        self._nodes: Dict[int, bytes] = {}
        self._num_bytes = 0

    def start(self) -> None:
        """Fetch the children of the inner nodes that were read, and of those yet to come."""
        self._is_on = True
        while self._inner:
            self._fetch_children(self._inner.pop())

    def saw(self, content: memoryview) -> None:
        """Take note of what HDF5 has read in one go.

        Args:
            content: The bytes.

        Raises:
            Exception: What ``fetch`` raised.
        """
        if not _HEADER_BYTES <= len(content) <= _MAX_NODE_BYTES:
            return
        # A node of chunks (type 1) that is not a leaf (level 0).
        if bytes(content[:5]) != b"TREE\x01" or content[5] == 0:
            return
        if self._is_on:
            self._fetch_children(content.tobytes())
        elif len(self._inner) < self._threads:
            self._inner.append(content.tobytes())

    def peek(self, position: int) -> Optional[Tuple[int, bytes]]:
        """Look at what was fetched.

        Args:
            position: Offset of a byte.

        Returns:
            The offset and the bytes of a node that starts there; None if there is none.
        """
        node = self._nodes.get(position)
        return None if node is None else (position, node)

    def _fetch_children(self, node: bytes) -> None:
        children = {start for start in _children(node) if 0 < start < self._size}
        starts = sorted(children.difference(self._nodes))
        self._num_bytes += len(starts) * len(node)
        if self._num_bytes > _MAX_BYTES:
            return
        stops = [min(start + len(node), self._size) for start in starts]
        with ThreadPoolExecutor(self._threads, "index") as pool:
            self._nodes.update(zip(starts, pool.map(self._fetch, starts, stops)))


def _children(node: bytes) -> List[int]:
    count = int.from_bytes(node[6:8], "little")
    first, step = _HEADER_BYTES + _KEY_BYTES, _KEY_BYTES + _ADDRESS_BYTES
    places = range(first, min(first + count * step, len(node) - _ADDRESS_BYTES + 1), step)
    return [int.from_bytes(node[place : place + _ADDRESS_BYTES], "little") for place in places]
