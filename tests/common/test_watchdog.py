"""Time limits: each acts when its time is over, and not when its block has ended."""

import threading
from typing import List

import pytest
from waiting import wait_until

from devaria.common.watchdog import Watchdog


def test_a_limit_acts_once_when_its_time_is_over() -> None:
    """Also if a longer one began before."""
    watchdog, acted, late = Watchdog(), threading.Event(), []
    with watchdog.limit(60, lambda: late.append("long")), watchdog.limit(0.01, acted.set):
        assert acted.wait(20)
    assert late == []


def test_many_limits_at_once() -> None:
    """Each acts for itself."""
    watchdog = Watchdog()
    acted: List[int] = []
    done = threading.Barrier(21)

    def work(number: int) -> None:
        is_late = threading.Event()
        with watchdog.limit(0.01 if number % 2 else 60, is_late.set):
            if number % 2 and is_late.wait(20):
                acted.append(number)
        done.wait(20)

    for number in range(20):
        threading.Thread(target=work, args=(number,)).start()
    done.wait(20)
    assert sorted(acted) == list(range(1, 20, 2))


def test_a_block_that_ends_in_time_is_forgotten() -> None:
    """Nothing acts, and the thread ends."""
    watchdog, late = Watchdog(), []
    for _ in range(100):
        with watchdog.limit(0.2, lambda: late.append(1)):
            pass
    wait_until(lambda: not watchdog._is_running)
    assert late == []
    acted = threading.Event()
    with watchdog.limit(0, acted.set):  # the thread starts again
        assert acted.wait(20)


def test_a_thread_that_does_not_start_spoils_no_later_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There may be no thread left for a moment."""
    watchdog, acted, started = Watchdog(), threading.Event(), threading.Thread.start
    failures = [RuntimeError("can't start new thread")]

    def start(thread: threading.Thread) -> None:
        if failures:
            raise failures.pop()
        started(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(RuntimeError), watchdog.limit(60, acted.set):
        pass
    with watchdog.limit(0.01, acted.set):
        assert acted.wait(20)
