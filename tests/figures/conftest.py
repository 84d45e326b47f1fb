"""What the tests of uploads share."""

import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Callable, Iterator

import figpack.core._upload_bundle as figpack_upload
import figpack.core.config as figpack_config
import pytest
import requests
from figure_api import KEY


@pytest.fixture
def point_figpack_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[[str], None]]:
    """Return a function that sets figpack's API. No temporary file and no patch may be left."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.setenv("FIGPACK_API_KEY", KEY)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # figpack waits 15 s in all between its tries of a file.
    monkeypatch.setattr(
        figpack_upload, "time", SimpleNamespace(time=time.time, sleep=lambda _sec: None)
    )
    plain = requests.Session.request

    def point(url: str) -> None:
        for module in (figpack_upload, figpack_config):
            monkeypatch.setattr(module, "FIGPACK_API_BASE_URL", url)

    yield point
    assert requests.Session.request is plain
    assert list(scratch.iterdir()) == []
