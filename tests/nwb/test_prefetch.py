"""Prefetching: in order, in parallel, in limited memory, and without blocking other reads."""

import threading
from contextlib import closing
from typing import Iterator, List, Tuple

import pytest

from devaria.nwb.http import prefetch
from devaria.nwb.http.prefetch import Prefetcher

CONTENT = bytes(range(251)) * 400  # 100,400 bytes


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the length of all parts to 1,000 bytes, and the window to five parts."""
    monkeypatch.setattr(prefetch, "PART_BYTES", 1000)
    monkeypatch.setattr(prefetch, "_FIRST_PART_BYTES", 1000)
    monkeypatch.setattr(prefetch, "WINDOW_BYTES", 5000)


class Source:
    """Bytes whose fetching can be held up."""

    def __init__(self) -> None:
        self.asked: List[Tuple[int, int]] = []
        self.is_open = threading.Event()
        self.is_open.set()
        self.changed = threading.Condition()

    def fetch(self, start: int, stop: int) -> bytes:
        """Return a range, once that is allowed."""
        with self.changed:
            self.asked.append((start, stop))
            self.changed.notify_all()
        assert self.is_open.wait(20)
        return CONTENT[start:stop]

    def wait_for(self, count: int) -> None:
        """Wait until this many ranges were requested."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.asked) >= count, 20)


@pytest.fixture
def source() -> Source:
    """Return a source of bytes."""
    return Source()


@pytest.fixture
def prefetcher(source: Source) -> Iterator[Prefetcher]:
    """Return a prefetcher of that source, with three threads."""
    with closing(Prefetcher(source.fetch, 3, 3, len(CONTENT))) as made:
        yield made
        source.is_open.set()


def test_what_is_planned_is_read(prefetcher: Prefetcher, source: Source) -> None:
    """Ranges within a part, across many, and after a gap come out right, each byte fetched once."""
    plan = prefetcher.plan([(500, 30_000), (60_000, len(CONTENT))])
    for start, stop in [(500, 600), (600, 1700), (1700, 1700 + 12_345), (60_000, len(CONTENT))]:
        assert b"".join(plan.read(start, stop) or []) == CONTENT[start:stop]
    # Parts that the reader skipped may or may not have been fetched.
    fetched = sorted(source.asked)
    assert all(a[1] <= b[0] for a, b in zip(fetched, fetched[1:]))


def test_what_is_not_planned_is_not_waited_for(prefetcher: Prefetcher) -> None:
    """Ranges outside the plan, across its gaps, and behind the reader give None at once."""
    plan = prefetcher.plan([(1000, 5000), (6000, 9000)])
    assert plan.read(0, 10) is None
    assert plan.read(999, 1001) is None
    assert plan.read(4900, 6100) is None
    assert plan.read(8900, 9001) is None
    assert b"".join(plan.read(6000, 6010) or []) == CONTENT[6000:6010]
    assert plan.read(1000, 1010) is None


def test_no_more_is_fetched_than_the_window_holds(prefetcher: Prefetcher, source: Source) -> None:
    """Fetching stays within the window, and continues as the reader moves on."""
    plan = prefetcher.plan([(0, 50_000)])
    source.wait_for(5)
    assert b"".join(plan.read(0, 4500) or []) == CONTENT[:4500]
    source.wait_for(9)
    assert len(source.asked) == 9
    assert sum(bool(part.content) for part in plan._parts) <= 5


def test_first_parts_are_short(
    prefetcher: Prefetcher, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first part is the shortest, and the lengths grow to that of all others."""
    monkeypatch.setattr(prefetch, "_FIRST_PART_BYTES", 400)
    prefetcher.plan([(0, 50_000)])
    source.wait_for(5)
    assert sorted(source.asked) == [(0, 400), (400, 1200), (1200, 2200), (2200, 3200), (3200, 4200)]


def test_first_parts_are_short_after_a_plan_of_nothing(
    prefetcher: Prefetcher, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan without ranges is not kept as if it were to be read."""
    monkeypatch.setattr(prefetch, "_FIRST_PART_BYTES", 400)
    prefetcher.plan([])
    prefetcher.plan([(0, 50_000)])
    source.wait_for(2)
    assert sorted(source.asked)[:2] == [(0, 400), (400, 1200)]


def test_a_plan_may_become_longer(prefetcher: Prefetcher, source: Source) -> None:
    """It is read as one, whether its first ranges are fetched or on their way."""
    plan = prefetcher.plan([(0, 1500)])
    source.wait_for(2)
    prefetcher.extend(plan, [(1500, 4000)])
    prefetcher.extend(plan, [(4000, 9000)])
    assert plan.holds(8999)
    assert not plan.holds(9000)
    assert b"".join(plan.read(700, 8200) or []) == CONTENT[700:8200]
    assert not plan.holds(100)
    plan.close()
    other = prefetcher.plan([(20_000, 30_000)])
    assert b"".join(other.read(20_000, 30_000) or []) == CONTENT[20_000:30_000]


def test_peek_drops_nothing(prefetcher: Prefetcher, source: Source) -> None:
    """Peeking waits for a part that is being fetched, and drops no earlier part."""
    source.is_open.clear()
    plan = prefetcher.plan([(0, 50_000)])
    assert prefetcher.peek(40_000) is None
    source.wait_for(3)
    threading.Timer(0.1, source.is_open.set).start()
    assert prefetcher.peek(2500) == (2000, CONTENT[2000:3000])
    assert b"".join(plan.read(0, 10) or []) == CONTENT[:10]


def test_plans_are_fetched_one_after_another(prefetcher: Prefetcher, source: Source) -> None:
    """The second plan is fetched while the first is read, and both share the window."""
    first = prefetcher.plan([(0, 3000)])
    second = prefetcher.plan([(10_000, 20_000)])
    source.wait_for(5)
    assert sorted(source.asked) == [(s, s + 1000) for s in (0, 1000, 2000, 10_000, 11_000)]
    assert second.read(0, 10) is None
    assert b"".join(first.read(0, 3000) or []) == CONTENT[:3000]
    first.close()
    assert b"".join(second.read(10_000, 20_000) or []) == CONTENT[10_000:20_000]


def test_a_reader_that_waits_gets_its_part_in_any_case(
    prefetcher: Prefetcher, source: Source
) -> None:
    """Also while other plans fill the window, and nobody reads them."""
    prefetcher.plan([(0, 20_000)])
    source.wait_for(5)
    late = prefetcher.plan([(30_000, 34_000)])
    urgent = prefetcher.plan([(50_000, 54_000)], is_urgent=True)
    for plan, start in ((late, 30_000), (urgent, 50_000)):
        assert b"".join(plan.read(start, start + 4000) or []) == CONTENT[start : start + 4000]


def test_a_closed_plan_makes_room(prefetcher: Prefetcher, source: Source) -> None:
    """Its parts are not fetched any more, those that arrive late are dropped, and others follow."""
    source.is_open.clear()
    old = prefetcher.plan([(0, 20_000)])
    source.wait_for(3)
    old.close()
    new = prefetcher.plan([(500, 20_000)])
    source.is_open.set()
    assert b"".join(new.read(500, 20_000) or []) == CONTENT[500:20_000]
    assert old.read(0, 10) is None
    assert len(source.asked) <= 3 + 20


def test_clearing_closes_all_plans(prefetcher: Prefetcher, source: Source) -> None:
    """Nothing is left of them."""
    plans = [prefetcher.plan([(start, start + 9000)]) for start in (0, 20_000)]
    source.wait_for(5)
    prefetcher.clear()
    assert [plan.is_closed for plan in plans] == [True, True]
    assert prefetcher.peek(100) is None


def test_failure_is_the_readers(prefetcher: Prefetcher, source: Source) -> None:
    """An exception of a fetch is raised in ``read``; ``peek`` returns None."""

    def fail(_start: int, _stop: int) -> bytes:
        raise RuntimeError("gone")

    prefetcher._fetch = fail
    plan = prefetcher.plan([(0, 2000)])
    assert source.asked == []
    with pytest.raises(RuntimeError, match="gone"):
        plan.read(0, 10)
    assert prefetcher.peek(0) is None


def test_closing_ends_the_threads(source: Source) -> None:
    """Closing ends the fetching threads."""
    with closing(Prefetcher(source.fetch, 3, 3, len(CONTENT))) as made:
        made.plan([(0, 50_000)])
        source.wait_for(5)
    for thread in made._threads:
        thread.join(20)
        assert not thread.is_alive()
