"""Fetch metadata of an HDF5 file ahead of HDF5, in parallel.

HDF5 reads headers of objects, groups and indexes of chunks one by one, each with a round trip to
the server. Each of them holds the addresses of others, so whole generations of them can be fetched
at once.
"""

import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Set, Tuple

import h5py

from devaria.nwb.hdf5.pointers import Pointer, Wanted, pointers_in

#: Metadata is fetched in blocks of this length: what belongs together often lies together.
BLOCK_BYTES = 16 * 1024

#: Blocks that lie next to each other are fetched at once, up to this many.
_MAX_RUN_BLOCKS = 8

#: Most blocks that are kept, and that one search fetches.
_MAX_BLOCKS = 2_048

#: Indexes of so many datasets are fetched beside each other.
_SEARCHES = 8

#: What is wanted where no dataset will be read.
NOTHING_BELOW = Wanted()

#: Returns the stretch of the file that holds a byte, as an offset and the bytes, if it is known.
Peek = Callable[[int], Optional[Tuple[int, bytes]]]


class _Run(NamedTuple):
    """Blocks that are fetched together."""

    start: int
    content: "Future[bytes]"


def address_of(thing: Any) -> int:
    """Return the address of an object's header in the file.

    Args:
        thing: An open ``h5py.Group`` or ``h5py.Dataset``.
    """
    # H5Oget_info would read the whole index of a dataset, to add up its length.
    low, high = h5py.h5g.get_objinfo(thing.id).objno
    return int(low) + (int(high) << 32)


class MetadataPrefetcher:
    """Finds and fetches metadata. HDF5 gets it through ``peek``.

    Args:
        fetch: Returns the bytes from one offset up to another. Several threads call it.
        threads: How many ranges to fetch at once.
        size: Length of the file in bytes.
        known: Returns what was fetched elsewhere.
    """

    def __init__(
        self, fetch: Callable[[int, int], bytes], threads: int, size: int, known: Peek
    ) -> None:
        self._fetch = fetch
        self._size = size
        self._known = known
        self._lock = threading.Lock()
        self._runs: OrderedDict[int, _Run] = OrderedDict()
        self._fetching = ThreadPoolExecutor(threads, "metadata")
        self._searching = ThreadPoolExecutor(_SEARCHES, "index")
        self._searches: Dict[int, Future[None]] = {}
        self._is_closed = False

    def close(self) -> None:
        """End the threads."""
        self._is_closed = True
        for pool in (self._searching, self._fetching):
            pool.shutdown(wait=False)

    def peek(self, position: int) -> Optional[Tuple[int, bytes]]:
        """Return blocks that were fetched or are being fetched.

        Args:
            position: Offset of a byte in them.

        Returns:
            The offset of their first byte, and their bytes; None if there are none, or fetching
            them failed.
        """
        run = self._run_at(position)
        return None if run is None or run.content.exception() else (run.start, run.content.result())

    def search(self, starts: Iterable[Pointer], wanted: Wanted = NOTHING_BELOW) -> None:
        """Fetch metadata, and what it leads to, generation by generation.

        The last generation leads to nothing. It may still be on its way in the end; ``peek`` waits
        for it.

        Args:
            starts: Where to begin.
            wanted: What is wanted of datasets.
        """
        seen: Set[Tuple[str, int, int]] = set()
        generation = list(starts)
        left = _MAX_BLOCKS
        while generation and left > 0 and not self._is_closed:
            generation = self._follow(generation, wanted, seen)
            blocks = sorted({number for each in generation for number in self._numbers(each)})
            runs = self._request(blocks[:left])
            left -= len(blocks)
            if all(each.kind == "raw" for each in generation):
                break
            wait([run.content for run in runs])

    def search_later(self, start: Pointer, wanted: Wanted) -> None:
        """Do the same in another thread, once. ``wait_for`` waits for it.

        Args:
            start: Where to begin: the header of a dataset.
            wanted: What is wanted of it.
        """
        if start.address not in self._searches:
            self._searches[start.address] = self._searching.submit(self.search, [start], wanted)

    def forget_searches(self) -> None:
        """Let searches begin again."""
        self._searches.clear()

    def is_over(self, start: Pointer) -> bool:
        """Return whether no search from there goes on.

        Args:
            start: Where it began.
        """
        search = self._searches.get(start.address)
        return search is None or search.done()

    def wait_for(self, start: Pointer) -> None:
        """Wait until a search has ended, if there was one.

        Args:
            start: Where it began.
        """
        search = self._searches.get(start.address)
        if search is not None:
            search.result()

    def _follow(
        self, generation: List[Pointer], wanted: Wanted, seen: Set[Tuple[str, int, int]]
    ) -> List[Pointer]:
        """Look into all that is there; return what must be fetched first."""
        to_do, missing = list(generation), []
        while to_do:
            pointer = to_do.pop()
            key = (pointer.kind, pointer.address, pointer.num_bytes)
            if key in seen or not 0 < pointer.address < self._size:
                continue
            content = self.content(pointer)
            if content is None:
                missing.append(pointer)
            else:
                seen.add(key)
                to_do.extend(pointers_in(pointer, content, wanted))
        return missing

    def content(self, pointer: Pointer) -> Optional[bytes]:
        """Return the bytes of a piece of metadata, if all of them are there.

        Args:
            pointer: The piece.
        """
        place, stop = pointer.address, min(pointer.address + pointer.num_bytes, self._size)
        parts: List[bytes] = []
        while place < stop:
            stretch = self._known(place) or self._own(place)
            if stretch is None:
                return None
            start, content = stretch
            parts.append(content[place - start : stop - start])
            place += len(parts[-1])
        return b"".join(parts)

    def _own(self, position: int) -> Optional[Tuple[int, bytes]]:
        run = self._run_at(position)
        return self.peek(position) if run is not None and run.content.done() else None

    def _run_at(self, position: int) -> Optional[_Run]:
        with self._lock:
            return self._runs.get(position // BLOCK_BYTES)

    def _numbers(self, pointer: Pointer) -> Iterable[int]:
        stop = min(pointer.address + pointer.num_bytes, self._size)
        return range(pointer.address // BLOCK_BYTES, (stop - 1) // BLOCK_BYTES + 1)

    def _request(self, numbers: List[int]) -> Set[_Run]:
        """Start to fetch blocks; return those that were fetched or are being fetched."""
        with self._lock:
            for first, stop in _neighbours(n for n in numbers if n not in self._runs):
                start = first * BLOCK_BYTES
                content = self._fetching.submit(
                    self._fetch, start, min(stop * BLOCK_BYTES, self._size)
                )
                self._runs.update(dict.fromkeys(range(first, stop), _Run(start, content)))
            runs = {self._runs[number] for number in numbers}
            while len(self._runs) > _MAX_BLOCKS:
                self._runs.popitem(last=False)
        return runs


def _neighbours(numbers: Iterable[int]) -> Iterator[Tuple[int, int]]:
    """Join ascending numbers that follow each other, up to a length."""
    first = stop = -1
    for number in numbers:
        if number != stop or stop - first == _MAX_RUN_BLOCKS:
            if stop > first:
                yield first, stop
            first = number
        stop = number + 1
    if stop > first:
        yield first, stop
