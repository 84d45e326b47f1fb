"""The limits of a job's input, and the environment variables that set them."""

from dataclasses import fields

import pytest

from devaria.nwb.limits import ReadLimits


def test_defaults_stand_where_nothing_is_set() -> None:
    """Without variables, or with empty ones, the defaults apply."""
    assert ReadLimits.from_environment({}) == ReadLimits()
    assert ReadLimits.from_environment({"DEVARIA_MAX_SPIKES": " "}) == ReadLimits()


@pytest.mark.parametrize("name", [field.name for field in fields(ReadLimits)])
def test_every_limit_has_its_variable(name: str) -> None:
    """Each limit has a documented variable, which changes no other limit."""
    variable = f"DEVARIA_{name.upper()}"
    limits = ReadLimits.from_environment({variable: " 7 "})
    assert getattr(limits, name) == 7
    assert (
        sum(getattr(limits, f.name) == f.default for f in fields(limits)) == len(fields(limits)) - 1
    )
    assert variable in str(ReadLimits.from_environment.__doc__)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "1e9", "٣", "9" * 30])
def test_other_values_are_named(text: str) -> None:
    """Anything but a whole number above 0 is an error that names the variable."""
    with pytest.raises(ValueError, match="DEVARIA_MAX_SPIKES must be"):
        ReadLimits.from_environment({"DEVARIA_MAX_SPIKES": text})


def test_units_cannot_be_more_than_figpack_numbers() -> None:
    """The limit of units can be lowered, not raised."""
    with pytest.raises(ValueError, match="at most 65,536"):
        ReadLimits.from_environment({"DEVARIA_MAX_UNITS": "65537"})
