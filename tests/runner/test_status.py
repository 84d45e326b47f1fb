"""The status file, what `devaria status` makes of it, and what a runner owes."""

import json
import os
import sys
import threading
import time

import pytest
from core_fixtures import devaria

from devaria.common.files import directory_lock
from devaria.execution.outcome import JobOutcome
from devaria.execution.signals import Wakeup
from devaria.runner.journal import Journal, JournalEntry
from devaria.runner.status import STATUS_FILE, RunnerStatus, StatusFile, owed_jobs

NOW = 1_800_000_000.0


@pytest.fixture
def directory(tmp_path):
    """A runner's directory, held as by a runner."""
    with directory_lock(tmp_path):
        yield tmp_path


def status_of(directory, **changes):
    """Write a status as a runner would leave it, and ask `devaria status`."""
    StatusFile(directory, RunnerStatus(7, time.time(), "http://w", **changes)).close()
    return asked(directory)


def asked(directory):
    """Ask `devaria status`."""
    return devaria("status", "--dir", str(directory))


def test_the_first_state_is_there_at_once(tmp_path):
    """The file of an earlier runner is replaced before the new one does anything."""
    (tmp_path / STATUS_FILE).write_text('{"pid": 1, "started_at": 0, "worker_url": "old"}')
    file = StatusFile(tmp_path, RunnerStatus(7, NOW, "http://w"))
    assert RunnerStatus.load(tmp_path).pid == 7
    file.close()


def test_news_are_written_while_the_main_thread_waits(tmp_path):
    """Changes from other threads are written too, without waking the main thread."""
    file = StatusFile(tmp_path, RunnerStatus(7, NOW, "http://w"))
    wakeup = Wakeup()
    wakeup.do_regularly(file.write, 0.05)
    file.note_job("j-1", "a")
    threading.Timer(0.2, file.note_progress, (49, 50)).start()
    assert not wakeup.wait(0.6)
    assert RunnerStatus.load(tmp_path).progress_current == 49
    assert RunnerStatus.load(tmp_path).job_id == "j-1"
    file.close()


def test_the_file_is_replaced_only_where_something_changed(tmp_path):
    """A change alone writes nothing; `close` writes the last state."""
    file = StatusFile(tmp_path, RunnerStatus(7, NOW, "http://w"))
    first = (tmp_path / STATUS_FILE).read_bytes()
    file.write()
    for done in range(50):
        file.note_progress(done, 50)
        assert (tmp_path / STATUS_FILE).read_bytes() == first
    file.note_end(succeeded=True)
    file.close()
    status = RunnerStatus.load(tmp_path)
    assert (status.progress_current, status.jobs_completed, status.jobs_failed) == (49, 1, 0)


def test_a_job_that_ends_is_counted(tmp_path):
    """It counts as completed, failed or neither, and is no longer the job in hand."""
    file = StatusFile(tmp_path, RunnerStatus(7, NOW, "http://w"))
    for succeeded in (True, False, False, None):
        file.note_job("j-1", "a")
        file.update(owes_report=True)
        file.note_end(succeeded)
    file.close()
    status = RunnerStatus.load(tmp_path)
    assert (status.jobs_completed, status.jobs_failed) == (1, 2)
    assert status.job_id is None
    assert not status.owes_report


def test_a_file_that_cannot_be_written_stops_nothing(tmp_path):
    """Changes and `close` still work."""
    (tmp_path / "gone").mkdir()
    file = StatusFile(tmp_path / "gone", RunnerStatus(7, NOW, "http://w"))
    (tmp_path / "gone" / STATUS_FILE).unlink()
    (tmp_path / "gone").rmdir()
    file.last_contact_at = NOW
    file.close()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        '{"pid": 1}',
        '{"a": 1}',
        "\xff",
        '{"pid": 1, "started_at": "now", "worker_url": "u"}',
        '{"pid": 1, "started_at": NaN, "worker_url": "u"}',
        '{"pid": 1, "started_at": 1, "worker_url": ["u"]}',
        '{"pid": 1, "started_at": 1, "worker_url": "u", "progress_current": "1"}',
        "[" * 100_000,
        " " * 200_000,
    ],
)
def test_a_file_that_cannot_be_understood_is_none(tmp_path, content):
    """A newer version may have written it."""
    (tmp_path / STATUS_FILE).write_text(content, encoding="latin-1")
    assert RunnerStatus.load(tmp_path) is None


@pytest.mark.skipif(sys.platform == "win32", reason="pipes as POSIX has them")
def test_a_pipe_in_the_files_place_is_none(tmp_path):
    """A job may have put it there. Who opens it would wait for ever."""
    os.mkfifo(tmp_path / STATUS_FILE)
    assert RunnerStatus.load(tmp_path) is None


def test_healthy_is_0(directory):
    """It is running, and its worker answered within five minutes."""
    done = status_of(directory, last_contact_at=time.time() - 290)
    assert (done.returncode, json.loads(done.stdout)["health"]) == (0, "healthy")


def test_silent_is_8(directory):
    """It is running, and its worker answered last more than five minutes ago."""
    done = status_of(directory, last_contact_at=time.time() - 301)
    assert (done.returncode, json.loads(done.stdout)["health"]) == (8, "silent")


def test_a_runner_that_never_reached_its_worker_has_five_minutes(directory):
    """The five minutes begin with its start."""
    assert status_of(directory).returncode == 0
    status = {"pid": 7, "started_at": time.time() - 301, "worker_url": "http://w"}
    (directory / STATUS_FILE).write_text(json.dumps(status))
    assert asked(directory).returncode == 8


def test_not_running_is_1(tmp_path):
    """This is so whatever the file holds."""
    done = status_of(tmp_path, last_contact_at=time.time())
    assert (done.returncode, json.loads(done.stdout)["health"]) == (1, "not running")
    assert asked(tmp_path / "nowhere").returncode == 1
    assert not (tmp_path / "nowhere").exists()


def test_one_runner_is_asked_after(tmp_path):
    """A name that stands for many directories is not looked up under this process's id."""
    done = asked(tmp_path / "{host}-{pid}")
    assert done.returncode == 7
    assert "name one of them" in done.stderr


def test_what_is_owed_is_read_and_left_alone(tmp_path):
    """Jobs in each state are listed. Corrupt entries stay where they are."""
    journal = Journal(tmp_path)
    entry = JournalEntry("j-1", "a", "http://w", "r")
    journal.write(entry)
    journal.write(JournalEntry("j-2", "a", "http://w", "r").started())
    journal.write(JournalEntry("j-3", "a", "http://w", "r").ended(JobOutcome({"x": 1}, None, "")))
    broken = tmp_path / ".devaria_jobs" / "j-4"
    broken.mkdir()
    (broken / "entry.json").write_text("{")
    assert [(job.job_id, job.state) for job in owed_jobs(tmp_path)] == [
        ("j-1", "claiming"),
        ("j-2", "running"),
        ("j-3", "done"),
    ]
    assert (broken / "entry.json").read_text() == "{"
    told = json.loads(asked(tmp_path).stdout)
    assert [job["job_id"] for job in told["owed"]] == ["j-1", "j-2", "j-3"]
    table = devaria("status", "--table", "--dir", str(tmp_path)).stdout
    assert "owed    j-3 (a), ended; its report is owed\n" in table
