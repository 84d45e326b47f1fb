"""The rooms of the package: what may import what, and how much lies in one place.

docs/architecture.md says what each room is for. `ALLOWED` is the one list of the arrows.
"""

import ast
from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple, Sequence, Set

import pytest

PACKAGE = Path(__file__).parents[1] / "devaria"

#: What the modules of a room may import from other rooms.
ALLOWED: Dict[str, Set[str]] = {
    "cli": {"runner", "testing", "client", "execution", "jobs", "nwb", "figures", "worker"},
    "runner": {"execution", "client", "jobs"},
    "testing": {"execution", "jobs", "worker"},
    "execution": {"jobs"},
    "client": set(),
    "jobs": {"figures", "nwb"},
    "figures": {"nwb"},
    "nwb": set(),
    "worker": set(),
    "common": set(),
}
#: What every room may import: `common`, and the version in the package's own `__init__.py`.
FOR_ALL = {"common", ""}

#: Packages that a room does without.
FORBIDDEN: Dict[str, Set[str]] = {
    "nwb": {"figpack", "figpack_spike_sorting"},
    "figures": {"h5py"},
}

MAX_TOP_LEVEL_ENTRIES = 13
MAX_FILES_IN_A_FOLDER = 17
MAX_LINES_IN_A_MODULE = 300


class Import(NamedTuple):
    """One import statement's target.

    Args:
        module: The file that imports, relative to the package's parent, and the line.
        room: The room of that file; empty for the package's own `__init__.py`.
        target: The full name that is imported, such as `devaria.common.text.printable`.
    """

    module: str
    room: str
    target: str


def imports_of(package: Path) -> Iterator[Import]:
    """Find every import in a package, also those in functions and under `TYPE_CHECKING`."""
    for path in sorted(package.rglob("*.py")):
        inside = path.relative_to(package)
        room = _room_of(inside.with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, (ast.Import, ast.ImportFrom)):
                continue
            for target in _targets(node, (package.name, *inside.parent.parts)):
                yield Import(f"{package.name}/{inside.as_posix()}:{node.lineno}", room, target)


def _targets(node: ast.stmt, folder: Sequence[str]) -> List[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    assert isinstance(node, ast.ImportFrom)
    base = list(folder[: len(folder) + 1 - node.level]) if node.level else []
    base += [node.module] if node.module else []
    return [".".join([*base, alias.name]) for alias in node.names]


def _room_of(parts: Sequence[str]) -> str:
    """Tell the room from the parts of a name below the package; empty for the package itself."""
    return "" if not parts or parts[0] in ("__init__", "__version__") else parts[0]


def forbidden_arrows(package: Path) -> List[str]:
    """List the imports of other rooms that `ALLOWED` does not have."""
    wrong = []
    for each in imports_of(package):
        name, *rest = each.target.split(".")
        if name != package.name:
            continue
        target = _room_of(rest)
        if each.room == "__main__":
            allowed = {"cli"}
        elif each.room in ALLOWED:
            allowed = {each.room, *ALLOWED[each.room], *FOR_ALL}
        else:
            allowed = set()  # a room that nobody has listed, or the package's own __init__
        if target not in allowed:
            wrong.append(f"{each.module} imports {each.target}")
    return wrong


def forbidden_packages(package: Path) -> List[str]:
    """List the imports of packages that a room does without."""
    return [
        f"{each.module} imports {each.target}"
        for each in imports_of(package)
        if each.target.split(".")[0] in FORBIDDEN.get(each.room, ())
    ]


def crowded_folders(package: Path) -> List[str]:
    """List the folders that hold too many files; of the top level, folders count too."""
    wrong = []
    for folder in [package, *sorted(path for path in package.rglob("*") if path.is_dir())]:
        if folder.name == "__pycache__":
            continue
        entries = [path for path in folder.iterdir() if path.name != "__pycache__"]
        files = [path for path in entries if path.is_file()]
        if len(files) > MAX_FILES_IN_A_FOLDER:
            wrong.append(f"{folder.name} has {len(files)} files")
        if folder == package and len(entries) > MAX_TOP_LEVEL_ENTRIES:
            wrong.append(f"{folder.name} has {len(entries)} entries")
    return wrong


def long_modules(package: Path) -> List[str]:
    """List the modules that have too many lines."""
    lengths = {
        path.relative_to(package).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in sorted(package.rglob("*.py"))
    }
    return [
        f"{module} has {length} lines"
        for module, length in lengths.items()
        if length > MAX_LINES_IN_A_MODULE
    ]


# --- the package -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "check", [forbidden_arrows, forbidden_packages, crowded_folders, long_modules]
)
def test_the_package_keeps_its_rooms(check: Callable[[Path], List[str]]) -> None:
    """Each check finds nothing wrong."""
    assert check(PACKAGE) == []


def test_every_room_is_listed() -> None:
    """The list names what is there and nothing else."""
    there = {
        path.stem for path in PACKAGE.iterdir() if path.name not in ("__pycache__", "py.typed")
    }
    assert there - {"__init__", "__main__"} == set(ALLOWED)


# --- the checks themselves -------------------------------------------------------------------


def made_up(folder: Path, **modules: str) -> Path:
    """Make a package of modules, each named by its path with `__` for `/`."""
    package = folder / PACKAGE.name
    for name, source in {"__init__": "", **modules}.items():
        parts = [name] if name.startswith("__") else name.split("__")
        path = package.joinpath(*parts).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return package


@pytest.mark.parametrize(
    "source",
    [
        "import devaria.runner.log",
        "import devaria.runner.log as log",
        "from devaria import runner",
        "from devaria.runner import log",
        "from devaria.runner.log import LOG_FILE",
        "from .. import runner",
        "from ..runner import log",
        "def late():\n    from devaria.runner import log",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import devaria.runner",
    ],
)
def test_a_forbidden_arrow_is_found(tmp_path: Path, source: str) -> None:
    """In each form of an import, wherever it stands."""
    (wrong,) = forbidden_arrows(made_up(tmp_path, execution__process=source))
    assert wrong.startswith("devaria/execution/process.py:")
    assert "devaria.runner" in wrong


def test_common_is_for_all_and_imports_nothing_above(tmp_path: Path) -> None:
    """Also the package itself imports no room, but for `__main__`, which imports `cli`."""
    package = made_up(
        tmp_path,
        common__text="import re\nfrom devaria.common import files\nfrom devaria.nwb import http",
        nwb__http="from devaria import __version__\nfrom devaria.common.text import printable",
        attic="import devaria.common.text",
        __main__="from devaria.cli import main",
    )
    (package / "__init__.py").write_text("import devaria.cli\n", encoding="utf-8")
    assert forbidden_arrows(package) == [
        "devaria/__init__.py:1 imports devaria.cli",
        "devaria/attic.py:1 imports devaria.common.text",
        "devaria/common/text.py:3 imports devaria.nwb.http",
    ]


def test_a_forbidden_package_is_found(tmp_path: Path) -> None:
    """Where it is forbidden, and only there."""
    package = made_up(
        tmp_path,
        nwb__column="import h5py\ndef late():\n    from figpack.core import FigpackView",
        figures__raster="import figpack\nimport h5py",
    )
    assert forbidden_packages(package) == [
        "devaria/figures/raster.py:2 imports h5py",
        "devaria/nwb/column.py:3 imports figpack.core.FigpackView",
    ]


def test_a_crowd_is_found(tmp_path: Path) -> None:
    """A folder with a file too many, and a top level with an entry too many."""
    most = {f"nwb__m{number}": "" for number in range(MAX_FILES_IN_A_FOLDER)}
    package = made_up(tmp_path, **most)
    assert crowded_folders(package) == []
    for number in range(MAX_TOP_LEVEL_ENTRIES - 1):
        (package / f"room{number}").mkdir()
    (package / "nwb" / "one_more.css").touch()
    assert crowded_folders(package) == ["devaria has 14 entries", "nwb has 18 files"]


def test_a_long_module_is_found(tmp_path: Path) -> None:
    """One line too many is too long."""
    longest = "pass\n" * MAX_LINES_IN_A_MODULE
    package = made_up(tmp_path, nwb__just_right=longest, nwb__longer=longest + "pass\n")
    assert long_modules(package) == ["nwb/longer.py has 301 lines"]
