"""A reading process that is started before its file is known."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Iterator

import psutil
import pytest
from job_processes import is_gone
from nwb_files import units_bytes
from range_server import LOOPBACK, RangeServer
from waiting import wait_until

from devaria.nwb import open_remote
from devaria.nwb.sandbox import ahead
from devaria.nwb.sandbox.ahead import reading_folder, start_reading_process


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Serve a file, and return its URL."""
    with RangeServer({"/file.nwb": units_bytes([[0.5, 1.25], [2.0]])}) as server:
        yield server.url("/file.nwb")


@pytest.fixture(autouse=True)
def _keyless(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set a key that must not be handed on. No process may be left waiting."""
    monkeypatch.setenv("FIGPACK_API_KEY", "s3cr3t")
    yield
    assert not ahead._waiting


def waiting_pid() -> int:
    """Return the one process that waits."""
    (waiting,) = ahead._waiting.values()
    return waiting.process.pid


def read(url: str, folder: Path) -> int:
    """Read the file; return the process that read it."""
    with open_remote(url, folder=folder, allow_hosts=LOOPBACK) as file:
        assert file.units_table("/units").unit_stops.tolist() == [2, 3]
        return file.pid


def test_the_process_that_waits_reads_the_file(url: str) -> None:
    """It has done its imports, has no key, and ends with the file."""
    start_reading_process()
    pid = waiting_pid()
    variables = Path(f"/proc/{pid}/environ")
    if variables.exists():
        assert "s3cr3t" not in variables.read_text()
    with reading_folder() as folder:
        assert read(url, folder) == pid
        assert is_gone(pid)
        assert read(url, folder) != pid  # a second file needs a process of its own
    assert not folder.exists()


def test_one_process_waits(url: str) -> None:
    """Each type of figure starts it; one is enough."""
    start_reading_process()
    pid = waiting_pid()
    start_reading_process()
    with reading_folder() as folder:
        assert read(url, folder) == pid


def test_a_process_that_is_not_needed_ends(url: str) -> None:
    """With the block, and so does its folder."""
    start_reading_process()
    pid = waiting_pid()
    with reading_folder() as folder:
        pass
    assert is_gone(pid)
    assert not folder.exists()
    with reading_folder() as folder:
        assert read(url, folder)


def test_a_process_that_died_is_replaced(url: str) -> None:
    """The file is read all the same."""
    start_reading_process()
    pid = waiting_pid()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: is_gone(pid), "its end")
    with reading_folder() as folder:
        assert read(url, folder) != pid


def test_another_environment_wants_another_process(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that waits was started with the old one, and ends."""
    start_reading_process()
    pid = waiting_pid()
    monkeypatch.setenv("LC_TIME", "C")
    with reading_folder() as folder:
        assert read(url, folder) != pid
    assert is_gone(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it ends when it notices")
def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    """Even if the parent is killed while the other waits."""
    code = (
        "from devaria.nwb.sandbox.ahead import start_reading_process, _waiting; import time;"
        "start_reading_process(); print(*[w.process.pid for w in _waiting.values()], flush=True);"
        "time.sleep(600)"
    )
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=environ
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert psutil.Process(pid).ppid() == parent.pid
        parent.kill()
    wait_until(lambda: is_gone(pid), "its end")
