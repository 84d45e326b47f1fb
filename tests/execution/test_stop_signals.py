"""Signals as flags, and the wake-up: how an operator ends a runner, and where it waits."""

import signal
import sys
import threading
import time

import pytest
from core_fixtures import PATIENCE_SEC, Process

from devaria.execution.signals import StopRequest, Wakeup

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")

#: Prints what it is asked for after each wake-up. Its argument is within which time, in seconds,
#: two signals are one request.
LISTENER = """
import sys
from devaria.execution import signals as stop_module
from devaria.execution.signals import Wakeup

stop_module._SAME_REQUEST_SEC = float(sys.argv[1])
wakeup = Wakeup()
stop = stop_module.StopRequest(wakeup)
stop.listen()
print("ready", flush=True)
while True:
    if wakeup.wait(60):
        target = "job" if stop.wants_job_end else "runner"
        print(f"end {target}: {stop.signal_name}, exit code {stop.exit_code}", flush=True)
"""


def listener(same_wish_sec=0, **options):
    """Start the listener."""
    return Process("-c", LISTENER, str(same_wish_sec), **options)


@posix
def test_without_a_signal_nothing_is_asked_for():
    """Neither the runner nor its job is to end."""
    stop = StopRequest(Wakeup())

    assert not stop.wants_end
    assert not stop.wants_job_end
    assert stop.since(patient=False) is None
    assert stop.since(patient=True) is None


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_ends_the_runner_the_second_the_job_the_third_the_process(number):
    """Each wakes the main thread at once; the third does not wait for it."""
    name, code = signal.Signals(number).name, 128 + number
    with listener() as process:
        process.wait_for_line("ready")
        process.signal(number)
        process.wait_for_line(f"end runner: {name}, exit code {code}")
        process.signal(number)
        process.wait_for_line(f"end job: {name}, exit code {code}")
        process.signal(number)

        assert process.wait() == code


@posix
def test_two_signals_at_once_are_one_request():
    """A terminal's Ctrl-C and a service manager's SIGTERM may both arrive."""
    with listener(same_wish_sec=600) as process:
        process.wait_for_line("ready")
        process.signal(signal.SIGINT)
        process.wait_for_line("end runner: SIGINT")
        for _ in range(5):
            process.signal(signal.SIGTERM)
            time.sleep(0.01)  # not for a condition: to have them delivered one by one

        assert process.is_running
        assert "end job" not in process.output


@posix
def test_the_last_signal_names_the_exit_code():
    """SIGINT followed by SIGTERM gives 143."""
    with listener() as process:
        process.wait_for_line("ready")
        process.signal(signal.SIGINT)
        process.wait_for_line("end runner")
        process.signal(signal.SIGTERM)

        assert "exit code 143" in process.wait_for_line("end job: SIGTERM")


@posix
def test_under_nohup_a_hangup_is_ignored_and_other_signals_are_not():
    """Such a runner is meant to go on after the terminal closes."""
    options = {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)}
    with listener(**options) as process:
        process.wait_for_line("ready")
        process.signal(signal.SIGHUP)
        process.signal(signal.SIGTERM)

        process.wait_for_line("end runner: SIGTERM")
        assert "SIGHUP" not in process.output


@posix
def test_a_stop_request_has_its_time():
    """Requests get a little more time, counted from the signal."""
    stop = StopRequest(Wakeup())
    before = time.monotonic()

    stop._on_signal(signal.SIGINT, None)

    assert before <= stop.since(patient=False) <= time.monotonic()
    assert stop.since(patient=True) is None


# --- the wake-up -----------------------------------------------------------------------------


def test_without_news_it_sleeps_for_the_whole_time():
    """It returns False."""
    started = time.monotonic()

    assert not Wakeup().wait(0.1)
    assert time.monotonic() - started >= 0.1


def test_news_from_before_the_wait_are_not_lost():
    """News between the last check and the wait must end the wait at once."""
    wakeup = Wakeup()
    wakeup.notify()

    assert wakeup.wait(0)


def test_another_thread_wakes_it():
    """The wait ends long before its time is over."""
    wakeup = Wakeup()
    waiting = threading.Timer(0.05, wakeup.notify)
    waiting.start()

    assert wakeup.wait(PATIENCE_SEC)
    waiting.join()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no timer signals")
def test_a_signal_handler_wakes_it():
    """A signal in the middle of the wait ends it too."""
    wakeup = Wakeup()
    old = signal.signal(signal.SIGALRM, lambda *_: wakeup.notify())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert wakeup.wait(PATIENCE_SEC)
    finally:
        signal.signal(signal.SIGALRM, old)


def test_many_news_wake_it_once():
    """One check covers all news, so it does not pile up."""
    wakeup = Wakeup()
    for _ in range(10_000):
        wakeup.notify()

    assert wakeup.wait(0)
    assert not wakeup.wait(0)


SHORT_WAITS = """
from devaria.execution.signals import Wakeup

for number in range(100_000):
    wakeup = Wakeup()
    wakeup.notify()
    assert wakeup.wait(0)
    assert not wakeup.wait(0 if number % 2 else 1e-7)
print("done", flush=True)
"""


def test_a_wait_of_no_time_ends():
    """Python's queue may wait without end for a time that is over at once."""
    with Process("-c", SHORT_WAITS) as process:
        process.wait_for_line("done")


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


def test_the_chore_can_be_asked_for_soon():
    """Once; afterwards it is done as regularly as before."""
    wakeup = Wakeup()
    done = []
    wakeup.do_regularly(lambda: done.append(time.monotonic()), 600)
    wakeup.do_soon(0.05)
    wakeup.do_soon(600)
    asked_at = time.monotonic()

    wakeup.wait(0.2)
    wakeup.wait(0.01)

    assert len(done) == 1
    assert done[0] - asked_at >= 0.04
