"""A control group for each job, where there is a delegated one."""

import contextlib
import os
import sys
from pathlib import Path

import psutil
import pytest
from core_fixtures import Process
from waiting import wait_until

from devaria.execution.cgroup import JobGroup, _own_group, _places_in, new_group

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="control groups")


@pytest.fixture
def delegated():
    """A group that is marked as systemd marks a delegated one; the tests run as root for that."""
    own = _own_group()
    path = None if own is None else own / f"devaria-test-{os.getpid()}"
    try:
        path.mkdir()
        os.setxattr(path, "user.delegate", b"1")
    except (OSError, AttributeError):
        pytest.skip("no control group can be made here")
    yield path
    wait_until(lambda: not is_populated(path), "an empty group")
    for folder in sorted(path.rglob("*/"), reverse=True):
        if folder.is_dir():
            folder.rmdir()
    path.rmdir()


def is_populated(group):
    """Whether there is a process in a group or below it."""
    return "populated 1" in (group / "cgroup.events").read_text()


PARENT = """
import os, sys
from pathlib import Path

(Path(sys.argv[1]) / "cgroup.procs").write_text("0")

from devaria.execution.limits import JobLimits
from devaria.execution.process import JobProcess
from devaria.execution.signals import Wakeup

process = JobProcess(Wakeup(), os.environ, ["test=misbehaving_handlers:Holds"])
process.console.echo_to(lambda data: print(data.decode(), end="", flush=True))
process.hand_over("test", {"how": "with an orphan"}, lambda *_: None)
print(process.wait(JobLimits(float(sys.argv[2]), 1e12), lambda: None).error_message, flush=True)
"""


def group_of(pid):
    """The group that a process is in."""
    (line,) = (
        line
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        if line.startswith("0::")
    )
    return Path(line[len("0::") :]).name


@pytest.mark.parametrize("end", ["limit", "runner killed"])
def test_all_of_a_job_is_in_its_group_and_ends_with_it(delegated, end):
    """The group is removed, too, by this runner or by the next one."""
    with Process("-c", PARENT, str(delegated), "1.5" if end == "limit" else "600") as runner:
        orphan = int(runner.wait_for_line("orphan").split()[1])
        with contextlib.suppress(OSError):  # it may have ended at its limit already
            assert group_of(orphan).startswith("devaria-job-")
        if end == "limit":
            runner.wait()
            assert "time limit" in runner.output
            assert list(delegated.glob("devaria-job-*")) == []
        else:
            runner.signal(9)
            runner.wait()
    wait_until(lambda: not psutil.pid_exists(orphan) or not is_populated(delegated))


def test_without_delegation_there_is_no_group():
    """A group that somebody else manages is left alone."""
    assert new_group() is None


def test_memory_of_processes_and_of_shared_memory_counts(tmp_path):
    """Not the kernel's caches of files. Without a count, the caller counts itself."""
    group = JobGroup(tmp_path)
    assert group.memory_bytes() is None

    (tmp_path / "memory.stat").write_text("anon 1000000\nfile 77000000\nshmem 300000\n")

    assert group.memory_bytes() == 1_300_000


def test_groups_at_any_depth_are_removed(tmp_path):
    """A job makes as many as it likes, more than Python's stack is deep. No link is followed."""
    group = deep = tmp_path / "group"
    group.mkdir()
    for _ in range(1_100):
        deep /= "x"
        deep.mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "group" / "link").symlink_to(outside)

    JobGroup(group).end()

    assert outside.exists()
    assert not (group / "x").exists()


def test_a_place_may_have_any_name():
    """Names of other mounts, too, are bytes."""
    mounts = b"disk /mnt/\xff ext4 rw 0 0\ncgroup2 /sys/fs/\xfe cgroup2 rw 0 0\n"

    assert list(_places_in(mounts)) == [Path(os.fsdecode(b"/sys/fs/\xfe"))]
