"""JSON as JavaScript does it, job identity, and sizes."""

import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devaria.common import js_json
from devaria.common.contract import TooBigError, check_size
from devaria.worker.store.jobs import job_hash

TEXTS = st.text(st.characters(codec=None, exclude_categories=()))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda children: st.lists(children) | st.dictionaries(TEXTS, children),
    max_leaves=20,
)


def _wire(value):
    """Write a value as some client does."""
    return json.dumps(value).replace("Infinity", "1e999").encode()


def _shuffled(value, rng):
    if isinstance(value, list):
        return [_shuffled(one, rng) for one in value]
    if isinstance(value, dict):
        names = list(value)
        rng.shuffle(names)
        return {name: _shuffled(value[name], rng) for name in names}
    return value


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


@given(VALUES)
def test_any_value_can_be_written_stored_and_read_again(value):
    """Writing is stable, fits in UTF-8, and never changes what a value means."""
    once = js_json.loads(_wire(value))
    text = js_json.dumps(once)
    assert js_json.loads(text.encode("utf-8")) == once
    assert js_json.dumps(js_json.loads(text.encode("utf-8"))) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_no_double_changes(value):
    """A double is written in a form that reads as the same double."""
    assert float(js_json.dumps(js_json.loads(_wire(value)))) == value


@given(TEXTS)
def test_sizes_are_utf16_code_units(text):
    """A character beyond U+FFFF counts 2 and every other 1."""
    assert js_json.utf16_length(text) == sum(1 + (ord(one) > 0xFFFF) for one in text)


@given(TEXTS)
def test_well_formed_texts_keep_their_size_and_fit_in_utf8(text):
    """Only lone surrogates are replaced."""
    mended = js_json.well_formed(text)
    mended.encode("utf-8")
    assert js_json.utf16_length(mended) == js_json.utf16_length(text)
    differing = [one for one, other in zip(text, mended) if one != other]
    assert all(0xD800 <= ord(one) <= 0xDFFF for one in differing)


@given(TEXTS)
def test_a_field_may_be_as_long_as_its_limit(text):
    """The limit is inclusive."""
    size = js_json.utf16_length(text)
    check_size("It", text, size)
    with pytest.raises(TooBigError, match=f"It exceeds size limit of {size - 1} bytes"):
        check_size("It", text, size - 1)


@given(st.dictionaries(TEXTS, VALUES), st.integers())
def test_key_order_does_not_matter_for_identity(params, seed):
    """Shuffling the keys at every depth gives the same hash."""
    first = js_json.loads(_wire(params))
    second = js_json.loads(_wire(_shuffled(params, random.Random(seed))))
    assert job_hash("t", first) == job_hash("t", second)


@given(st.lists(VALUES, min_size=2, max_size=2))
def test_jobs_are_the_same_exactly_if_their_parameters_are_equal(values):
    """The hash tells apart what JSON tells apart."""
    one, two = ({"v": js_json.loads(_wire(value))} for value in values)
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
    """Values that Python or a database may take for equal are not."""
    assert job_hash("t", {"v": one}) != job_hash("t", {"v": two})
    assert job_hash("t", {"v": None}) != job_hash("t", {})


def test_the_hash_is_sha256_over_type_and_sorted_parameters():
    """The hash of a known job is the one that `sha256sum` gives for its compact JSON."""
    # printf '{"params":{"a":1,"b":2},"type":"t"}' | sha256sum
    expected = "0662c6ecec8fd48889a27a5f7264658d136f74a4c14f809d95c6f7d286d81d1f"
    assert job_hash("t", {"b": 2, "a": 1}) == expected


def test_numbers_of_any_length_are_read_in_time():
    """A number of a hundred thousand digits is a double too."""
    assert js_json.loads(b"9" * 100_000) is None
    assert js_json.loads(b"0." + b"3" * 100_000) == pytest.approx(1 / 3)
    assert math.isclose(js_json.loads(b"1" * 300), 1.1111111111111112e299)


@pytest.mark.parametrize("pair", ["[]", '{"a":}'])
def test_nesting_is_bounded_and_brackets_in_strings_are_not_nesting(pair):
    """Five hundred levels are read, one more is refused, and strings may hold any bracket."""
    opening, closing = pair[:-1].encode(), pair[-1:].encode()
    js_json.dumps(js_json.loads(opening * 500 + b"1" + closing * 500))
    with pytest.raises(ValueError, match="nested deeper than 500 levels"):
        js_json.loads(opening * 501 + b"1" + closing * 501)
    flat = ["[{" * 600, '\\"[', "\\"] + [[]] * 600
    assert js_json.loads(json.dumps(flat).encode()) == flat
