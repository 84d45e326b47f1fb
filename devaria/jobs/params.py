"""Declared parameters of a job type, for checking jobs and for help texts."""

import math
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple, Type, Union

#: The default of a parameter that every job must give.
REQUIRED: Any = type("_Required", (), {"__repr__": lambda _self: "REQUIRED"})()

_TYPE_NAMES: Dict[type, str] = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}


class Param(NamedTuple):
    """One parameter that a job type takes.

    Args:
        type: `str`, `int`, `float` (takes whole numbers as well), `bool`, `list` or `dict`.
        description: One line, with the unit.
        default: The value if a job does not give it; `REQUIRED` if every job must.
        minimum: The smallest number allowed, inclusive.
        maximum: The largest number allowed, inclusive.
        choices: The only values allowed.
    """

    type: Type[Union[str, int, float, bool, list, dict]]  # type: ignore[type-arg] # of anything
    description: str
    default: Any = REQUIRED
    minimum: Optional[float] = None
    maximum: Optional[float] = None
    choices: Optional[Tuple[Any, ...]] = None

    @property
    def is_required(self) -> bool:
        """Whether every job must give it."""
        return self.default is REQUIRED

    @property
    def allowed(self) -> str:
        """The allowed values in words, such as `a number from 0 to 300`."""
        if self.choices is not None:
            return "one of " + ", ".join(repr(choice) for choice in self.choices)
        bounds = [
            f" {word} {bound:g}"
            for word, bound in (("from", self.minimum), ("to", self.maximum))
            if bound is not None
        ]
        return _TYPE_NAMES[self.type] + "".join(bounds)

    def takes(self, value: Any) -> bool:
        """Return whether a JSON value is allowed."""
        if not self._has_type(value):
            return False
        if self.choices is not None and value not in self.choices:
            return False
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return True
        is_low = self.minimum is not None and value < self.minimum
        is_high = self.maximum is not None and value > self.maximum
        return not (is_low or is_high)

    def _has_type(self, value: Any) -> bool:
        if isinstance(value, bool):  # a bool is an int, too
            return self.type is bool
        if self.type is float:
            return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
        return isinstance(value, self.type)


def checked_params(declared: Mapping[str, Param], given: Mapping[str, Any]) -> Dict[str, Any]:
    """Return a job's parameters, checked and with defaults.

    Args:
        declared: The parameters that the job type takes, by name.
        given: The job's parameters. Those that are not declared are kept as they are.

    Raises:
        ValueError: A parameter is missing or not allowed; the text says which, and what is allowed.
    """
    checked = dict(given)
    for name, param in declared.items():
        if name not in given:
            if param.is_required:
                raise ValueError(f"{name} is missing; it must be {param.allowed}")
            checked[name] = param.default
        elif not param.takes(given[name]):
            raise ValueError(f"{name} must be {param.allowed}, not {given[name]!r:.100}")
    return checked


def unknown_names(declared: Mapping[str, Param], given: Mapping[str, Any]) -> List[str]:
    """Return the names of parameters that a job gives and its type does not declare.

    They may be misspelt. A type that declares nothing takes any.

    Args:
        declared: The parameters that the job type declares, by name.
        given: The job's parameters.
    """
    return [name for name in given if name not in declared] if declared else []
