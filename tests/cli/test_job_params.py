"""Job parameters from a command line."""

import json

import core_fixtures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devaria.cli.job_params import parsed_params
from devaria.common.errors import EXIT_USAGE, JobInputError


@pytest.mark.parametrize(
    ("value", "parsed"),
    [
        ("Alice", "Alice"),
        ("3", 3),
        ("2.5", 2.5),
        ("true", True),
        ("null", None),
        ('"3"', "3"),
        ("[1, 2]", [1, 2]),
        ('{"a": 1}', {"a": 1}),
        ("", ""),
        ("a=b", "a=b"),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("1e999", "1e999"),
        ("{broken", "{broken"),
        ("[" * 5_000, "[" * 5_000),
    ],
)
def test_a_value_is_json_where_it_parses_as_such(value, parsed):
    """Any other value is a string, also one that JSON cannot hold, such as NaN."""
    assert parsed_params([f"name={value}"], None) == {"name": parsed}


@core_fixtures.thorough
@given(st.dictionaries(st.text(), st.integers() | st.text() | st.booleans() | st.none()))
def test_an_object_is_read_as_it_is(params):
    """`--params` takes any JSON object."""
    assert parsed_params([], json.dumps(params)) == params


def test_pairs_are_put_over_the_object():
    """A pair overrides the object, and the last pair of a name counts."""
    params = parsed_params(["b=2", "c=3", "c=4"], '{"a": 1, "b": 1}')

    assert params == {"a": 1, "b": 2, "c": 4}


def test_a_file_is_read(tmp_path):
    """`@` and a name stand for a file, which is read as UTF-8."""
    path = tmp_path / "params.json"
    path.write_text('{"name": "Zoë"}', encoding="utf-8")

    assert parsed_params([], f"@{path}") == {"name": "Zoë"}


def test_without_anything_there_are_no_parameters():
    """The worker gets an empty object."""
    assert parsed_params([], None) == {}


@pytest.mark.parametrize(
    ("pairs", "text", "part"),
    [
        (["name"], None, "'name' is not of the form name=value"),
        (["=3"], None, "'=3' is not of the form name=value"),
        ([], "", "--params is not JSON"),
        ([], "{", "--params is not JSON"),
        ([], '{"a": NaN}', "JSON has no NaN"),
        ([], '{"a": -Infinity}', "JSON has no -Infinity"),
        ([], '{"a": [1e999]}', "1e999"),
        ([], "[1]", "must hold a JSON object"),
        ([], "3", "must hold a JSON object"),
        ([], "[" * 5_000, "--params is not JSON"),
        ([], "@no/such/file", "cannot read the parameters in no/such/file: No such file"),
        ([], "@", "cannot read the parameters"),
        ([], "@a\0b", "cannot read the parameters"),
    ],
)
def test_what_cannot_be_read_is_said(pairs, text, part):
    """The error says what is wrong, and has the exit code of wrong usage."""
    with pytest.raises(JobInputError) as raised:
        parsed_params(pairs, text)

    assert part in str(raised.value)
    assert raised.value.exit_code == EXIT_USAGE


def test_a_file_that_is_no_text_is_said(tmp_path):
    """The message names it."""
    path = tmp_path / "params.json"
    path.write_bytes(b"\xff\xfe")

    with pytest.raises(JobInputError, match=r"cannot read the parameters in .*params\.json"):
        parsed_params([], f"@{path}")
