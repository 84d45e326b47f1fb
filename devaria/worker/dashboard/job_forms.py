"""Forms for jobs whose parameters are declared."""

from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional

from devaria.common import js_json

#: Precedes a parameter's name in the form, so that no parameter clashes with another field.
FIELD_PREFIX = "param-"

_KINDS = {"boolean": (bool,), "integer": (int,), "number": (int, float)}


@dataclass(frozen=True)
class ParamForm:
    """A declared parameter, as a field of a form.

    Attributes:
        type: ``string``, ``integer``, ``number`` or ``boolean``; a field of any other type takes
            JSON.
        required: Whether the field must be filled in.
        default: The initial value; None for an empty field.
        description: A sentence for the person who fills in the form.
    """

    type: str = "string"
    required: bool = False
    default: Any = None
    description: str = ""

    @property
    def initial(self) -> str:
        """The default, as the text of the field."""
        if self.default is None or isinstance(self.default, str):
            return self.default or ""
        return js_json.dumps(self.default)


#: The declared parameters of job types: by type, then by name.
JobForms = Mapping[str, Mapping[str, ParamForm]]


def params_of(form: Mapping[str, ParamForm], fields: Mapping[str, str]) -> Dict[str, Any]:
    """Read the parameters from the fields of a submitted form.

    Returns:
        The parameters; those left empty are absent.

    Raises:
        ValueError: A required field is empty, or a value is not of its type.
    """
    values = {name: _value(name, one, fields) for name, one in form.items()}
    return {name: value for name, value in values.items() if value is not None}


def _value(name: str, param: ParamForm, fields: Mapping[str, str]) -> Optional[Any]:
    text = fields.get(FIELD_PREFIX + name, "")
    if param.type == "boolean":
        return bool(text)  # browsers do not send an unticked box
    if not text.strip():
        if param.required:
            raise ValueError(f"{name} is required")
        return None
    return text if param.type == "string" else _parsed(name, param.type, text)


def _parsed(name: str, kind: str, text: str) -> Any:
    try:
        value = js_json.loads(text.encode("utf-8", "replace"))
    except ValueError as error:
        raise ValueError(f"{name} is not valid JSON: {error}") from error
    if kind in _KINDS and (isinstance(value, bool) or not isinstance(value, _KINDS[kind])):
        raise ValueError(f"{name} must be {'an' if kind == 'integer' else 'a'} {kind}")
    return value
