"""Results as JSON values, and reports within the worker's limits."""

import datetime
import decimal
import json
import math

import core_fixtures
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from devaria.common.contract import OUTPUT_LIMIT
from devaria.common.js_json import compact_json, utf16_length
from devaria.execution.outcome import JobOutcome, fitted
from devaria.execution.result import NotJsonError, json_ready, too_big

#: The worker's limits, in UTF-16 code units, and of a whole row in bytes of UTF-8.
CONSOLE_LIMIT = 1_048_576
ERROR_LIMIT = 10_240
ROW_LIMIT = 2_100_000
LARGEST_INPUT_BYTES = 3 * 102_400

SIZED = [0, 1, 9_000, 10_239, 10_241, 340_000, 511_995, 512_001, 1_000_000, 1_048_577, 2_500_000]
CHARACTERS = ["x", "é", "€", "🧠", "\n", "\x01", "\ud800", '"', "\u2028"]


def refusal(value):
    """Return the text with which a value is refused."""
    with pytest.raises(NotJsonError) as raised:
        json_ready(value)
    return str(raised.value)


# --- what JSON can hold ----------------------------------------------------------------------

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@core_fixtures.thorough
@given(JSON_VALUES)
def test_json_values_stay_as_they_are(value):
    """They can then be written without a further check."""
    ready = json_ready(value)

    assert ready == value
    assert json.loads(json.dumps(ready, allow_nan=False)) == value


def test_tuples_become_lists_and_whole_numbered_keys_strings():
    """Python's own JSON module does the same."""
    assert json_ready({1: (True, (2, 3))}) == {"1": [True, [2, 3]]}


def test_subclasses_of_plain_types_become_plain():
    """An enumeration of numbers is one."""
    import enum

    color = enum.IntEnum("Color", "RED")

    ready = json_ready([color.RED, type("Seconds", (float,), {})(1.5)])

    assert [type(each) for each in ready] == [int, float]


def test_the_same_list_twice_is_no_cycle():
    """Only a list that holds itself is a cycle."""
    shared = [1]

    assert json_ready({"a": shared, "b": [shared, shared]}) == {"a": [1], "b": [[1], [1]]}


def cycle():
    """A list that holds itself."""
    value = [1]
    value.append({"again": value})
    return value


def nested(depth):
    """A list in a list, nested this deep."""
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (
            {"spikes": [1, 2, 3, math.nan]},
            "result['spikes'][3] is NaN, which JSON cannot hold",
        ),
        ({"a": math.inf}, "result['a'] is infinity, which JSON cannot hold"),
        ([-math.inf], "result[0] is infinity, which JSON cannot hold"),
        (
            {"at": datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)},
            "result['at'] is of type datetime, which JSON cannot hold",
        ),
        ({"s": {1}}, "result['s'] is of type set, which JSON cannot hold"),
        ({"b": b"x"}, "result['b'] is of type bytes, which JSON cannot hold"),
        ({"d": decimal.Decimal(1)}, "result['d'] is of type Decimal, which JSON cannot hold"),
        ({"c": 1j}, "result['c'] is of type complex, which JSON cannot hold"),
        ({"f": len}, "result['f'] is of type builtin_function_or_method, which JSON cannot hold"),
        ({"x": {1.5: 1}}, "result['x'] has a key of type float; JSON keys are strings"),
        ({None: 1}, "result has a key of type NoneType; JSON keys are strings"),
        ({True: 1}, "result has a key of type bool; JSON keys are strings"),
        ({(1, 2): 1}, "result has a key of type tuple; JSON keys are strings"),
        ({1: "a", "1": "b"}, "result has the key '1' twice, as a number and as a string"),
        (
            {"n": 10**5000},
            "result['n'] is an integer beyond 1.8e308, which no JSON number at the worker can be",
        ),
    ],
)
def test_what_json_cannot_hold_is_named_with_its_place_and_type(value, text):
    """The author of the handler can then find it."""
    assert refusal(value) == text


@pytest.mark.parametrize("value", [cycle(), nested(300), nested(100_000)])
def test_bottomless_values_are_refused(value):
    """The error names them, and neither stack nor memory runs out."""
    assert refusal(value).endswith("holds itself or is nested too deeply, which JSON cannot hold")


def test_deep_values_are_taken_and_can_be_written():
    """The limit is a depth that no useful result reaches."""
    ready = json_ready(nested(190))

    assert json.loads(compact_json(ready)) == ready


# --- what the worker takes -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("character", "units"),
    [("x", 1), ("é", 1), ("€", 1), ("🧠", 2), ("\n", 2), ("\x01", 6), ('"', 2), ("\ud800", 6)],
)
def test_a_result_is_measured_as_the_worker_measures_it(character, units):
    """The size is in UTF-16 code units of compact JSON; the limit is inclusive."""
    rest = OUTPUT_LIMIT - len('{"a":""}')
    count, filler = divmod(rest, units)
    largest = character * count + "x" * filler

    assert too_big({"a": largest}) is None
    assert too_big({"a": largest + "x"}) == (
        "the result is too big: 512,001 characters of JSON, and the worker takes at most 512,000"
    )


TEXTS = st.builds(
    lambda size, characters: (characters * (size // len(characters) + 1))[:size],
    st.sampled_from(SIZED),
    st.lists(st.sampled_from(CHARACTERS), min_size=1, max_size=3).map("".join),
)


@core_fixtures.settings(core_fixtures.thorough, max_examples=25)
@given(TEXTS, TEXTS, TEXTS, st.booleans())
@example("€" * 511_990, "", "€" * 400_000, True)  # the most bytes that a result may have
@example("", "🧠" * 20_000, "\ud800" * 1_000_000, False)
def test_a_fitted_outcome_is_within_every_limit(result, error, console, succeeded):
    """Each field and their sum are within a limit, whatever their sizes were."""
    outcome = JobOutcome({"a": result} if succeeded else None, error, console)
    if succeeded:
        outcome = JobOutcome({"a": result}, None, console)

    fit = fitted(outcome)

    output = compact_json(fit.output_data)
    assert utf16_length(output) <= OUTPUT_LIMIT
    assert utf16_length(fit.console_output) <= CONSOLE_LIMIT
    assert utf16_length(fit.error_message or "") <= ERROR_LIMIT
    row = sum(
        len(text.encode("utf-8", "surrogatepass"))
        for text in (output, fit.error_message or "", fit.console_output)
    )
    assert row + LARGEST_INPUT_BYTES <= ROW_LIMIT
    if succeeded and too_big({"a": result}) is None:
        assert fit.output_data == {"a": result}
    else:
        assert fit.output_data is None
        assert fit.error_message is not None


def test_what_fits_is_left_alone():
    """Nothing is shortened needlessly."""
    outcome = JobOutcome({"a": 1}, None, "console\n" * 1_000)

    assert fitted(outcome) == outcome


def test_a_result_that_is_too_big_becomes_an_error_that_says_so():
    """It names size and limit, and the console stays."""
    fit = fitted(JobOutcome({"a": "x" * 600_000}, None, "text"))

    assert fit.error_message == (
        "Job execution failed: the result is too big: 600,008 characters of JSON, "
        "and the worker takes at most 512,000"
    )
    assert not fit.succeeded
    assert fit.console_output == "text"


def test_a_console_and_an_error_that_are_too_long_keep_beginning_and_end():
    """A failure gives its reason at the end."""
    fit = fitted(
        JobOutcome(None, "why: " + "x" * 20_000 + " so", "head" + "x" * 3_000_000 + "tail")
    )

    assert fit.error_message.startswith("why: ")
    assert fit.error_message.endswith(" so")
    assert fit.console_output.startswith("head")
    assert fit.console_output.endswith("tail")
