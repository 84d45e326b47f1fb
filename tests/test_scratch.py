"""Folders of temporary files: whose they are, and that they go."""

import tempfile
from pathlib import Path

from devaria.scratch import make_scratch, remove_left_scratch


def test_only_what_the_runner_of_this_directory_left_is_removed(tmp_path, monkeypatch):
    """Another runner's folders, and those of `devaria run`, are in use perhaps."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    for name in ("tmp", "a", "b"):
        (tmp_path / name).mkdir()
    left = [Path(make_scratch(tmp_path / "a")) for _ in range(2)]
    others = [Path(make_scratch(tmp_path / "b")), Path(make_scratch())]
    (left[0] / "file").write_text("x")

    remove_left_scratch(tmp_path / "b" / ".." / "a")

    assert [path.exists() for path in (*left, *others)] == [False, False, True, True]


def test_a_directory_made_anew_is_another_one(tmp_path, monkeypatch):
    """Where runners in containers share temporary files, their directories may be called alike."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "a").mkdir()
    scratch = Path(make_scratch(tmp_path / "a"))
    (tmp_path / "a").rename(tmp_path / "old")
    (tmp_path / "a").mkdir()

    remove_left_scratch(tmp_path / "a")

    assert scratch.exists()
