"""The handler in the README works as it stands there."""

from pathlib import Path
from typing import Dict, Iterator

import pytest
from papers import README, block, fenced
from processes import environment, shell

from devaria.testing import local_worker


@pytest.fixture
def env() -> Iterator[Dict[str, str]]:
    """A shell that knows a worker."""
    with local_worker() as worker:
        yield environment(
            DEVARIA_WORKER_URL=worker.url,
            DEVARIA_RUNNER_API_KEY=worker.keys.runner,
            DEVARIA_SUBMIT_API_KEY=worker.keys.submit,
        )


def test_the_handler(tmp_path: Path, env: Dict[str, str]) -> None:
    """The example handler, saved, run without a worker, and served to one."""
    (handler,) = fenced(README, "python")
    (tmp_path / "count_words.py").write_text(handler, encoding="utf-8")
    submit = "devaria submit count_words -p text='to be or not to be'"
    lines = [submit, f"{block('-p text=')} --burst", f"{submit} --wait"]
    done = shell("\n".join(lines), tmp_path, env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count('"words": 6') == 2
