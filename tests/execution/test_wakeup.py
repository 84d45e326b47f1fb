"""The wake-up: the one place where the main thread waits."""

import signal
import threading
import time

import pytest
from core_fixtures import PATIENCE_SEC

from devaria.execution.signals import Wakeup


def test_without_news_it_sleeps_for_the_whole_time():
    """And says that there was none."""
    started = time.monotonic()

    assert not Wakeup().wait(0.1)
    assert time.monotonic() - started >= 0.1


def test_news_from_before_the_wait_are_not_lost():
    """What happened between the look around and the sleep must not be slept over."""
    wakeup = Wakeup()
    wakeup.notify()

    assert wakeup.wait(0)


def test_another_thread_wakes_it():
    """Long before the time is over."""
    wakeup = Wakeup()
    waiting = threading.Timer(0.05, wakeup.notify)
    waiting.start()

    assert wakeup.wait(PATIENCE_SEC)
    waiting.join()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no timer signals")
def test_a_signal_handler_wakes_it():
    """Also in the middle of the wait itself."""
    wakeup = Wakeup()
    old = signal.signal(signal.SIGALRM, lambda *_: wakeup.notify())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert wakeup.wait(PATIENCE_SEC)
    finally:
        signal.signal(signal.SIGALRM, old)


def test_many_news_wake_it_once():
    """It looks at everything anyway; and nothing piles up."""
    wakeup = Wakeup()
    for _ in range(10_000):
        wakeup.notify()

    assert wakeup.wait(0)
    assert not wakeup.wait(0)


def test_no_news_of_several_threads_are_lost():
    """Each notification ends a wait that began before it, or is seen by the next."""
    wakeup = Wakeup()
    flags = [False] * 200

    def tell(number):
        flags[number] = True
        wakeup.notify()

    threads = [threading.Thread(target=tell, args=(number,)) for number in range(len(flags))]
    for thread in threads:
        thread.start()
    while not all(flags):
        assert wakeup.wait(PATIENCE_SEC)
    for thread in threads:
        thread.join()
