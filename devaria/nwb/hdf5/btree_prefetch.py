"""Fetch the index of a column's chunks in parallel if it is scattered over the file.

HDF5 keeps this index as a B-tree and reads its nodes one by one, each with a round trip to the
server. An inner node holds the addresses of its children, so all children can be fetched at once
(HDF5 File Format Specification, III.A.1: version 1 B-trees, node type 1).
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Callable, Dict, List, Optional, Tuple

#: Length of a node's header, of a key of a one-dimensional column, and of an address.
_HEADER_BYTES, _KEY_BYTES, _ADDRESS_BYTES = 24, 24, 8

#: Longest node that is parsed. HDF5 itself writes nodes of 2 kB, with 64 children.
_MAX_NODE_BYTES = 64 * 1024

#: Most bytes of nodes that are kept.
_MAX_BYTES = 32 * 1024 * 1024


class BTreePrefetcher:
    """Finds inner nodes of chunk indexes in what HDF5 reads, and fetches their children.

    Args:
        fetch: Returns the bytes from one offset up to another. Several threads call it.
        threads: How many ranges to fetch at once.
        size: Length of the file in bytes.
    """

    def __init__(self, fetch: Callable[[int, int], bytes], threads: int, size: int) -> None:
        self._fetch = fetch
        self._threads = threads
        self._size = size
        self._is_started = False
        self._inner_nodes: List[bytes] = []
        self._fetched: Dict[int, bytes] = {}
        self._num_bytes = 0

    def start(self) -> None:
        """Fetch the children of the inner nodes read so far, and of all that are read later."""
        self._is_started = True
        while self._inner_nodes:
            self._fetch_children(self._inner_nodes.pop())

    def note_read(self, content: memoryview) -> None:
        """Look at the bytes of one read of HDF5. A read of an inner node starts with it.

        Raises:
            Exception: Any exception of ``fetch``.
        """
        if not _HEADER_BYTES <= len(content) <= _MAX_NODE_BYTES:
            return
        # Node type 1 is an index of chunks; level 0 is a leaf.
        if bytes(content[:5]) != b"TREE\x01" or content[5] == 0:
            return
        if self._is_started:
            self._fetch_children(content.tobytes())
        elif len(self._inner_nodes) < self._threads:
            self._inner_nodes.append(content.tobytes())

    def peek(self, position: int) -> Optional[Tuple[int, bytes]]:
        """Return a node that was fetched.

        Args:
            position: Offset of the node's first byte.

        Returns:
            The offset and the node's bytes; None if no node that starts there was fetched.
        """
        node = self._fetched.get(position)
        return None if node is None else (position, node)

    def _fetch_children(self, node: bytes) -> None:
        children = {start for start in _children(node) if 0 < start < self._size}
        starts = sorted(children.difference(self._fetched))
        self._num_bytes += len(starts) * len(node)
        if self._num_bytes > _MAX_BYTES:
            return
        stops = [min(start + len(node), self._size) for start in starts]
        with ThreadPoolExecutor(self._threads, "index") as pool:
            self._fetched.update(zip(starts, pool.map(self._fetch, starts, stops)))


def _children(node: bytes) -> List[int]:
    count = int.from_bytes(node[6:8], "little")
    first, step = _HEADER_BYTES + _KEY_BYTES, _KEY_BYTES + _ADDRESS_BYTES
    places = range(first, min(first + count * step, len(node) - _ADDRESS_BYTES + 1), step)
    return [int.from_bytes(node[place : place + _ADDRESS_BYTES], "little") for place in places]
