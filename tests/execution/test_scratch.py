"""Scratch folders: in one place, never in another one, and none is left behind for ever."""

import os
import sys
import time
from pathlib import Path

import pytest
from core_fixtures import environment

from devaria.execution.process import JobProcess
from devaria.execution.scratch import SWEEP_AFTER_SEC, Scratch, _of_this_user, scratch_root, sweep
from devaria.execution.signals import Wakeup

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="folders as POSIX has them")


@pytest.fixture
def place(tmp_path):
    """The environment in which a folder is the place of temporary files."""
    return {"TMPDIR": str(tmp_path)}


def left(place, runner_id, age_sec=0.0):
    """Make a folder that a killed runner has left behind, with a file in it."""
    scratch = Scratch(place, runner_id)
    os.close(scratch._lock)
    folder = Path(scratch.path)
    (folder / "file").write_text("x")
    aged(folder, age_sec)
    return folder


def aged(folder, age_sec):
    """Let a folder be as old as that."""
    then = time.time() - age_sec
    os.utime(folder, (then, then))


# --- its place -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["TMPDIR", "TEMP", "TMP"])
def test_the_variables_name_the_place(tmp_path, name):
    """They are those of `tempfile`."""
    assert scratch_root({name: str(tmp_path)}) == str(tmp_path)
    assert scratch_root({name: ""}) == "/tmp"


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_a_place_that_cannot_be_used_is_named(tmp_path, kind):
    """No other folder is taken in its place."""
    place = tmp_path / "place"
    if kind == "file":
        place.write_text("x")

    with pytest.raises(OSError, match="cannot make a folder for a job's files in ") as caught:
        JobProcess(Wakeup(), environment(TMPDIR=str(place)))

    assert str(place) in str(caught.value)
    assert "set TMPDIR to another one" in str(caught.value)


# --- the sweep -------------------------------------------------------------------------------


def test_what_this_runner_left_is_removed_at_once(place):
    """None of its jobs is running when it starts."""
    own = [left(place, "../a") for _ in range(2)]
    other = left(place, "../ab")

    sweep(place, "../a")

    assert [folder.exists() for folder in (*own, other)] == [False, False, True]


def test_what_other_runners_left_is_removed_by_age(place):
    """A runner that registers again has another id, and `devaria run` has none."""
    old = [left(place, runner_id, SWEEP_AFTER_SEC + 60) for runner_id in ("b", None)]
    young = left(place, "b", SWEEP_AFTER_SEC - 600)

    sweep(place, "a")

    assert [folder.exists() for folder in (*old, young)] == [False, False, True]


def test_what_is_in_use_stays_whatever_its_age(place):
    """A job may run for days."""
    scratch = Scratch(place, "b")
    aged(Path(scratch.path), 10 * SWEEP_AFTER_SEC)

    sweep(place, "a")
    assert Path(scratch.path).is_dir()

    scratch.remove()
    assert not Path(scratch.path).exists()


def test_other_names_and_links_stay(place, tmp_path):
    """A link may lead anywhere."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (tmp_path / "devaria-job-link").symlink_to(precious)
    (tmp_path / "other").mkdir()
    for path in (precious, tmp_path / "other"):
        aged(path, 10 * SWEEP_AFTER_SEC)

    sweep(place, "a")

    assert len(list(tmp_path.iterdir())) == 3


def test_a_folder_that_goes_meanwhile_does_not_end_the_sweep(tmp_path):
    """Two runners may sweep at the same time."""
    for name in "abc":
        (tmp_path / f"devaria-job-{name}").mkdir()
    folders = _of_this_user(str(tmp_path))
    assert next(folders).name == "devaria-job-a"

    (tmp_path / "devaria-job-b").rmdir()

    assert [each.name for each in folders] == ["devaria-job-c"]
