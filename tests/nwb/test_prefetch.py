"""Fetching ahead: in order, in parallel, in bounded memory, and never in the way."""

import threading
from contextlib import closing
from typing import Iterator, List, Tuple

import pytest

from devaria.nwb.http import prefetch
from devaria.nwb.http.prefetch import Prefetcher

CONTENT = bytes(range(251)) * 400  # 100,400 bytes


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 1,000 bytes, five at a time, all of one length."""
    monkeypatch.setattr(prefetch, "PART_BYTES", 1000)
    monkeypatch.setattr(prefetch, "_FIRST_PART_BYTES", 1000)
    monkeypatch.setattr(prefetch, "WINDOW_PARTS", 5)


class Source:
    """Bytes that are given out when the test allows it."""

    def __init__(self) -> None:
        self.asked: List[Tuple[int, int]] = []
        self.is_open = threading.Event()
        self.is_open.set()
        self.changed = threading.Condition()

    def fetch(self, start: int, stop: int) -> bytes:
        """Give a range."""
        with self.changed:
            self.asked.append((start, stop))
            self.changed.notify_all()
        assert self.is_open.wait(20)
        return CONTENT[start:stop]

    def wait_for(self, count: int) -> None:
        """Wait until so many ranges have been asked for."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.asked) >= count, 20)


@pytest.fixture
def source() -> Source:
    """Give a source of bytes."""
    return Source()


@pytest.fixture
def prefetcher(source: Source) -> Iterator[Prefetcher]:
    """Give a prefetcher of that source, with three threads."""
    with closing(Prefetcher(source.fetch, 3)) as made:
        yield made
        source.is_open.set()


def test_what_is_planned_is_read(prefetcher: Prefetcher, source: Source) -> None:
    """Ranges within a part, across many, and after a gap come out right, each byte fetched once."""
    prefetcher.plan([(500, 30_000), (60_000, len(CONTENT))])
    for start, stop in [(500, 600), (600, 1700), (1700, 1700 + 12_345), (60_000, len(CONTENT))]:
        assert b"".join(prefetcher.read(start, stop) or []) == CONTENT[start:stop]
    # Whatever was skipped between 14,045 and 60,000 may or may not have been fetched.
    fetched = sorted(source.asked)
    assert all(a[1] <= b[0] for a, b in zip(fetched, fetched[1:]))


def test_what_is_not_planned_is_not_waited_for(prefetcher: Prefetcher) -> None:
    """Outside of the plan, across its gaps, and behind the reader there is nothing."""
    assert prefetcher.read(0, 10) is None
    prefetcher.plan([(1000, 5000), (6000, 9000)])
    assert prefetcher.read(999, 1001) is None
    assert prefetcher.read(4900, 6100) is None
    assert prefetcher.read(8900, 9001) is None
    assert b"".join(prefetcher.read(6000, 6010) or []) == CONTENT[6000:6010]
    assert prefetcher.read(1000, 1010) is None


def test_no_more_is_fetched_than_the_window_holds(prefetcher: Prefetcher, source: Source) -> None:
    """Fetching waits for the reader, and goes on as it does."""
    prefetcher.plan([(0, 50_000)])
    source.wait_for(5)
    assert b"".join(prefetcher.read(0, 4500) or []) == CONTENT[:4500]
    source.wait_for(9)
    assert len(source.asked) == 9
    assert sum(bool(part.content) for part in prefetcher._parts) <= 5


def test_first_parts_are_short(
    prefetcher: Prefetcher, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first part is there soonest; the lengths grow to that of all others."""
    monkeypatch.setattr(prefetch, "_FIRST_PART_BYTES", 400)
    prefetcher.plan([(0, 50_000)])
    source.wait_for(5)
    assert sorted(source.asked) == [(0, 400), (400, 1200), (1200, 2200), (2200, 3200), (3200, 4200)]


def test_looking_moves_nothing(prefetcher: Prefetcher, source: Source) -> None:
    """A look sees what is there or on its way, waits for it, and keeps all that is before it."""
    source.is_open.clear()
    prefetcher.plan([(0, 50_000)])
    assert prefetcher.peek(40_000) is None
    source.wait_for(3)
    threading.Timer(0.1, source.is_open.set).start()
    assert prefetcher.peek(2500) == (2000, CONTENT[2000:3000])
    assert b"".join(prefetcher.read(0, 10) or []) == CONTENT[:10]


def test_new_plan_drops_the_old(prefetcher: Prefetcher, source: Source) -> None:
    """What the old plan still brings is not taken for the new one's."""
    source.is_open.clear()
    prefetcher.plan([(0, 20_000)])
    source.wait_for(3)
    prefetcher.plan([(500, 20_000)])
    source.is_open.set()
    assert b"".join(prefetcher.read(500, 20_000) or []) == CONTENT[500:20_000]


def test_failure_is_the_readers(prefetcher: Prefetcher, source: Source) -> None:
    """What fetching raises is raised where it is needed; a look makes nothing of it."""

    def fail(_start: int, _stop: int) -> bytes:
        raise RuntimeError("gone")

    prefetcher._fetch = fail
    prefetcher.plan([(0, 2000)])
    assert source.asked == []
    with pytest.raises(RuntimeError, match="gone"):
        prefetcher.read(0, 10)
    assert prefetcher.peek(0) is None


def test_closing_ends_the_threads(source: Source) -> None:
    """Threads that have nothing to do end at once."""
    with closing(Prefetcher(source.fetch, 3)) as made:
        made.plan([(0, 50_000)])
        source.wait_for(5)
    for thread in made._threads:
        thread.join(20)
        assert not thread.is_alive()
