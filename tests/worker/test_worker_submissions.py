"""When two submissions are the same job, and how large a field may be."""

import random

import core_fixtures
import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import TEXTS, VALUES, wire

from devaria.common import js_json
from devaria.worker.api.web import TooBigError, check_size
from devaria.worker.store.jobs import job_hash


def _shuffled(value, rng):
    if isinstance(value, list):
        return [_shuffled(one, rng) for one in value]
    if isinstance(value, dict):
        names = list(value)
        rng.shuffle(names)
        return {name: _shuffled(value[name], rng) for name in names}
    return value


@core_fixtures.thorough
@given(st.dictionaries(TEXTS, VALUES, max_size=3), st.integers())
def test_key_order_does_not_matter_for_identity(params, seed):
    """Shuffling the keys at every depth gives the same hash."""
    first = js_json.loads(wire(params))
    second = js_json.loads(wire(_shuffled(params, random.Random(seed))))
    assert job_hash("t", first) == job_hash("t", second)


@core_fixtures.thorough
@given(st.lists(VALUES, min_size=2, max_size=2))
def test_jobs_are_the_same_exactly_if_their_parameters_are_equal(values):
    """Two jobs have the same hash exactly if their sorted JSON is the same."""
    one, two = ({"v": js_json.loads(wire(value))} for value in values)
    same_text = js_json.dumps(one, sort_keys=True) == js_json.dumps(two, sort_keys=True)
    assert (job_hash("t", one) == job_hash("t", two)) == same_text
    if not same_text:
        assert job_hash("t", one) != job_hash("t", two)
    assert job_hash("t", one) != job_hash("u", one)


@pytest.mark.parametrize(
    ("one", "two"),
    [(1, "1"), (1, True), (0, False), (None, ""), ([1, 2], [2, 1]), ("é", "e\u0301"), ({}, [])],
)
def test_different_values_are_different_jobs(one, two):
    """Values that Python or a database could treat as equal are different jobs."""
    assert job_hash("t", {"v": one}) != job_hash("t", {"v": two})
    assert job_hash("t", {"v": None}) != job_hash("t", {})


def test_the_hash_is_sha256_over_type_and_sorted_parameters():
    """The hash of a known job is the one that `sha256sum` gives for its compact JSON."""
    # printf '{"params":{"a":1,"b":2},"type":"t"}' | sha256sum
    expected = "0662c6ecec8fd48889a27a5f7264658d136f74a4c14f809d95c6f7d286d81d1f"
    assert job_hash("t", {"b": 2, "a": 1}) == expected


@core_fixtures.thorough
@given(TEXTS)
def test_a_field_may_be_as_long_as_its_limit(text):
    """The limit is inclusive."""
    size = js_json.utf16_length(text)
    check_size("It", text, size)
    with pytest.raises(TooBigError, match=f"It exceeds size limit of {size - 1} bytes"):
        check_size("It", text, size - 1)
