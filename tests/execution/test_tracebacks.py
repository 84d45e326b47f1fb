"""What a failed job shows to the public, and what it leaves for the runner's log."""

import sys

import pytest

from devaria.common.machine import without_crash_paths, without_machine

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="paths as POSIX has them")

#: A user and a home folder that no test machine has.
WHO = {"HOME": "/home/zoe.lab/", "USER": "zoe.lab", "LOGNAME": "zoe.lab"}


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("foreseen", "Job execution failed: the disk at the microscope is full"),
        ("of its own kind", "Job execution failed: NoSpikesError: there are none"),
        ("file", "Job execution failed: NwbError: the file is damaged"),
        ("value", "Invalid parameters: x must be positive"),
    ],
)
def test_a_foreseen_error_has_no_traceback(runner, kind, message):
    """Its text says all. The log has that of a ValueError, which may be a mistake."""
    error, console = runner.error("Raises", kind=kind)

    assert (error, console) == (message, "working\n")
    assert (runner.process.traceback is not None) == (kind == "value")


def test_a_result_that_cannot_be_one_has_no_traceback(runner):
    """The error says where the value is; a traceback would only show devaria's own code."""
    _, console = runner.error("Returns", no_result="nan")

    assert "Traceback" not in console


def test_another_error_has_a_traceback_that_does_not_say_where_things_lie(runner):
    """Paths begin with the package; the chain of errors is all there."""
    runner.start("Raises", **WHO)

    error, console = runner.error("Raises", kind="chained")

    assert '  File "misbehaving_handlers.py", line ' in console
    assert '  File "json/decoder.py", line ' in console
    assert "The above exception was the direct cause" in console
    assert "RuntimeError: in ~ of <user>" in console
    assert "json.loads(" in console  # a line of the source
    assert "zoe" not in console
    assert sys.prefix not in console
    assert __file__.rpartition("/tests/")[0] not in console
    # The full one is for the log. The runner cleans the message, which knows the names, too.
    full = runner.process.traceback
    assert f'File "{__file__.rpartition("/execution/")[0]}/support/misbehaving_handlers.py"' in full
    assert "in /home/zoe.lab of zoe.lab" in full
    assert error.startswith("Job execution failed: RuntimeError: in ")


def test_of_the_path_of_a_missing_file_the_last_part_stays(runner):
    """Where a lab keeps its files is its own affair; the log says it."""
    error, console = runner.error("Raises", kind="file of the lab")

    assert "probe1.npy" in error
    assert "probe2.npy" in error
    assert "FileNotFoundError" in console
    assert "labshare" not in error + console
    assert "/mnt/labshare" in runner.process.traceback


def test_the_traceback_of_a_thread_does_not_say_where_things_lie(runner):
    """Python would print it in full."""
    _, console = runner.error("Raises", kind="in a thread")

    assert "Exception in thread" in console
    assert '  File "json/decoder.py", line ' in console
    assert 'File "/' not in console


def test_the_paths_of_a_crash_are_shortened():
    """Python prints them when C code crashes."""
    crash = """Fatal Python error: Segmentation fault

Current thread 0x00007f (most recent call first):
  File "/home/zoe/lab/count_words.py", line 3 in execute
  File "/opt/venv/lib/python3.11/site-packages/figpack/core/view.py", line 5 in show
  File "C:\\Users\\zoe\\x.py", line 6 in <module>
and  File "/home/zoe/b.py", line 3 in a line of the job's own
"""
    assert without_crash_paths(crash).splitlines()[3:] == [
        '  File "count_words.py", line 3 in execute',
        '  File "figpack/core/view.py", line 5 in show',
        '  File "x.py", line 6 in <module>',
        'and  File "/home/zoe/b.py", line 3 in a line of the job\'s own',
    ]


@pytest.fixture
def someone(monkeypatch):
    """A user and a host with names of their own."""
    from devaria.common import machine

    for name, value in WHO.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("socket.gethostname", lambda: "scope-12.lab.example")
    machine._patterns.cache_clear()
    yield
    machine._patterns.cache_clear()


@pytest.mark.usefixtures("someone")
@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("no such file: '/home/zoe.lab/data/a.npy'", "no such file: '~/data/a.npy'"),
        ("/scratch/zoe.lab/a", "/scratch/<user>/a"),
        ("zoe.lab@scope-12: denied", "<user>@<host>: denied"),
        ("cannot reach SCOPE-12.lab.example:80", "cannot reach <host>:80"),
        ("zoe.labs, xzoe.lab, scope-123", "zoe.labs, xzoe.lab, scope-123"),
        ("/units has no spikes", "/units has no spikes"),
    ],
)
def test_names_of_the_machine_are_cut_out(text, public):
    """They are whole words; other texts stay."""
    assert without_machine(text) == public


def test_names_that_tell_nothing_stay(monkeypatch):
    """A short or general one is a part of many texts."""
    from devaria.common import machine

    for name, value in {"HOME": "/", "USER": "root", "LOGNAME": "me", "USERNAME": ""}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("socket.gethostname", lambda: "vm")
    monkeypatch.setattr("devaria.common.machine._account", lambda: ("", ""))
    machine._patterns.cache_clear()
    try:
        assert without_machine("the root of me on a vm / all") == "the root of me on a vm / all"
    finally:
        machine._patterns.cache_clear()
