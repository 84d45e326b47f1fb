"""What a job's process says: each event is of its type, or a misfit, whatever the line holds."""

import json

import core_fixtures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devaria.execution.events import (
    Ended,
    Heard,
    Misfit,
    NoEvent,
    Preloaded,
    Progress,
    Started,
    Unavailable,
    parsed,
)

#: What a parsed line of JSON can hold, with the numbers that only Python reads.
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
KINDS = ["started", "progress", "preloaded", "unavailable", "outcome"]
NAMES = ["current", "total", "console", "problem", "reason", "output", "error", "traceback"]

ENDED = {"event": "outcome", "output": None, "error": "e", "console": None, "traceback": None}


def test_events_of_a_job_are_taken_as_they_are():
    """Those that `devaria.execution.child` sends."""
    progress = {"event": "progress", "current": 1, "total": 2.5, "console": None}
    assert parsed({"event": "started"}) == Started()
    assert parsed(progress) == Progress(1, 2.5, None)
    assert parsed({"event": "preloaded", "problem": None}) == Preloaded(None)
    assert parsed({"event": "unavailable", "reason": "gone"}) == Unavailable("gone")
    assert parsed(ENDED) == Ended(None, "e", None, None)
    good = {**ENDED, "output": {"a": [1, "\ud800"]}, "error": None, "console": "\ud800"}
    assert parsed(good) == Ended({"a": [1, "\ud800"]}, None, "\ud800", None)
    assert parsed({"event": "unheard of"}) == NoEvent()


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({"event": "progress", "current": True, "total": 1, "console": None}, "its current"),
        ({"event": "progress", "current": 10**400, "total": 1, "console": None}, "its current"),
        ({"event": "progress", "current": 1, "total": 1, "console": 5}, "its console"),
        ({"event": "preloaded", "problem": 5}, "its problem"),
        ({"event": "unavailable", "reason": None}, "its reason"),
        ({**ENDED, "traceback": {}}, "its traceback"),
        ({**ENDED, "error": None}, "not exactly one"),
        ({"event": "outcome", "output": {}}, "it has no error"),
    ],
)
def test_a_misfit_says_what_is_wrong(event, reason):
    """It becomes the job's error."""
    misfit = parsed(event)
    assert isinstance(misfit, Misfit)
    assert reason in misfit.reason


def test_long_texts_lose_their_middle():
    """A report has no room for more."""
    ended = parsed(
        {**ENDED, "error": "e" * 10**6, "console": "c" * 10**7, "traceback": "t" * 10**6}
    )
    assert [len(each) <= most for each, most in zip(ended[1:], (20_000, 10**6, 20_000))] == [
        True
    ] * 3


@core_fixtures.thorough
@given(
    st.sampled_from(KINDS) | VALUES,
    st.dictionaries(st.sampled_from(NAMES), VALUES),
)
def test_any_event_is_one_or_a_misfit_and_can_be_sent(kind, fields):
    """Nothing is raised, and no NaN goes on."""
    event = parsed({"event": kind, **fields})
    if isinstance(event, (Ended, Progress)):
        json.dumps(event, allow_nan=False)


def test_the_first_end_counts_and_a_job_that_started_was_available():
    """Job code may say anything after it, or say that its handler is not there, for ever."""
    heard = Heard()
    for event in (Started(), Unavailable("gone"), Ended({}, None, None, None)):
        heard.take(event)
    assert isinstance(heard.end, Misfit)
