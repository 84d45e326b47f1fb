"""The sentinel: when a process is killed, what it has started ends too."""

import os
import signal
import subprocess
import sys

import psutil
import pytest
from core_fixtures import Process
from job_processes import is_gone
from waiting import wait_until

from devaria.common.child_process import Sentinel, end_group, own_group

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="groups as POSIX has them")

PARENT = """
import subprocess, time
from devaria.common.child_process import Sentinel, own_group

sentinel = Sentinel()
quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
children = [subprocess.Popen(["sleep", "60"], **quiet, **own_group()) for _ in range(3)]
for child in children:
    sentinel.watch(child)
sentinel.forget(children[1])
print("children", *(child.pid for child in children), flush=True)
time.sleep(60)
"""


def shells():
    """The shells that this process has started."""
    return [child for child in psutil.Process().children() if child.name() == "sh"]


@pytest.fixture
def child():
    """A child that sleeps, in a group of its own."""
    process = subprocess.Popen(["sleep", "60"], **own_group())
    yield process
    end_group(process, 0.0)


def test_the_groups_that_are_watched_over_end_when_their_starter_is_killed():
    """All of them end, except those that it stopped watching."""
    with Process("-c", PARENT) as parent:
        first, forgotten, last = map(int, parent.wait_for_line("children").split()[1:])
        parent.signal(signal.SIGKILL)
        parent.wait()
        try:
            wait_until(lambda: is_gone(first) and is_gone(last))
            assert not is_gone(forgotten)
        finally:
            os.kill(forgotten, signal.SIGKILL)


def test_its_shell_is_there_while_there_are_groups(child):
    """An idle runner has no shell."""
    before = shells()
    sentinel = Sentinel()
    assert shells() == before

    sentinel.watch(child)
    assert len(shells()) == len(before) + 1

    sentinel.forget(child)
    assert shells() == before


def test_a_shell_that_was_killed_is_replaced(child):
    """The next child is watched over again."""
    before = shells()
    sentinel = Sentinel()
    sentinel.watch(child)
    (shell,) = (each for each in shells() if each not in before)
    shell.kill()
    wait_until(lambda: is_gone(shell.pid))

    sentinel.watch(child)

    (successor,) = (each for each in shells() if each not in before)
    assert successor.pid != shell.pid
    assert child.poll() is None
    sentinel.forget(child)
