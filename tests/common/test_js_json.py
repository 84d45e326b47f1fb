"""JSON as JavaScript writes it: examples from ECMA-262, and properties."""

import json
import math

import core_fixtures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devaria.common.js_json import compact_json, utf16_length

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | NUMBERS | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


# Number::toString, ECMA-262 6.1.6.1.20: its rules in their order, and their borders.
@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (-1.5, "-1.5"),
        (0.1, "0.1"),
        (0.1 + 0.2, "0.30000000000000004"),
        (123.456, "123.456"),
        (1e20, "100000000000000000000"),
        (123456789012345680000.0, "123456789012345680000"),
        (1e21, "1e+21"),
        (1.5e21, "1.5e+21"),
        (0.000001, "0.000001"),
        (0.00000123, "0.00000123"),
        (1e-7, "1e-7"),
        (1.23e-7, "1.23e-7"),
        (-1.5e-10, "-1.5e-10"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (2**53, "9007199254740992"),
        (2**53 + 1, "9007199254740992"),
        (-(2**53) - 1, "-9007199254740992"),
        (12345678901234567890, "12345678901234567000"),
        (10**21, "1e+21"),
        (10**400, "null"),
    ],
)
def test_numbers_are_written_as_javascript_writes_them(number, text):
    """Sizes and identities are taken on this text."""
    assert compact_json(number) == text


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_what_is_no_number_in_json_is_refused(number):
    """A request with it in its body would be a 500."""
    with pytest.raises(ValueError, match="JSON"):
        compact_json([number])


# QuoteJSONString, ECMA-262 25.5.2.3.
@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('say "hi"\\', r'"say \"hi\"\\"'),
        ("\b\t\n\f\r", r'"\b\t\n\f\r"'),
        ("\x00\x0b\x1f", '"\\u0000\\u000b\\u001f"'),
        ("\x7f\x9f/", '"\x7f\x9f/"'),
        ("é\u2028\u2029\ufeff", '"é\u2028\u2029\ufeff"'),
        ("🧠", '"🧠"'),
        ("\ud83e", r'"\ud83e"'),
        ("\udfff\ud800", r'"\udfff\ud800"'),
    ],
)
def test_strings_are_quoted_as_javascript_quotes_them(value, text):
    """Printable characters as they are, half pairs and controls as lower-case escapes."""
    assert compact_json(value) == text


def test_containers_have_no_white_space_and_keep_their_order():
    """Tuples are lists; keys are sorted by UTF-16 code units where asked for."""
    value = {"b": [1, (2.0, None)], "a": {"\uffff": True, "🧠": False}}

    assert compact_json(value) == '{"b":[1,[2,null]],"a":{"\uffff":true,"🧠":false}}'
    expected = '{"a":{"🧠":false,"\uffff":true},"b":[1,[2,null]]}'
    assert compact_json(value, sort_keys=True) == expected


@core_fixtures.thorough
@given(VALUES)
def test_what_is_written_reads_as_the_same_value(value):
    """Up to what JavaScript's numbers cannot hold."""
    read = as_javascript_has_it(json.loads(compact_json(value)))

    assert read == as_javascript_has_it(value)


@core_fixtures.thorough
@given(VALUES)
def test_writing_again_what_was_read_changes_nothing(value):
    """The worker measures what it parsed; so the measure must not depend on who wrote."""
    text = compact_json(value)

    assert compact_json(json.loads(text)) == text


@core_fixtures.thorough
@given(st.dictionaries(st.text(), st.dictionaries(st.text(), st.integers())))
def test_sorted_keys_do_not_depend_on_the_order_of_insertion(value):
    """Two submissions that differ in it are one job."""
    turned = dict(reversed(list(value.items())))

    assert compact_json(value, sort_keys=True) == compact_json(turned, sort_keys=True)


@core_fixtures.thorough
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_reads_as_the_same_double(number):
    """The digits are the shortest that do."""
    text = compact_json(number)

    assert float(text) == number
    assert len(text) <= 25


@core_fixtures.thorough
@given(st.text(st.characters()))
def test_units_are_one_a_character_and_two_beyond_the_first_plane(text):
    """Half a pair counts one."""
    assert utf16_length(text) == len(text) + sum(ord(each) > 0xFFFF for each in text)


def as_javascript_has_it(value):
    """Turn a value into what JavaScript's JSON.parse has of it."""
    if isinstance(value, dict):
        return {key: as_javascript_has_it(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [as_javascript_has_it(inner) for inner in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value) if math.isfinite(float(value)) else None
        except OverflowError:
            return None
    return value
