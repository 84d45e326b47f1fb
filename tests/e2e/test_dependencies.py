"""The review in docs/dependencies.md is true, and what is imported is declared."""

import ast
import re
from importlib.metadata import distribution, metadata, requires
from importlib.util import find_spec
from pathlib import Path
from typing import Dict, Set

import pytest
from papers import DOCS, text_of_paper

import devaria

PACKAGE = Path(devaria.__file__).parent
REVIEW = text_of_paper(DOCS / "dependencies.md")

#: Package → what it comes with, and its licence, as the table has them.
TABLE: Dict[str, Dict[str, str]] = {
    package: {"with": brought_by, "licence": licence}
    for package, brought_by, licence in re.findall(
        r"^\| ([\w-]+) \| (core|`\w+`) \| [^|]+ \| ([^|]+) \|$", REVIEW, re.M
    )
}


def normal(name: str) -> str:
    """A package's name in the form in which two spellings of it are equal."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(extra: str) -> Set[str]:
    """The packages that devaria needs with an extra; with "", those of its core."""
    found = set()
    for requirement in requires("devaria") or []:
        name = normal(re.split(r"[^\w.-]", requirement)[0])
        condition = re.search(r"extra == ['\"](\w+)['\"]", requirement)
        if (condition.group(1) if condition else "") == extra and name != "devaria":
            found.add(name)
    return found


def imported() -> Set[str]:
    """The names of the packages that devaria's modules import, of those that pip installs."""
    names = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    names.discard("devaria")
    specs = {name: find_spec(name) for name in names}
    return {
        normal(name)
        for name, spec in specs.items()
        if spec is not None and "site-packages" in (spec.origin or "")
    }


def family(licence: str) -> str:
    """Which licence it is, whatever its version and spelling."""
    found = re.search("BSD|MIT|Apache|MPL|ZPL|Zope", licence)
    assert found is not None, licence
    return found.group().replace("Zope", "ZPL")


def test_the_table_has_what_is_declared() -> None:
    """The table lists every dependency, and no others."""
    for extra in ("", "figpack", "filters", "video", "worker"):
        brought_by = f"`{extra}`" if extra else "core"
        assert {name for name in TABLE if TABLE[name]["with"] == brought_by} == declared(extra)


def test_what_is_imported_is_declared() -> None:
    """What a module imports is a dependency of devaria's own, not of one of its dependencies."""
    assert imported() == set(TABLE)


@pytest.mark.parametrize("package", TABLE)
def test_the_licence_is_the_one_of_the_metadata(package: str) -> None:
    """A new version under another licence is noticed, but not one that spells it otherwise."""
    about = metadata(package)
    classifiers = [
        value.rpartition(" :: ")[2]
        for value in about.get_all("Classifier", [])
        if value.startswith("License ::")
    ]
    licence = about.get("License-Expression") or about.get("License") or "".join(classifiers[:1])
    # Some say it nowhere but in the file.
    licence = licence or distribution(package).read_text("licenses/LICENSE") or ""
    assert family(TABLE[package]["licence"]) == family(licence)


def test_the_tools_of_development_are_named() -> None:
    """What the extra `dev` brings beside the others stands in the paper too."""
    tools = declared("dev") - set(TABLE)
    assert tools
    for tool in tools:
        assert re.search(rf"\b{tool}\b", REVIEW.partition("For development only:")[2]), tool
