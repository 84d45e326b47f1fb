"""The Kubernetes manifest in the papers is valid by the schema of Kubernetes' API."""

import copy
from pathlib import Path
from typing import Any, Dict

import kubernetes_validate
import pytest
import yaml
from papers import fenced

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"

#: The oldest and the newest minor version whose schema the package has.
VERSIONS = ("1.25", kubernetes_validate.latest_version())


def manifest() -> Dict[str, Any]:
    """Return the manifest as the paper shows it."""
    (text,) = (each for each in fenced(OPERATIONS, "yaml") if "apiVersion: batch/v1" in each)
    found = yaml.safe_load(text)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_manifest_is_valid(version: str) -> None:
    """Every field exists, and has the right type."""
    kubernetes_validate.validate(manifest(), version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_check_can_fail(version: str) -> None:
    """A field that does not exist, and one of another type, are found."""
    for change in ({"paralelism": 20}, {"parallelism": "many"}):
        wrong = copy.deepcopy(manifest())
        wrong["spec"].update(change)
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(wrong, version, strict=True)
