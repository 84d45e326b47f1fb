"""What a job uses of memory and disk, measured."""

import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
from core_fixtures import PATIENCE_SEC
from waiting import wait_until

from devaria.execution.limits import JobLimits
from devaria.execution.usage import DiskUse, SharedMemory, bytes_below

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="files as POSIX has them")
linux = pytest.mark.skipif(sys.platform != "linux", reason="/dev/shm")

MEGABYTE = bytes(1_000_000)


def counted(folder):
    """Count to the end."""
    return list(bytes_below(str(folder)))[-1]


# --- disk ------------------------------------------------------------------------------------


def test_files_in_all_folders_count(tmp_path):
    """In blocks, as the disk has them."""
    deep = tmp_path.joinpath(*"abc")
    deep.mkdir(parents=True)
    for folder in (tmp_path, deep):
        (folder / "file").write_bytes(MEGABYTE)

    assert counted(tmp_path) == pytest.approx(2e6, rel=0.05)


def test_holes_links_and_second_names_take_nothing(tmp_path):
    """Only what the disk has to hold counts."""
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (outside / "file").write_bytes(MEGABYTE)
    (inside / "link").symlink_to(outside)
    (inside / "file").write_bytes(MEGABYTE)
    os.link(inside / "file", inside / "same")
    with (inside / "hole").open("wb") as file:
        file.truncate(1 << 40)

    assert counted(inside) == pytest.approx(1e6, rel=0.05)


def test_paths_that_are_too_long_are_over_every_limit(tmp_path):
    """What cannot be counted must not be a way around the limit."""
    subprocess.run(
        [sys.executable, "-c", DEEP, "200", "x" * 100], cwd=tmp_path, check=True, timeout=60
    )
    try:
        assert counted(tmp_path) == math.inf
    finally:
        subprocess.run(["rm", "-rf", str(tmp_path / ("x" * 100))], check=True)


DEEP = """
import os, sys
for _ in range(int(sys.argv[1])):
    os.mkdir(sys.argv[2])
    os.chdir(sys.argv[2])
"""


def test_a_count_goes_on_over_several_looks_and_is_repeated(tmp_path):
    """A large tree must not hold up the runner's main thread."""
    for number in range(50):
        (tmp_path / str(number)).mkdir()
    use = DiskUse(str(tmp_path))
    before = wait_until(use.bytes)

    (tmp_path / "1" / "file").write_bytes(MEGABYTE)

    wait_until(lambda: use.bytes() > before + 900_000)
    (tmp_path / "1" / "file").unlink()
    wait_until(lambda: use.bytes() < before + 900_000)


def test_a_count_pauses_within_a_large_folder(tmp_path):
    """A look at one folder with many files must be short, too."""
    for number in range(1_000):
        (tmp_path / str(number)).touch()

    assert len(list(bytes_below(str(tmp_path)))) == 4  # after 256, 512, 768 and all


@pytest.mark.usefixtures("_impatient")
def test_a_job_ends_at_its_disk_limit(runner):
    """The error says what took the space, and the limit. The folder is removed."""
    limits = JobLimits(60, 1e12, disk_bytes=250e6)

    error, _ = runner.error("Holds", limits=limits, how="fill disk")

    assert error.startswith("Job execution failed: its files in run_dir took ")
    assert " MB of disk; its limit is 250 MB" in error


# --- shared memory ---------------------------------------------------------------------------


@linux
@pytest.mark.usefixtures("_impatient")
def test_a_job_ends_at_its_memory_limit_for_files_of_shared_memory(runner):
    """They take memory, though they are in no process's."""
    error, console = runner.error("Holds", limits=JobLimits(60, 100e6), how="fill shared memory")
    Path("/dev/shm", f"devaria-test-{console.split()[1]}").unlink()

    assert "MB of memory; its limit is 100 MB" in error


OTHER = """
import mmap, sys
file = open(sys.argv[1], "r+b")
if sys.argv[2] == "mapped":
    mapped = mmap.mmap(file.fileno(), 0)
    file.close()
print("ready", flush=True)
sys.stdin.read()
"""


@linux
@pytest.mark.parametrize(
    ("whose", "how", "counts"),
    [
        ("nobody", "", True),
        ("job", "open", True),
        ("job", "mapped", False),  # it is in that process's resident memory
        ("other", "open", False),
        ("other", "mapped", False),
    ],
)
def test_whose_a_file_of_shared_memory_is(whose, how, counts):
    """Another job's files must not end this one."""
    holder = None
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="devaria-test-") as folder:
        before = SharedMemory(folder)
        path = Path(folder, "file")
        path.write_bytes(MEGABYTE)
        if whose != "nobody":
            holder = subprocess.Popen(
                [sys.executable, "-c", OTHER, str(path), how],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            assert holder.stdout.readline() == b"ready\n"
        job = [psutil.Process(holder.pid)] if whose == "job" else []

        found = before.bytes_beside(job)

        page = os.sysconf("SC_PAGE_SIZE")
        in_pages = -(-len(MEGABYTE) // page) * page
        assert found == (in_pages if counts else 0)
        assert before.upper_bytes() == in_pages
        assert SharedMemory(folder).upper_bytes() == 0
        if holder is not None:
            holder.communicate(timeout=PATIENCE_SEC)
