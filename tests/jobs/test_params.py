"""Declared parameters: what is allowed, what is filled in, and what is said of the rest."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devaria.jobs import Param
from devaria.jobs.params import checked_params, unknown_names

DECLARED = {
    "name": Param(str, "whom to greet"),
    "seconds": Param(float, "how long", default=1.5, minimum=0, maximum=300),
    "mode": Param(str, "how", default="fast", choices=("fast", "slow")),
}


def test_defaults_fill_in_what_is_not_given() -> None:
    """Only what is missing is filled in; what is not declared stays."""
    checked = checked_params(DECLARED, {"name": "Alice", "other": [1]})
    assert checked == {"name": "Alice", "seconds": 1.5, "mode": "fast", "other": [1]}


@pytest.mark.parametrize(
    ("given_params", "text"),
    [
        ({}, "name is missing; it must be a string"),
        ({"name": None}, "name must be a string, not None"),
        ({"name": "A", "seconds": "x"}, "seconds must be a number from 0 to 300, not 'x'"),
        ({"name": "A", "seconds": True}, "seconds must be a number from 0 to 300, not True"),
        ({"name": "A", "seconds": math.nan}, "seconds must be a number from 0 to 300, not nan"),
        ({"name": "A", "seconds": 10**400}, "seconds must be a number from 0 to 300, not 1000"),
        ({"name": "A", "seconds": -1}, "seconds must be a number from 0 to 300, not -1"),
        ({"name": "A", "mode": "loud"}, "mode must be one of 'fast', 'slow', not 'loud'"),
    ],
)
def test_what_is_not_allowed_is_named(given_params, text) -> None:
    """The error says which parameter, what is allowed, and what was given."""
    with pytest.raises(ValueError, match=re.escape(text)) as caught:
        checked_params(DECLARED, given_params)
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (str, "a", 1),
        (int, 7, 7.0),
        (float, 7, "7"),
        (bool, False, 0),
        (list, [], {}),
        (dict, {}, []),
    ],
)
def test_types_are_those_of_json(kind, good, bad) -> None:
    """A whole number is a number, but true is not a number and 7.0 is not a whole one."""
    param = Param(kind, "anything")
    assert param.takes(good)
    assert not param.takes(bad)


@given(st.integers() | st.floats())
def test_bounds_hold_for_every_number(number) -> None:
    """A number is allowed if it lies within the bounds, both included."""
    param = Param(float, "a number", minimum=-2.5, maximum=10)
    assert param.takes(number) == (-2.5 <= number <= 10)


def test_misspelt_names_are_found_only_where_something_is_declared() -> None:
    """A type that declares nothing takes any name."""
    assert unknown_names(DECLARED, {"nmae": 1, "name": 2}) == ["nmae"]
    assert unknown_names({}, {"anything": 1}) == []
