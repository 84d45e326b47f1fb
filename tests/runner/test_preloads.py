"""The processes of an idle runner: which job types share one, and what they may be taken for."""

import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Dict, Iterator, Type

import pytest
from job_processes import is_gone
from preloading import Waiting, option, write_handler
from waiting import wait_until

from devaria.common.child_process import Sentinel
from devaria.common.config import RunnerSettings
from devaria.common.timing import Timing
from devaria.execution.signals import Wakeup
from devaria.jobs import JOB_HANDLERS, JobHandler
from devaria.runner.preloads import Preloads

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")

NAMES = ("first", "second")


@pytest.fixture
def handlers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Dict[str, Any]]:
    """Two handlers with a `preload` each, and one without."""
    monkeypatch.syspath_prepend(str(tmp_path))
    found: Dict[str, Type[JobHandler]] = {"hello_world": JOB_HANDLERS["hello_world"]}
    for name in NAMES:
        write_handler(tmp_path, name)
        found[name] = getattr(import_module(f"{name}_handler"), name)
    yield found
    for name in NAMES:
        del sys.modules[f"{name}_handler"], sys.modules[f"helper_of_{name}"]


@pytest.fixture
def settings(tmp_path: Path) -> RunnerSettings:
    """Settings with which such processes start at once."""
    return RunnerSettings(
        worker_url="http://127.0.0.1:9",
        api_key="k",
        directory=tmp_path,
        handlers=tuple(option(name) for name in NAMES),
        environ=Waiting(tmp_path).environ,
        timing=Timing(preload_after_sec=0.0),
    )


@pytest.fixture
def make(settings: RunnerSettings) -> Iterator[Any]:
    """Return a function that makes `Preloads`; all are ended."""
    made = []

    def preloads(**changes: Any) -> Preloads:
        made.append(Preloads(replace(settings, **changes), Wakeup(), Sentinel()))
        return made[-1]

    yield preloads
    for each in made:
        each.drop()


def ready(preloads: Preloads, *job_types: str) -> None:
    """Wait until a process is ready for each of the types."""
    preloads.attend("r")

    def are_ready() -> bool:
        preloads.tend()
        return all(map(preloads.is_ready_for, job_types))

    wait_until(are_ready, f"processes for {job_types}")


def test_each_preload_has_a_process_of_its_own(make: Any, handlers: Dict[str, Any]) -> None:
    """Handlers of different authors have nothing to do with each other."""
    preloads = make()
    preloads.offer(handlers)
    ready(preloads, *NAMES)
    first, second = (preloads.take(name) for name in NAMES)
    assert first is not second
    first.close()
    second.close()


def test_an_inherited_preload_shares_the_process(make: Any, handlers: Dict[str, Any]) -> None:
    """As it is with the handlers of figures."""

    class Derived(handlers["first"]):  # type: ignore[misc,name-defined] # it is a class
        """Inherits it."""

    preloads = make(handlers=(option("first"), "derived=first_handler:first"))
    preloads.offer({"first": handlers["first"], "derived": Derived})
    ready(preloads, "first", "derived")
    process = preloads.take("derived")
    assert not preloads.is_ready_for("first")
    assert preloads.take("first") is None
    process.close()


def test_a_type_without_preload_has_no_process(make: Any, handlers: Dict[str, Any]) -> None:
    """It neither waits nor takes another's."""
    preloads = make()
    preloads.offer(handlers)
    ready(preloads, *NAMES)
    assert not preloads.is_ready_for("hello_world")
    assert preloads.take("hello_world") is None


@pytest.mark.parametrize("changes", [{"preload": False}, {"burst": True}])
def test_nothing_is_started_if_it_is_off(
    make: Any, handlers: Dict[str, Any], changes: Dict[str, bool]
) -> None:
    """A runner that ends when nothing is left to do is never idle."""
    preloads = make(**changes)
    preloads.offer(handlers)
    preloads.attend("r")
    preloads.tend()
    assert not any(map(preloads.is_ready_for, NAMES))
    assert preloads._groups == []


def test_nothing_is_started_during_a_job(make: Any, handlers: Dict[str, Any]) -> None:
    """From its claim on, until the runner is idle again; what is ready stays."""
    preloads = make()
    preloads.offer(handlers)
    ready(preloads, "first", "second")
    preloads.rest()
    process = preloads.take("first")
    preloads.tend()
    assert preloads.is_ready_for("second")
    assert preloads._groups[0]._process is None
    process.close()
    ready(preloads, "first")


def test_what_is_not_ready_when_a_job_comes_ends(make: Any, handlers: Dict[str, Any]) -> None:
    """It would slow down the job."""
    preloads = make()
    preloads.offer({"first": handlers["first"]})
    preloads.attend("r")
    preloads.tend()
    process = preloads._groups[0]._process
    assert process is not None
    preloads.rest()
    assert is_gone(process._process.pid)
    assert not Path(process.scratch).exists()
    assert not preloads.is_ready_for("first")


def test_the_figures_share_one_process() -> None:
    """All that draw figures of NWB files."""
    settings = RunnerSettings("http://127.0.0.1:9", "k", Path())
    preloads = Preloads(settings, Wakeup(), Sentinel())
    preloads.offer(JOB_HANDLERS)
    assert [group.job_types for group in preloads._groups] == [
        [name for name in JOB_HANDLERS if name.startswith("figpack_nwb_")]
    ]
