"""The journal: every job on disk from before its claim until its outcome is acknowledged."""

import contextlib
import json
import os
import stat
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import core_fixtures
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from devaria.execution.console import Console
from devaria.execution.outcome import JobOutcome, keepable
from devaria.runner.journal import CLAIMING, DONE, JOURNAL_FOLDER, RUNNING, Journal, JournalEntry
from devaria.runner.status import owed_jobs

NASTY_IDS = [
    "0b6f7f5e-0000-4000-8000-000000000001",
    "..",
    ".",
    "../../etc/passwd",
    "/absolute",
    "a\\b",
    "nul",
    "with space",
    "entry.json",
    "é",
    "e\u0301",
    "🧠" * 100,
    "x" * 64,
    "x" * 65,
    "x" * 1_000,
]
#: Ids that no URL, log or header can carry.
WRONG_IDS = ["", "line\nbreak", "zero\0byte", "\x1b[2J", "\ud800", "\u202e", "x" * 10_000]
PRINTABLE = st.text(st.characters(), min_size=1).filter(str.isprintable)
IDS = st.sampled_from(NASTY_IDS) | PRINTABLE
RUNNER_IDS = st.from_regex(r"\A[!-~]([ -~]{0,50}[!-~])?\Z")
TEXTS = st.text(st.characters(), min_size=1)

RESULTS = st.dictionaries(
    st.text(),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(st.characters()),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    ),
)
OUTCOMES = st.builds(
    lambda output, error, console: JobOutcome(None if error else output, error, console),
    RESULTS,
    st.none() | TEXTS,
    st.text(st.characters()),
)
ENTRIES = st.builds(
    JournalEntry,
    IDS,
    PRINTABLE,
    PRINTABLE,
    RUNNER_IDS,
    state=st.sampled_from([CLAIMING, RUNNING]),
    runs=st.integers(0, 5),
) | st.builds(
    lambda job_id, outcome: JournalEntry(job_id, "a", "w", "r", DONE, 1, outcome), IDS, OUTCOMES
)

ENTRY = JournalEntry("j-1", "hello_world", "https://worker.example.org", "runner-id")
OUTCOME = JobOutcome({"message": "Hello"}, None, "console")


def folder_of(directory):
    """The folder of the only job."""
    (folder,) = (directory / JOURNAL_FOLDER).iterdir()
    return folder


# --- round trips -----------------------------------------------------------------------------


@settings(core_fixtures.thorough, max_examples=50)
@given(ENTRIES)
def test_an_entry_comes_back_as_it_was_written(entry):
    """The outcome may hold any text, and ids whatever can be printed."""
    with tempfile.TemporaryDirectory() as directory:
        Journal(Path(directory)).write(entry)

        assert Journal(Path(directory)).entries() == ([entry], [])


def test_jobs_of_nasty_ids_are_kept_apart_and_inside(tmp_path):
    """No job id leads out of the journal's folder or into another job's folder."""
    journal = Journal(tmp_path)
    entries = [replace(ENTRY, job_id=job_id) for job_id in NASTY_IDS]

    for entry in entries:
        journal.write(entry)

    good, set_aside = journal.entries()
    assert set_aside == []
    assert sorted(good, key=repr) == sorted(entries, key=repr)
    assert [path.name for path in tmp_path.iterdir()] == [JOURNAL_FOLDER]
    for job_id in NASTY_IDS:
        assert journal.console_path(job_id).parent.parent == tmp_path / JOURNAL_FOLDER
        journal.remove(job_id)
    assert list((tmp_path / JOURNAL_FOLDER).iterdir()) == []


def test_without_a_folder_the_journal_is_empty(tmp_path):
    """A first start is nothing special."""
    assert Journal(tmp_path).entries() == ([], [])


def test_what_is_owed_comes_first(tmp_path):
    """A report takes a second; a job may take hours."""
    journal = Journal(tmp_path)
    journal.write(replace(ENTRY, job_id="a").started())
    journal.write(replace(ENTRY, job_id="b").started().ended(OUTCOME))
    journal.write(replace(ENTRY, job_id="c"))

    assert [entry.job_id for entry in journal.entries()[0]] == ["b", "a", "c"]


def test_an_entry_of_another_version_is_kept(tmp_path):
    """Its additional fields are ignored, so that an upgrade does not lose an owed result."""
    journal = Journal(tmp_path)
    entry = ENTRY.started().ended(OUTCOME)
    journal.write(entry)
    path = folder_of(tmp_path) / "entry.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "scratch": "/tmp/x"}))

    assert journal.entries() == ([entry], [])


def test_no_parameters_are_written(tmp_path):
    """They may hold a stranger's signed URL; the worker has them."""
    Journal(tmp_path).write(ENTRY)

    fields = json.loads((folder_of(tmp_path) / "entry.json").read_bytes())
    assert set(fields) == {
        "job_id", "job_type", "worker_url", "runner_id", "state", "runs", "outcome",
    }  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_the_journal_is_for_its_owner_only(tmp_path):
    """Folders have mode 0700 and entries 0600, whatever the umask is."""
    old = os.umask(0)
    try:
        Journal(tmp_path).write(ENTRY.started().ended(OUTCOME))
    finally:
        os.umask(old)

    folder = folder_of(tmp_path)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder.parent, folder)]
    assert modes == [0o700, 0o700]
    assert stat.S_IMODE((folder / "entry.json").stat().st_mode) == 0o600


def test_a_journal_that_cannot_be_written_raises(tmp_path):
    """The runner then claims nothing."""
    with pytest.raises(OSError, match=JOURNAL_FOLDER):
        Journal(tmp_path / "gone").write(ENTRY)


@pytest.mark.parametrize("wrong", WRONG_IDS)
def test_what_cannot_be_sent_is_not_written(tmp_path, wrong):
    """The next start would set it aside."""
    for entry in (replace(ENTRY, job_id=wrong), replace(ENTRY, runner_id=wrong)):
        with pytest.raises(OSError, match="cannot be sent"):
            Journal(tmp_path).write(entry)
    assert Journal(tmp_path).entries() == ([], [])


# --- torn and garbage ------------------------------------------------------------------------


def test_an_entry_that_is_torn_anywhere_is_set_aside(tmp_path):
    """No truncated entry is taken for a whole one."""
    journal = Journal(tmp_path)
    journal.write(ENTRY.started().ended(OUTCOME))
    path = folder_of(tmp_path) / "entry.json"
    whole = path.read_bytes()

    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        good, (aside,) = journal.entries()
        assert good == []
        assert aside.read_bytes() == whole[:length]
        aside.unlink()


def spoiled(**fields):
    """An entry's file with other fields."""
    return json.dumps({**asdict(ENTRY.started().ended(OUTCOME)), **fields}).encode()


GARBAGE = {
    "empty": b"",
    "null": b"null",
    "list": b"[]",
    "zeros": bytes(300),
    "bad UTF-8": spoiled().replace(b"Hello", b"\xff\xfe"),
    "deep": b"[" * 100_000,
    "no fields": b"{}",
    "no id": spoiled(job_id=None),
    "an empty id": spoiled(job_id=""),
    "another id": spoiled(job_id="j-2"),
    "a number as type": spoiled(job_type=5),
    "an unknown state": spoiled(state="paused"),
    "runs as text": spoiled(runs="1"),
    "done without outcome": spoiled(outcome=None),
    "an outcome of other fields": spoiled(outcome={"a": 1}),
    "an outcome that is text": spoiled(outcome="text"),
    "a result that is text": spoiled(outcome={**asdict(OUTCOME), "output_data": "x"}),
    "NaN": spoiled(outcome={**asdict(OUTCOME), "output_data": {"x": [float("nan")]}}),
    "infinity": spoiled().replace(b'"Hello"', b"1e999"),
    "a result 900 deep": spoiled().replace(b'"Hello"', b"[" * 900 + b"]" * 900),
    "an integer beyond all doubles": spoiled().replace(b'"Hello"', b"9" * 400),
    "half a pair in an id": spoiled(job_id="\ud800"),
    "a line break in a runner's id": spoiled(runner_id="a\nb"),
    "half a pair in a runner's id": spoiled(runner_id="\ud800"),
    "an escape code in a type": spoiled(job_type="\x1b[2J"),
    "half a pair in the worker's URL": spoiled(worker_url="\ud800"),
    "runs below zero": spoiled(runs=-1),
    "runs that are true": spoiled(runs=True),
    "an error that is empty": spoiled(
        outcome={**asdict(OUTCOME), "output_data": None, "error_message": ""}
    ),
    "33 MB": spoiled() + b" " * 33_000_000,
    "a console that is none": spoiled(outcome={**asdict(OUTCOME), "console_output": None}),
    "an error that is a number": spoiled(outcome={**asdict(OUTCOME), "error_message": 5}),
}


@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_set_aside_and_the_other_jobs_are_read(tmp_path, content):
    """It gets a new name in its folder, and later readings do not find it."""
    journal = Journal(tmp_path)
    journal.write(ENTRY)
    path = folder_of(tmp_path) / "entry.json"
    path.write_bytes(content)
    other = replace(ENTRY, job_id="j-9")
    journal.write(other)

    good, (aside,) = journal.entries()

    assert good == [other]
    assert aside.parent == path.parent
    assert aside.name.startswith("entry.json.corrupt-")
    assert aside.read_bytes() == content
    assert journal.entries() == ([other], [])


@settings(core_fixtures.thorough, max_examples=50)
@given(st.binary())
def test_any_bytes_are_an_entry_or_set_aside(content):
    """Reading never fails on them."""
    with tempfile.TemporaryDirectory() as directory:
        journal = Journal(Path(directory))
        journal.write(ENTRY)
        (folder_of(Path(directory)) / "entry.json").write_bytes(content)

        good, set_aside = journal.entries()

        assert (len(good), len(set_aside)) == (0, 1)


def test_a_write_that_was_cut_off_by_a_crash_leaves_the_entry_before(tmp_path):
    """The half-written new file is not taken for the entry."""
    journal = Journal(tmp_path)
    journal.write(ENTRY)
    (folder_of(tmp_path) / "entry.json.new").write_bytes(spoiled()[:50])

    assert journal.entries() == ([ENTRY], [])
    journal.write(ENTRY.started())
    assert journal.entries() == ([ENTRY.started()], [])


def test_a_folder_without_an_entry_is_nothing_and_goes(tmp_path):
    """A crash leaves one before the entry is written, or after it is removed."""
    journal = Journal(tmp_path)
    journal.write(ENTRY)
    folder = folder_of(tmp_path)
    (folder / "entry.json").unlink()
    (folder / "console.txt").touch()

    assert journal.entries() == ([], [])
    assert not folder.exists()


def test_a_directory_in_an_entrys_place_is_set_aside(tmp_path):
    """Its content is kept."""
    journal = Journal(tmp_path)
    journal.write(ENTRY)
    path = folder_of(tmp_path) / "entry.json"
    path.unlink()
    path.mkdir()

    good, (aside,) = journal.entries()

    assert good == []
    assert aside.is_dir()


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes as POSIX has them")
@pytest.mark.parametrize("where", ["journal", "folder", "entry"])
@pytest.mark.parametrize("what", ["link", "pipe", "file", "device"])
def test_odd_things_are_set_aside_and_what_they_lead_to_stays(tmp_path, where, what):
    """A job may have planted them anywhere in the journal."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    Journal(elsewhere).write(ENTRY)
    (elsewhere / JOURNAL_FOLDER / "precious").mkdir()  # as a folder without an entry, it would go
    root = tmp_path / "runner" / JOURNAL_FOLDER
    path, target = {
        "journal": (root, elsewhere / JOURNAL_FOLDER),
        "folder": (root / "j-1", elsewhere / JOURNAL_FOLDER / "j-1"),
        "entry": (root / "j-1" / "entry.json", elsewhere / JOURNAL_FOLDER / "j-1" / "entry.json"),
    }[where]
    path.parent.mkdir(parents=True)
    {
        "link": lambda: path.symlink_to(target),
        "pipe": lambda: os.mkfifo(path),
        "file": path.touch,
        "device": lambda: path.symlink_to("/dev/zero"),
    }[what]()
    journal = Journal(tmp_path / "runner")

    assert owed_jobs(tmp_path / "runner") == [] or (where, what) == ("journal", "link")
    good, (aside,) = journal.entries()

    assert good == []
    assert aside.name.startswith(f"{path.name}.corrupt-")
    journal.write(ENTRY.started())
    assert journal.entries() == ([ENTRY.started()], [])
    journal.remove("j-1")
    assert (elsewhere / JOURNAL_FOLDER / "precious").is_dir()
    assert Journal(elsewhere).entries()[0] == [ENTRY]


@pytest.mark.skipif(sys.platform == "win32", reason="links as POSIX has them")
@pytest.mark.parametrize("name", ["entry.json", "entry.json.new", "console.txt"])
def test_writing_follows_no_link(tmp_path, name):
    """A job may plant one while it runs. What it leads to stays as it is, under any name."""
    journal = Journal(tmp_path)
    journal.write(ENTRY)
    for link in (os.symlink, os.link):
        (tmp_path / "other").write_text("precious")
        path = folder_of(tmp_path) / name
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        link(tmp_path / "other", path)
        console = Console()
        console.keep_in(journal.console_path("j-1"))
        console.write(b"printed\n")
        console.end()
        journal.write(ENTRY.started())

        assert (tmp_path / "other").read_text() == "precious"
        assert journal.kept_console("j-1") == "printed\n"
        assert journal.entries() == ([ENTRY.started()], [])


@pytest.mark.skipif(sys.platform == "win32", reason="pipes as POSIX has them")
def test_a_console_that_is_a_pipe_or_too_long_is_left_out(tmp_path):
    """Neither blocks the start nor fills the memory."""
    journal = Journal(tmp_path)
    journal.write(ENTRY.started())
    os.mkfifo(journal.console_path("j-1"))
    assert journal.kept_console("j-1") == ""

    journal.console_path("j-1").unlink()
    with journal.console_path("j-1").open("wb") as file:
        file.truncate(10**12)
    assert journal.kept_console("j-1") == ""


# --- the console -----------------------------------------------------------------------------


def test_the_console_of_an_earlier_run_is_read(tmp_path):
    """Bytes that are not UTF-8 are replaced. Without a file the console is empty."""
    journal = Journal(tmp_path)
    journal.write(ENTRY)
    assert journal.kept_console("j-1") == ""

    journal.console_path("j-1").write_bytes(b"last words \xff")

    assert journal.kept_console("j-1") == "last words \ufffd"


# --- from one state to the next --------------------------------------------------------------


def test_an_entry_goes_from_claiming_over_running_to_done():
    """Each start counts as a run, and removes an outcome."""
    claiming = ENTRY
    running = claiming.started()
    done = running.ended(OUTCOME)
    again = done.started()

    assert (claiming.state, claiming.runs, claiming.outcome) == (CLAIMING, 0, None)
    assert (running.state, running.runs, running.outcome) == (RUNNING, 1, None)
    assert (done.state, done.runs, done.outcome) == (DONE, 1, OUTCOME)
    assert (again.state, again.runs, again.outcome) == (RUNNING, 2, None)


class JournalMachine(RuleBasedStateMachine):
    """Compares the journal on disk with a dict, over any order of steps and restarts."""

    def __init__(self):
        super().__init__()
        self._directory = tempfile.TemporaryDirectory()
        self._journal = Journal(Path(self._directory.name))
        self._expected = {}

    @rule(job_id=st.sampled_from(NASTY_IDS))
    def claim(self, job_id):
        """Write a job's entry before its claim."""
        self._put(replace(ENTRY, job_id=job_id))

    @rule(job_id=st.sampled_from(NASTY_IDS))
    def start(self, job_id):
        """Start a run of a job that is there."""
        if job_id in self._expected:
            self._put(self._expected[job_id].started())

    @rule(job_id=st.sampled_from(NASTY_IDS), outcome=OUTCOMES)
    def end(self, job_id, outcome):
        """End a job that is there."""
        if job_id in self._expected:
            self._put(self._expected[job_id].ended(outcome))

    @rule(job_id=st.sampled_from(NASTY_IDS))
    def remove(self, job_id):
        """Remove a job, whether or not it is there."""
        self._journal.remove(job_id)
        self._expected.pop(job_id, None)

    @rule()
    def restart(self):
        """Open the journal again, as after a restart."""
        self._journal = Journal(Path(self._directory.name))

    @invariant()
    def is_as_expected(self):
        """Compare the journal with the dict."""
        good, set_aside = self._journal.entries()
        assert set_aside == []
        assert {entry.job_id: entry for entry in good} == self._expected

    def teardown(self):
        """Remove the directory."""
        self._directory.cleanup()

    def _put(self, entry):
        self._journal.write(entry)
        self._expected[entry.job_id] = entry


TestJournalMachine = JournalMachine.TestCase
TestJournalMachine.settings = settings(deadline=None, max_examples=20, stateful_step_count=15)


# --- too long, and not to be read ------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="names as POSIX has them")
@pytest.mark.parametrize("name", ["x" * 255, "é" * 127])
def test_a_file_with_the_longest_name_is_set_aside(tmp_path, name):
    """Its name has no room for an addition; the other jobs are read all the same."""
    journal = Journal(tmp_path)
    journal.write(ENTRY)
    (tmp_path / JOURNAL_FOLDER / name).touch()

    good, (aside,) = journal.entries()

    assert good == [ENTRY]
    assert aside.exists()


def test_an_outcome_that_is_too_big_becomes_an_error_that_is_kept(tmp_path):
    """Reading would set it aside, and the job would never be reported."""
    journal, big = Journal(tmp_path), JobOutcome({"a": "x" * 33_000_000}, None, "console")
    with pytest.raises(OSError, match="longer than"):
        journal.write(ENTRY.started().ended(big))

    entry = journal.note_outcome(ENTRY.started(), keepable(big))

    assert entry.outcome.error_message.endswith("too big to be kept")
    assert journal.entries() == ([entry], [])
