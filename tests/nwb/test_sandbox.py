"""The process that reads a stranger's file has no keys, can reach nothing else, and always ends."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Dict, List

import numpy as np
import psutil
import pytest
import requests
from nwb_files import units_bytes
from probing_child import environments_with_keys
from range_server import LOOPBACK, RangeServer

from devaria.nwb.errors import NwbError
from devaria.nwb.limits import ReadLimits
from devaria.nwb.sandbox.landlock import landlock_version
from devaria.nwb.sandbox.parent import Opening, reading_environ
from devaria.nwb.sandbox.remote import RemoteNwb
from devaria.nwb.units.table import UnitsTable, load_table, save_table

SUPPORT = Path(__file__).resolve().parents[1] / "support"

needs_landlock = pytest.mark.skipif(landlock_version() < 1, reason="this system has no Landlock")


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> Dict[str, str]:
    """Set keys, and have the probing child found."""
    for name in ("FIGPACK_API_KEY", "DEVARIA_RUNNER_API_KEY", "AWS_SECRET_KEY", "GITHUB_TOKEN"):
        monkeypatch.setenv(name, "s3cr3t")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(SUPPORT), *sys.path]))
    return dict(os.environ)


def probe(what: str, folder: Path, environ: Dict[str, str], max_sec: int = 60) -> List[str]:
    """Run the probing child; return the lines that it says."""
    said: List[str] = []
    with probing(folder, environ, said.append, max_sec) as file:
        file.units_table(what)
    return said


def probing(
    folder: Path, environ: Dict[str, str], say: Callable[[str], object], max_sec: int = 60
) -> RemoteNwb:
    """Start the probing child."""
    opening = Opening("http://h/x", ReadLimits(max_total_sec=max_sec))
    return RemoteNwb(opening, folder, environ, say=say, module="probing_child")


def test_environment_is_what_python_needs(tmp_path: Path, environ: Dict[str, str]) -> None:
    """No other variable is handed on, whatever its name."""
    kept = reading_environ({**environ, "PGPASSWORD": "x", "LC_TIME": "C"}, tmp_path)
    assert {"PATH", "PYTHONPATH", "LC_TIME"} <= set(kept)
    assert kept["TMPDIR"] == str(tmp_path)
    assert [name for name, value in kept.items() if value in ("s3cr3t", "x")] == []


@needs_landlock
def test_code_in_the_parser_cannot_get_at_keys(
    tmp_path: Path, environ: Dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Environment, processes and files of the same user give no key away.

    The key is in the environment of another process, as it is in the runner's.
    """
    (tmp_path / "table").mkdir()
    (tmp_path / "keys.env").write_text("FIGPACK_API_KEY=s3cr3t")
    monkeypatch.chdir(tmp_path)
    runner = subprocess.Popen(["sleep", "60"], env=environ)
    said: List[str] = []
    file = probing(tmp_path / "table", environ, said.append)
    try:
        assert f"/proc/{runner.pid}/environ" in environments_with_keys()
        with file, pytest.raises(NwbError, match="no valid units table"):  # it wrote none
            file.units_table("look")
    finally:
        runner.kill()
        runner.wait()
    assert json.loads(said[1]) == {
        "own": [],
        "environments": [],
        "parent's memory": False,
        "file with keys": False,
        "files of others": False,
        "programs": False,
        "links": False,
        "own folder": True,
    }


def test_packages_may_be_installed_anywhere(tmp_path: Path) -> None:
    """The confined child may read the packages that it imports, wherever they are installed."""
    elsewhere, table = tmp_path / "elsewhere", tmp_path / "table"
    table.mkdir()
    site = Path(requests.__file__).parents[1]
    for name in ("certifi", "h5py", "idna", "numpy", "requests", "urllib3"):
        for path in site.glob(f"{name}*"):  # the package, and libraries beside it
            if path.is_dir():
                shutil.copytree(path, elsewhere / path.name)
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(elsewhere), *sys.path])}
    with RangeServer({"/file.nwb": units_bytes([[1.0, 2.0]])}) as server:
        opening = Opening(server.url("/file.nwb"), ReadLimits(), LOOPBACK)
        with RemoteNwb(opening, table, environ) as file:
            found = file.units_table("/units")
    assert found.spike_times_sec.tolist() == [1.0, 2.0]


def test_nothing_guesses_the_encoding_of_texts() -> None:
    """The library requests does without it, and does not complain."""
    code = """
import sys
from devaria.nwb.sandbox import child
child._do_without_text_guessers()
import devaria.nwb.http.ranges
assert "requests" in sys.modules
assert not any(sys.modules.get(name) for name in child._TEXT_GUESSERS)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_loop_ends_when_the_time_is_up(tmp_path: Path, environ: Dict[str, str]) -> None:
    """A child that never comes back is killed, and the error says so."""
    with pytest.raises(NwbError, match="the file was not read within 1 s"):
        probe("loop", tmp_path, environ, max_sec=1)


@pytest.mark.parametrize(
    ("what", "error", "text"),
    [
        ("SIGSEGV", NwbError, r"crashes its reader \(SIGSEGV\): it is damaged"),
        ("SIGKILL", RuntimeError, "its process was killed by SIGKILL"),
        ("exit", RuntimeError, "its process ended with exit code 3"),
        ("fail", RuntimeError, r"^reading the file failed: ZeroDivisionError: \\x1b\[2Jby zero$"),
        ("nothing", NwbError, "no valid units table"),
    ],
)
def test_end_of_the_child_is_an_error(
    tmp_path: Path, environ: Dict[str, str], what: str, error: Any, text: str
) -> None:
    """However the child ends without a table, there is one printable error."""
    with pytest.raises(error, match=text):
        probe(what, tmp_path, environ)


def test_child_that_cannot_start_is_an_error(tmp_path: Path, environ: Dict[str, str]) -> None:
    """A child that dies before it has read its request is an error, not a hang or a broken pipe."""
    opening = Opening("http://h/x" + "y" * 100_000, ReadLimits())
    file = RemoteNwb(opening, tmp_path, environ, module="no_such_module")
    with file, pytest.raises(RuntimeError, match="its process ended with exit code 1"):
        file.units_table("/units")


@pytest.mark.parametrize("what", ["sleep", "loop in C"])
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, code in C delays the end")
def test_child_goes_with_its_parent(tmp_path: Path, environ: Dict[str, str], what: str) -> None:
    """It is in the parent's process group, and dies when the parent is killed, whatever it does."""
    script = str(SUPPORT / "probing_child.py")
    command = [sys.executable, script, "parent", what, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environ, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert os.getpgid(child.pid) == os.getpgid(parent.pid)
        parent.kill()
    gone, _ = psutil.wait_procs([child], timeout=10)
    assert gone == [child]


@pytest.mark.parametrize("what", ["sleep", "loop", "loop in C"])
def test_no_child_is_left(tmp_path: Path, environ: Dict[str, str], what: str) -> None:
    """A parent that stops waiting leaves no process behind, whatever the child does."""

    def give_up(_line: str) -> None:
        raise KeyboardInterrupt

    file = probing(tmp_path, environ, give_up)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), file:
        file.units_table(what)
    assert psutil.Process().children() == []
    assert time.monotonic() - started < 30  # it would sleep for 60 s


TABLE = UnitsTable(
    unit_ids=["3", "a\n\u00e9"],
    unit_rows=np.array([0, 3]),
    spike_times_sec=np.array([0.5, 7.25, 1.5], dtype=np.float32),
    unit_stops=np.array([2, 3]),
    start_time_sec=0.5,
    end_time_sec=7.25,
    num_rows=4,
    num_dropped=1,
    time_offset_sec=1.7e9,
)


def test_table_comes_back_as_it_was(tmp_path: Path) -> None:
    """One process saves it, the other loads it without reading it all into memory."""
    save_table(TABLE, tmp_path)
    loaded = load_table(tmp_path)
    assert loaded.spike_times_sec.tolist() == TABLE.spike_times_sec.tolist()
    assert loaded.unit_stops.tolist() == TABLE.unit_stops.tolist()
    assert isinstance(loaded.spike_times_sec.base, np.memmap)
    assert loaded.unit_rows.tolist() == TABLE.unit_rows.tolist()
    arrays = ("spike_times_sec", "unit_stops", "unit_rows")
    rest: Dict[str, Any] = {name: getattr(TABLE, name) for name in arrays}
    assert replace(loaded, **rest) == replace(TABLE, **rest)


ODD: List[Dict[str, Any]] = [
    {"spike_times_sec": np.array([0.5, np.nan, 7.25], dtype=np.float32)},
    {"spike_times_sec": np.array([0.5, np.inf, 7.25], dtype=np.float32)},
    {"spike_times_sec": np.array([0.5, 7.25, 1.5])},
    {"spike_times_sec": np.array([[0.5, 7.25, 1.5]], dtype=np.float32)},
    {"spike_times_sec": np.array([0.5, {}, 1.5])},
    {"unit_stops": np.array([2, 4])},
    {"unit_stops": np.array([3, 3])},
    {"unit_stops": np.array([-1, 3])},
    {"unit_stops": np.array([], dtype=np.int64), "unit_ids": []},
    {"unit_stops": np.array([2.0, 3.0])},
    {"unit_rows": np.array([0, 4])},
    {"unit_rows": np.array([-1, 3])},
    {"unit_rows": np.array([3, 3])},
    {"unit_rows": np.array([0.0, 3.0])},
    {"unit_rows": np.array([0])},
    {"time_offset_sec": float("nan")},
    {"unit_ids": ["3"]},
    {"unit_ids": ["3", 4]},
    {"unit_ids": ["3", "x" * 201]},
    {"unit_ids": 7},
    {"start_time_sec": -1.0},
    {"end_time_sec": float("nan")},
    {"end_time_sec": float("inf")},
    {"num_rows": 1},
    {"num_dropped": -1},
    {"num_rows": "many"},
]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: " ".join(odd))
def test_odd_tables_are_refused(tmp_path: Path, odd: Dict[str, Any]) -> None:
    """Files that do not make a valid table are an error, whatever code wrote them."""
    save_table(TABLE, tmp_path)
    table = replace(TABLE, **odd)
    for name in ("spike_times_sec", "unit_stops"):
        np.save(tmp_path / f"{name}.npy", getattr(table, name), allow_pickle=True)
    rest = {name: getattr(table, name) for name in ("unit_ids", "num_rows", "num_dropped")}
    rest.update(start_time_sec=table.start_time_sec, end_time_sec=table.end_time_sec)
    (tmp_path / "table.json").write_text(json.dumps(rest))
    with pytest.raises(NwbError, match="no valid units table"):
        load_table(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes as POSIX has them")
@pytest.mark.parametrize("name", ["table.json", "spike_times_sec.npy", "unit_stops.npy"])
def test_a_pipe_in_the_place_of_a_file_is_refused(tmp_path: Path, name: str) -> None:
    """Who opens it would wait for ever."""
    save_table(TABLE, tmp_path)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    with pytest.raises(NwbError, match="no valid units table"):
        load_table(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{}", "[" * 100_000])
def test_odd_json_is_refused(tmp_path: Path, content: str) -> None:
    """So are files without the JSON of a table."""
    save_table(TABLE, tmp_path)
    (tmp_path / "table.json").write_text(content)
    with pytest.raises(NwbError, match="no valid units table"):
        load_table(tmp_path)
