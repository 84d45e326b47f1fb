"""JSON as JavaScript reads, writes and measures it: examples, and properties."""

import json
import math
import subprocess
import sys

import core_fixtures
import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import TEXTS, VALUES, wire
from waiting import BOUND_SEC

from devaria.common import js_json
from devaria.common.js_json import compact_json, utf16_length

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


# Written by JSON.stringify(JSON.parse(sent)) in Node 20.
@pytest.mark.parametrize(
    ("sent", "written"),
    [
        ("1.0", "1"),
        ("-0", "0"),
        ("-0.0", "0"),
        ("1e2", "100"),
        ("1E+2", "100"),
        ("0.1", "0.1"),
        ("9007199254740993", "9007199254740992"),
        ("123456789012345678901", "123456789012345680000"),
        ("1e20", "100000000000000000000"),
        ("1e21", "1e+21"),
        ("1.5e300", "1.5e+300"),
        ("0.000001", "0.000001"),
        ("1.25e-6", "0.00000125"),
        ("-0.000015", "-0.000015"),
        ("1e-7", "1e-7"),
        ("2.5E-9", "2.5e-9"),
        ("1e-10", "1e-10"),
        ("5e-324", "5e-324"),
        ("1e-400", "0"),
        ("1e999", "null"),
        ("-1e999", "null"),
        ('["e-07",1e-07,"\\"1e-05"]', '["e-07",1e-7,"\\"1e-05"]'),
        ('"\\u00e9\\u2028\\/\\u007f"', '"é\u2028/\x7f"'),
        ('"\\b\\t\\n\\f\\r\\u000b\\u0000\\u001f"', '"\\b\\t\\n\\f\\r\\u000b\\u0000\\u001f"'),
        ('"\\uD83D\\uDE00\\ud800x\\uDFFF"', '"\U0001f600\\ud800x\\udfff"'),
        (' { "b" : [ 1 , 2.50 ] , "a" : null } ', '{"b":[1,2.5],"a":null}'),
        ('{"a":1,"a":2}', '{"a":2}'),
    ],
)
def test_values_are_written_as_javascript_writes_them(sent, written):
    """Numbers, escapes and white space come out in the form of JSON.stringify."""
    assert js_json.dumps(js_json.loads(sent.encode())) == written


@pytest.mark.parametrize(
    "body", [b"", b"NaN", b"[Infinity]", b"-Infinity", b"{'a':1}", b"[1,]", b'"\n"', b"01", b"+1"]
)
def test_what_javascript_does_not_parse_is_refused(body):
    """Python's extensions of JSON are no JSON."""
    with pytest.raises(ValueError, match=r"Expecting|Unexpected|Extra data|Invalid|Illegal"):
        js_json.loads(body)


def test_invalid_utf8_and_a_byte_order_mark_are_read_as_by_a_browser():
    """Invalid bytes are replaced, and the mark is dropped."""
    assert js_json.loads(b'\xef\xbb\xbf["\xff\xf0\x9f\x98"]') == ["\ufffd\ufffd"]


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
    """The worker measures and compares jobs by this text."""
    assert compact_json(number) == text


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_numbers_that_json_cannot_hold_are_refused(number):
    """The worker would answer 500 to a request with one."""
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
    """Only lone surrogates and control characters are escaped, in lower case."""
    assert compact_json(value) == text


def test_containers_have_no_white_space_and_keep_their_order():
    """Tuples are lists. Keys are sorted by UTF-16 code units if that is asked for."""
    value = {"b": [1, (2.0, None)], "a": {"\uffff": True, "🧠": False}}

    assert compact_json(value) == '{"b":[1,[2,null]],"a":{"\uffff":true,"🧠":false}}'
    expected = '{"a":{"🧠":false,"\uffff":true},"b":[1,[2,null]]}'
    assert compact_json(value, sort_keys=True) == expected


@core_fixtures.thorough
@given(VALUES)
def test_what_a_client_sends_can_be_written_stored_and_read_again(value):
    """Writing is stable, fits in UTF-8, and never changes what a value means."""
    once = js_json.loads(wire(value))
    text = js_json.dumps(once)

    assert js_json.loads(text.encode("utf-8")) == once
    assert js_json.dumps(js_json.loads(text.encode("utf-8"))) == text
    assert compact_json(once) == text
    assert as_javascript_has_it(json.loads(text)) == as_javascript_has_it(value)


@core_fixtures.thorough
@given(st.dictionaries(TEXTS, st.dictionaries(TEXTS, st.integers(), max_size=4), max_size=4))
def test_sorted_keys_do_not_depend_on_the_order_of_insertion(value):
    """Two submissions that differ only in the order of their keys are one job."""
    turned = dict(reversed(list(value.items())))

    assert compact_json(value, sort_keys=True) == compact_json(turned, sort_keys=True)


@core_fixtures.thorough
@given(NUMBERS)
def test_a_number_reads_as_the_same_double(number):
    """No double changes, and it is written with as few digits as possible."""
    text = compact_json(number)

    assert float(text) == float(js_json.dumps(js_json.loads(wire(number)))) == number
    assert len(text) <= 25


def test_numbers_of_any_length_are_read_in_time():
    """A number of a hundred thousand digits is a double too."""
    assert js_json.loads(b"9" * 100_000) is None
    assert js_json.loads(b"0." + b"3" * 100_000) == pytest.approx(1 / 3)
    assert math.isclose(js_json.loads(b"1" * 300), 1.1111111111111112e299)


@core_fixtures.thorough
@given(TEXTS)
def test_sizes_are_utf16_code_units(text):
    """A character beyond U+FFFF counts 2 and every other 1, half a surrogate pair included."""
    assert utf16_length(text) == len(text) + sum(ord(each) > 0xFFFF for each in text)


@core_fixtures.thorough
@given(TEXTS)
def test_well_formed_texts_keep_their_size_and_fit_in_utf8(text):
    """Only lone surrogates are replaced."""
    mended = js_json.well_formed(text)
    mended.encode("utf-8")
    assert utf16_length(mended) == utf16_length(text)
    differing = [one for one, other in zip(text, mended) if one != other]
    assert all(0xD800 <= ord(one) <= 0xDFFF for one in differing)


@pytest.mark.parametrize("pair", ["[]", '{"a":}'])
def test_nesting_is_bounded_and_brackets_in_strings_are_not_nesting(pair):
    """Five hundred levels are read, one more is refused, and strings may hold any bracket."""
    opening, closing = pair[:-1].encode(), pair[-1:].encode()
    js_json.dumps(js_json.loads(opening * 500 + b"1" + closing * 500))
    with pytest.raises(ValueError, match="nested deeper than 500 levels"):
        js_json.loads(opening * 501 + b"1" + closing * 501)
    flat = ["[{" * 600, '\\"[', "\\"] + [[]] * 600
    assert js_json.loads(json.dumps(flat).encode()) == flat


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


@pytest.mark.parametrize("end", ["", "\\"])
def test_a_string_that_does_not_end_is_searched_once(end):
    """Not again from each of its quotes: that would take hours, and the GIL with them."""
    text = "[]" * 501 + '"' + '\\"' * 300_000 + end
    code = f"from devaria.common.js_json import check_depth\ncheck_depth({text!r})"
    # A process of its own: nothing else ends a search.
    subprocess.run([sys.executable, "-"], input=code.encode(), timeout=BOUND_SEC, check=True)
