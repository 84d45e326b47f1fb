"""hello_world: its parameters, its console, its progress, its result."""

import math
import re
from pathlib import Path

import pytest

from devaria.jobs import hello_world
from devaria.jobs.hello_world import HelloWorldHandler


class Clock:
    """Stands in for the module `time`: a sleep takes no time, or longer than asked for."""

    def __init__(self, overslept_sec=0.0):
        self.now = 1_000.0
        self.overslept_sec = overslept_sec

    def monotonic(self):
        """Tell the time."""
        return self.now

    def sleep(self, seconds):
        """Let the time pass."""
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        self.now += seconds + self.overslept_sec


@pytest.fixture
def clock(monkeypatch):
    """A clock that makes long jobs short."""
    made = Clock()
    monkeypatch.setattr(hello_world, "time", made)
    return made


def run(**params):
    """Run the handler; return result and progress."""
    progress = []

    def callback(progress_current=None, progress_total=None, console_output=None):
        assert console_output is None
        progress.append((progress_current, progress_total))

    return HelloWorldHandler().run(params, callback, Path()), progress


def lines_of(capsys):
    """The console's lines without their times."""
    lines = capsys.readouterr().out.splitlines()
    assert all(re.match(r"\[\d\d:\d\d:\d\d\] ", line) for line in lines)
    return [line[11:] for line in lines]


@pytest.mark.usefixtures("clock")
def test_it_greets_and_tells_what_it_does(capsys):
    """Result and console are the documented ones."""
    result, progress = run(name="Alice", processing_time=60)

    assert result == {"message": "Hello, Alice!", "processing_time": 60}
    assert lines_of(capsys) == [
        "Starting hello_world job for Alice",
        "Processing time: 60 seconds",
        "Progress: 50%",
        "Completed!",
    ]
    assert progress[-1] == (60, 60)
    assert len(progress) >= 60


def test_a_job_of_no_time_ends_at_once(capsys):
    """In real time."""
    result, _ = run(name="", processing_time=0)

    assert result == {"message": "Hello, !", "processing_time": 0}
    assert lines_of(capsys)[-1] == "Completed!"


def test_a_short_job_takes_its_time_and_tells_its_half(capsys):
    """In real time, too."""
    result, progress = run(name="Zoë", processing_time=0.2)

    assert result == {"message": "Hello, Zoë!", "processing_time": 0.2}
    assert "Progress: 50%" in lines_of(capsys)
    assert progress[-1] == (0.2, 0.2)


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("seconds", [61, 100, 299.5, 300])
def test_a_long_job_says_something_every_30_seconds(capsys, seconds):
    """Progress goes up to the end and never beyond."""
    _, progress = run(name="Alice", processing_time=seconds)

    said = [line for line in lines_of(capsys) if line.startswith("Progress: ")]
    assert len(said) == math.ceil(seconds / 30) - 1
    currents = [current for current, _ in progress]
    assert currents == sorted(currents)
    assert currents[-1] == seconds


def test_a_machine_that_stalls_does_not_fail_the_job(clock, capsys):
    """A laptop that slept wakes up in the middle of a wait."""
    clock.overslept_sec = 70.0

    result, _ = run(name="Alice", processing_time=300)

    assert result["processing_time"] == 300
    assert lines_of(capsys)[-1] == "Completed!"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"processing_time": 1}, "name is missing; it must be a string"),
        ({"name": None, "processing_time": 1}, "name must be a string, not None"),
        ({"name": 5, "processing_time": 1}, "name must be a string, not 5"),
        ({"name": "A"}, "processing_time is missing; it must be a number from 0 to 300"),
        ({"name": "A", "processing_time": "3"}, "must be a number from 0 to 300, not '3'"),
        ({"name": "A", "processing_time": True}, "must be a number from 0 to 300, not True"),
        ({"name": "A", "processing_time": [3]}, "must be a number from 0 to 300, not [3]"),
        ({"name": "A", "processing_time": -1}, "must be a number from 0 to 300, not -1"),
        ({"name": "A", "processing_time": 300.5}, "must be a number from 0 to 300, not 300.5"),
        ({"name": "A", "processing_time": 10**400}, "must be a number from 0 to 300, not 1000"),
        ({"name": "A", "processing_time": math.nan}, "must be a number from 0 to 300, not nan"),
        ({"name": "A", "processing_time": math.inf}, "must be a number from 0 to 300, not inf"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_is_done(capsys, params, message):
    """The text names parameter, rule and value; a long value is cut."""
    with pytest.raises(ValueError, match=re.escape(message)) as raised:
        run(**params)

    assert len(str(raised.value)) < 200
    assert capsys.readouterr().out == ""


def test_it_can_run_everywhere():
    """It needs nothing."""
    assert HelloWorldHandler.missing_requirements() == []
