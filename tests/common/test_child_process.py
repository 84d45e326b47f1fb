"""A child process and its parent: requests, events, one end."""

import os
import signal
import subprocess
import sys

import pytest
from core_fixtures import PATIENCE_SEC, environment
from job_processes import is_gone
from waiting import wait_until

from devaria.common.child_process import UNREADABLE, ChildProcess, exit_text


@pytest.fixture
def start():
    """Start a child that echoes its request; at the end it is killed."""
    children = []

    def started(**options):
        children.append(ChildProcess("echoing_child", env=environment(), **options))
        return children[-1]

    yield started
    for child in children:
        child.end()


def test_a_request_goes_in_and_events_come_out(start):
    """They may hold any characters. Prints are not events, and standard input is empty."""
    child = start(stderr=subprocess.PIPE)
    request = {"text": "Zo\u00eb \ud800 \U0001f9e0\n", "n": [1, 2.5, None]}
    child.hand_over(request)

    assert list(child.events()) == [{"event": "echo", "request": request, "stdin": ""}]
    assert child.stderr.read() == b"printed\n"
    assert child.wait(PATIENCE_SEC) == 0


def test_many_requests_go_in_one_after_another(start):
    """They wait until the child takes them, however many and long they are."""
    child = start()
    requests = [{"more": 50}, *({"n": n, "text": "x" * 10_000} for n in range(50))]
    for request in requests:
        child.hand_over(request)

    assert [event["request"] for event in child.events()] == requests


@pytest.mark.parametrize(
    ("raw", "times"),
    [
        ("no JSON", 1),
        ("", 1),
        ("[1]", 1),
        ('"event"', 1),
        ('{"kind": 1}', 1),
        ("[", 9_000),
        ("x", 20_000_000),
    ],
)
def test_a_line_that_is_no_event_is_unreadable(start, raw, times):
    """Code in the child may have written it. One of 20 MB is read in two parts."""
    child = start()
    child.hand_over({"raw": raw, "times": times})

    *unreadable, last = child.events()
    assert unreadable == [UNREADABLE] * (2 if times > 16_000_000 else 1)
    assert last["event"] == "echo"


def test_a_line_that_death_cuts_off_is_left_out(start):
    """How the child ended tells more."""
    child = start()
    child.hand_over({"raw": '{"event": "ec', "times": 1, "dies": True})

    assert list(child.events()) == []


def test_a_child_without_a_request_ends_when_its_pipe_closes(start):
    """It was started ahead, and is not needed."""
    child = start()
    child.close_stdin()

    assert child.wait(PATIENCE_SEC) == 7


def test_a_request_to_a_child_that_is_gone_is_no_error(start):
    """The exit code shows that it is gone."""
    child = start()
    child.kill()
    child.wait()
    child.hand_over({"text": "x" * 1_000_000})

    assert list(child.events()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="groups as POSIX has them")
@pytest.mark.parametrize("own_group", [True, False])
def test_a_child_ends_with_its_pipe_and_ends_a_group_of_its_own(start, own_group):
    """A group of its own ends with it. In its parent's group, it alone ends."""
    child = start(start_new_session=own_group)
    child.hand_over({"starts": True})
    pid = next(event["pid"] for event in child.events() if event["event"] == "started")
    child.close_stdin()

    assert child.wait(PATIENCE_SEC) == (-signal.SIGKILL if own_group else 1)
    if own_group:
        wait_until(lambda: is_gone(pid))
    else:
        assert not is_gone(pid)
        os.kill(pid, signal.SIGKILL)


@pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")
@pytest.mark.parametrize(
    ("code", "text"),
    [
        (0, "ended with exit code 0"),
        (3, "ended with exit code 3"),
        (-signal.SIGSEGV, "was killed by SIGSEGV"),
        (-99, "was killed by signal 99"),
    ],
)
def test_an_exit_code_is_named(code, text):
    """A signal is shown by its name."""
    assert exit_text(code) == text
