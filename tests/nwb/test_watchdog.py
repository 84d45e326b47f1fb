"""Time limits: each acts when its time is over, and not when its block has ended."""

import threading
from typing import List

from waiting import wait_until

from devaria.nwb.http.watchdog import Watchdog


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
