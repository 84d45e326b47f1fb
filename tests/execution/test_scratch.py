"""Folders of temporary files: whose they are, and that they go."""

import tempfile
from pathlib import Path

from devaria.execution.scratch import make_scratch, remove_left_scratch


def test_only_what_this_runner_left_is_removed(tmp_path, monkeypatch):
    """Another runner's folders, and those of `devaria run`, are in use perhaps."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = [Path(make_scratch("../a")) for _ in range(2)]
    others = [Path(make_scratch("../ab")), Path(make_scratch())]
    (left[0] / "file").write_text("x")

    remove_left_scratch("../a")

    assert {path.parent for path in (*left, *others)} == {tmp_path}
    assert [path.exists() for path in (*left, *others)] == [False, False, True, True]
