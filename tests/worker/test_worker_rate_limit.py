"""The rate limiter, with a clock that the tests set."""

from devaria.worker.api.rate_limit import RateLimiter


def test_a_window_holds_its_limit_and_starts_with_the_first_request(clock):
    """Requests late in a window do not move its end."""
    limiter, start = RateLimiter(clock), clock.now
    assert limiter.refused_until("r", "a", 2) is None
    clock.now += 59_000
    assert limiter.refused_until("r", "a", 2) is None
    assert limiter.refused_until("r", "a", 2) == start + 60_000
    clock.now = start + 59_999
    assert limiter.refused_until("r", "a", 2) == start + 60_000
    clock.now = start + 60_000
    assert limiter.refused_until("r", "a", 2) is None


def test_a_pause_starts_a_new_window(clock):
    """Windows are not aligned: the next one starts with the next request."""
    limiter = RateLimiter(clock)
    limiter.refused_until("r", "a", 1)
    clock.now += 95_000
    start = clock.now
    assert limiter.refused_until("r", "a", 1) is None
    assert limiter.refused_until("r", "a", 1) == start + 60_000


def test_rules_and_callers_are_counted_apart(clock):
    """A caller over one limit is not over another, and no other caller is."""
    limiter = RateLimiter(clock)
    assert limiter.refused_until("r", "a", 1) is None
    assert limiter.refused_until("r", "a", 1) is not None
    assert limiter.refused_until("s", "a", 1) is None
    assert limiter.refused_until("r", "b", 1) is None


def test_a_clock_that_is_set_back_does_not_lock_callers_out(clock):
    """A window that starts in the future counts as over."""
    limiter = RateLimiter(clock)
    limiter.refused_until("r", "a", 1)
    clock.now -= 3_600_000
    assert limiter.refused_until("r", "a", 1) is None
    assert limiter.refused_until("r", "a", 1) == clock.now + 60_000


def test_windows_that_are_over_take_no_memory(clock):
    """Windows that are over are dropped, and open ones are kept."""
    limiter = RateLimiter(clock)
    for n in range(1000):
        limiter.refused_until("r", f"old-{n}", 1)
    clock.now += 60_000
    limiter.refused_until("r", "new", 1)
    assert len(limiter._windows) == 1
    assert limiter.refused_until("r", "new", 1) is not None
