"""The back-off: bounds of every wait."""

import math

import core_fixtures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devaria.common.errors import NoAnswer, ServerError, StrangeAnswer
from devaria.common.retry import MAX_SERVER_WAIT_SEC, Backoff, Failures, Pace
from devaria.common.timing import Timing

DRAWS = st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=40)


@core_fixtures.thorough
@given(DRAWS)
def test_each_wait_is_within_the_cap_of_its_try(draws):
    """Each is from half the base to the cap: 1, 2, 4, ... up to 300 s."""
    numbers = iter(draws)
    backoff = Backoff(1.0, 300.0, draw=lambda: next(numbers))

    for turn in range(len(draws)):
        assert 0.5 <= backoff.next_wait_sec() <= min(2.0**turn, 300.0)


def test_waits_double_up_to_the_maximum():
    """With the greatest draw the waits are the caps."""
    backoff = Backoff(1.0, 300.0, draw=lambda: 1.0)

    waits = [backoff.next_wait_sec() for _ in range(11)]

    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_waits_are_spread():
    """Runners that lost the worker at the same moment do not come back at the same moment."""
    backoff = Backoff(1.0, 300.0)
    for _ in range(10):
        backoff.next_wait_sec()

    waits = [backoff.next_wait_sec() for _ in range(200)]

    assert min(waits) < 60
    assert max(waits) > 240


@core_fixtures.thorough
@given(st.floats(), st.floats(0, 1, exclude_max=True), st.integers(0, 20))
def test_retry_after_is_kept_in_full_and_within_ten_minutes(retry_after_sec, draw, tries_before):
    """The number may be anything: negative, infinite or NaN."""
    backoff = Backoff(1.0, 300.0, draw=lambda: draw)
    for _ in range(tries_before):
        backoff.next_wait_sec()

    wait = backoff.next_wait_sec(retry_after_sec)

    assert 0.0 <= wait <= MAX_SERVER_WAIT_SEC + 1.0
    if not math.isnan(retry_after_sec):
        assert wait >= min(retry_after_sec, MAX_SERVER_WAIT_SEC)


@pytest.mark.parametrize("retry_after_sec", [None, math.nan])
def test_without_retry_after_the_wait_is_the_back_offs_own(retry_after_sec):
    """NaN counts as no `Retry-After`."""
    assert Backoff(8.0, 300.0, draw=lambda: 0.5).next_wait_sec(retry_after_sec) == 4.0


def test_retry_after_lengthens_the_waits_after_it_too():
    """A server that answers 429 again and again is left alone for longer."""
    backoff = Backoff(1.0, 300.0, draw=lambda: 1.0)
    for _ in range(5):
        backoff.next_wait_sec(0.0)

    assert backoff.next_wait_sec() == 32.0


@core_fixtures.thorough
@given(st.lists(st.floats(0, 5), min_size=1, max_size=300))
def test_a_pace_keeps_within_a_rate_limit(gaps):
    """In no minute are there more requests than at once and at the interval together."""
    now = [0.0]
    pace = Pace(30, 2.0, clock=lambda: now[0])
    sent = []
    for gap in gaps:
        now[0] += gap
        now[0] += pace.wait_sec()
        sent.append(now[0])

    for nth, at in enumerate(sent):
        assert sum(at <= each < at + 60 for each in sent[nth:]) <= 60


def test_a_pace_lets_some_requests_come_at_once():
    """Those after them wait for the interval, and a rest makes up for them."""
    now = [0.0]
    pace = Pace(3, 2.0, clock=lambda: now[0])

    assert [pace.wait_sec() for _ in range(5)] == [0, 0, 0, 2, 4]
    now[0] = 100.0
    assert [pace.wait_sec() for _ in range(4)] == [0, 0, 0, 2]


# --- the failures of one request ---------------------------------------------------------------


def failed(kind, status=None):
    """Return an error of the worker."""
    error = kind("failed")
    error.status = status
    return error


#: Each wait is ten times the one before.
STEEP = Timing(backoff_base_sec=1.0, backoff_factor=10.0, backoff_max_sec=1e9)


def test_a_failure_of_another_kind_begins_the_waits_anew():
    """A flaky network fails in many ways; what is answered in between shows that it is there."""
    failures = Failures(STEEP)
    kinds = [failed(NoAnswer), failed(NoAnswer, 502), failed(StrangeAnswer, 403)]
    assert all(failures.note(kinds[n % 3]) <= 1.0 for n in range(30))


def test_failures_of_one_kind_lengthen_the_waits():
    """The worker refuses this request, and is not to be asked every second."""
    failures = Failures(STEEP)
    waits = [failures.note(failed(ServerError, 500)) for _ in range(9)]
    assert max(waits) > 1_000
