"""Finding handlers: devaria's own, an operator's, and what goes wrong with them."""

import sys
from pathlib import Path

import pytest

from devaria.jobs import JOB_HANDLERS
from devaria.jobs.loading import HandlerUnavailableError, find_handlers, handler_for

SOURCE = '''
from devaria.jobs import JobHandler

class CountNWBWordsHandler(JobHandler):
    """Counts."""
    def execute(self, input_params, heartbeat_callback):
        return {}

class Moody(CountNWBWordsHandler):
    @classmethod
    def missing_requirements(cls):
        raise OSError("the moon is full")

not_a_handler = 7
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module under development in the working directory."""
    name = f"handlers_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    return name


def test_devarias_own_are_always_there() -> None:
    """The handlers of the package's dict come first."""
    found = find_handlers()
    assert [found[name].handler for name in JOB_HANDLERS] == list(JOB_HANDLERS.values())
    assert {found[name].origin for name in JOB_HANDLERS} == {"devaria"}


def test_a_class_names_its_job_type(module: str) -> None:
    """Without a name before it, the class's own in snake case is the job type."""
    found = find_handlers([f"{module}:CountNWBWordsHandler"])
    assert found["count_nwb_words"].handler is not None
    assert found["count_nwb_words"].reasons_against() == []


def test_a_name_before_the_module_is_the_job_type(module: str) -> None:
    """`job_type=module:Class` says it outright; loading just that one finds it too."""
    entry = "words=" + f"{module}:CountNWBWordsHandler"
    assert find_handlers([entry])["words"].handler is handler_for("words", [entry])


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("no_such_module_at_all:Class", "ModuleNotFoundError: No module named"),
        ("{module}:NoSuchClass", "AttributeError: "),
        ("{module}:not_a_handler", "7 is not a JobHandler class"),
        ("{module}", "ValueError: it is not of the form [job_type=]module:Class"),
    ],
)
def test_what_cannot_be_loaded_is_listed_with_its_reason(module, target, problem) -> None:
    """It does not disturb the others."""
    found = find_handlers(["bad=" + target.format(module=module)])
    assert found["bad"].handler is None
    assert found["bad"].reasons_against()[0].startswith(problem)
    assert found["hello_world"].reasons_against() == []


def test_a_module_that_exits_when_imported_is_only_listed(tmp_path, monkeypatch) -> None:
    """Importing runs foreign code; an exit in it must not end devaria."""
    (tmp_path / "exits_at_import.py").write_text("raise SystemExit(3)", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    found = find_handlers(["bad=exits_at_import:Class"])
    assert found["bad"].reasons_against() == ["SystemExit: 3"]


def test_a_name_taken_twice_is_refused_with_both_origins(module: str) -> None:
    """Neither is used, since nobody knows which one was meant."""
    entry = f"hello_world={module}:Moody"
    (reason,) = find_handlers([entry])["hello_world"].reasons_against()
    assert reason == f"taken twice: by devaria and by --handlers {entry}"


def test_a_handler_that_cannot_tell_is_not_ready(module: str) -> None:
    """`missing_requirements` is foreign code, too."""
    (reason,) = find_handlers([f"{module}:Moody"])["moody"].reasons_against()
    assert reason == "its missing_requirements() failed: OSError: the moon is full"


def test_a_type_that_nobody_has_is_named() -> None:
    """Loading one type says which it could not find."""
    with pytest.raises(HandlerUnavailableError, match="no handler for jobs of type 'nothing'"):
        handler_for("nothing")
