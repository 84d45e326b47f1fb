"""The journal on disk: every job from before its claim until its outcome is acknowledged.

`.devaria_jobs/` holds a folder for each job, with `entry.json` and, while the job runs,
`console.txt`. An entry is replaced as a whole (write, fsync, rename). After a crash or a power cut
it is either the old one or the new one.
"""

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import sys
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import List, Optional, Tuple

from devaria.common.errors import BadSetting
from devaria.common.files import set_aside, write_atomically
from devaria.execution.outcome import JobOutcome

JOURNAL_FOLDER = ".devaria_jobs"

_log = logging.getLogger(__name__)

#: A claim may be on its way, or its answer may be lost.
CLAIMING = "claiming"
#: The job is this runner's, and runs or ran.
RUNNING = "running"
#: The job has an outcome, which is not acknowledged yet.
DONE = "done"

ENTRY_FILE = "entry.json"
_CONSOLE_FILE = "console.txt"
_SAFE_NAME = re.compile(r"[0-9A-Za-z_-]{1,64}")


@dataclass(frozen=True)
class JournalEntry:
    """One job in the journal.

    The job's parameters are not kept here: they may hold a stranger's secrets, such as a signed
    URL, and the worker keeps them.

    Args:
        job_id: The worker's id of the job.
        job_type: The job type.
        worker_url: The worker that the job belongs to.
        runner_id: The runner id that the job is, or may be, claimed under.
        state: `CLAIMING`, `RUNNING` or `DONE`.
        runs: How often the job was started.
        outcome: How the job ended, in state `DONE`.
    """

    job_id: str
    job_type: str
    worker_url: str
    runner_id: str
    state: str = CLAIMING
    runs: int = 0
    outcome: Optional[JobOutcome] = None

    def started(self) -> "JournalEntry":
        """Return the entry of the same job at the start of its next run."""
        return replace(self, state=RUNNING, runs=self.runs + 1, outcome=None)

    def ended(self, outcome: JobOutcome) -> "JournalEntry":
        """Return the entry of the same job with its outcome."""
        return replace(self, state=DONE, outcome=outcome)


class Journal:
    """The entries in one runner's directory, for the one process that holds its lock.

    Args:
        directory: The runner's directory.
    """

    def __init__(self, directory: Path) -> None:
        self._root = directory / JOURNAL_FOLDER

    def write(self, entry: JournalEntry) -> None:
        """Write an entry, in place of an earlier one of the same job.

        Raises:
            OSError: It cannot be written; an earlier one stays.
        """
        folder = self._folder(entry.job_id)
        for each in (self._root, folder):
            each.mkdir(mode=0o700, exist_ok=True)
        data = json.dumps(asdict(entry)).encode("ascii")
        write_atomically(folder / ENTRY_FILE, data)
        _sync_folder(folder)
        if entry.state == CLAIMING:  # the folder is new
            _sync_folder(self._root)

    def note_run(self, entry: JournalEntry) -> JournalEntry:
        """Write down that a job is started once more, and return its new entry."""
        return self.keep(entry.started())

    def note_outcome(self, entry: JournalEntry, outcome: JobOutcome) -> JournalEntry:
        """Write down how a job ended, and return its new entry."""
        return self.keep(entry.ended(outcome))

    def keep(self, entry: JournalEntry) -> JournalEntry:
        """Write an entry and return it. If it cannot be written, log that; the job goes on."""
        try:
            self.write(entry)
        except OSError as error:
            _log.error("cannot write job %s into the journal: %s", entry.job_id, error)
        return entry

    def remove(self, job_id: str) -> None:
        """Remove the entry of a job, if there is one."""
        folder = self._folder(job_id)
        # The entry goes first: a folder without one is ignored, whatever else is left in it.
        with contextlib.suppress(OSError):
            (folder / ENTRY_FILE).unlink()
        shutil.rmtree(folder, ignore_errors=True)

    def console_path(self, job_id: str) -> Path:
        """Return the file for the console of a job in the journal."""
        return self._folder(job_id) / _CONSOLE_FILE

    def kept_console(self, job_id: str) -> str:
        """Return what a job printed in an earlier run of the runner, if anything was kept."""
        try:
            return self.console_path(job_id).read_bytes().decode("utf-8", "replace")
        except OSError:
            return ""

    def entries(self) -> Tuple[List[JournalEntry], List[Path]]:
        """Read the whole journal.

        Returns:
            The entries, those with an outcome first; and the new paths of corrupt entry files,
            which were set aside.

        Raises:
            BadSetting: The journal cannot be read.
        """
        try:
            return self._read_all()
        except OSError as error:
            raise BadSetting(
                f"cannot read the journal in {self._root}: {error.strerror}; "
                "correct its permissions"
            ) from None

    def _read_all(self) -> Tuple[List[JournalEntry], List[Path]]:
        good: List[JournalEntry] = []
        corrupt: List[Path] = []
        for folder in sorted(self._root.glob("*/")):
            path = folder / ENTRY_FILE
            if not path.exists():
                _sweep(folder)
                continue
            entry = _read(path)
            if entry is not None and self._folder(entry.job_id) == folder:
                good.append(entry)
                continue
            corrupt.append(set_aside(path))
        return sorted(good, key=lambda entry: entry.state != DONE), corrupt

    def _folder(self, job_id: str) -> Path:
        # The worker chose the job id: a name like "..", or one that is too long, must do no harm.
        if _SAFE_NAME.fullmatch(job_id):
            return self._root / job_id
        return self._root / hashlib.sha256(job_id.encode("utf-8", "surrogatepass")).hexdigest()


def _sweep(folder: Path) -> None:
    """Remove the folder of a job whose entry is not written yet, or removed already."""
    if not any(folder.glob(f"{ENTRY_FILE}.corrupt-*")):
        shutil.rmtree(folder, ignore_errors=True)


def _read(path: Path) -> Optional[JournalEntry]:
    try:
        return _parsed(path.read_bytes())
    except IsADirectoryError:
        return None


def _parsed(data: bytes) -> Optional[JournalEntry]:
    try:
        content = json.loads(data)
        outcome = content["outcome"]
        # Another version may have written more fields.
        known = {
            each.name: content[each.name] for each in fields(JournalEntry) if each.name in content
        }
        entry = JournalEntry(**{**known, "outcome": JobOutcome(**outcome) if outcome else None})
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return entry if _is_sound(entry) else None


def _is_sound(entry: JournalEntry) -> bool:
    texts = (entry.job_id, entry.job_type, entry.worker_url, entry.runner_id)
    if not all(isinstance(text, str) and text for text in texts):
        return False
    if not isinstance(entry.runs, int):
        return False
    return entry.state in (CLAIMING, RUNNING) or (entry.state == DONE and _has_outcome(entry))


def _has_outcome(entry: JournalEntry) -> bool:
    outcome = entry.outcome
    return (
        outcome is not None
        and isinstance(outcome.console_output, str)
        and isinstance(outcome.error_message, (str, type(None)))
        and isinstance(outcome.output_data, (dict, type(None)))
        and (outcome.error_message is None) != (outcome.output_data is None)
    )


def _sync_folder(folder: Path) -> None:
    """Make a rename in a folder durable. Windows has no such call, and needs none."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class OwedJob:
    """A job in a runner's journal: the worker does not know how it ended yet.

    Args:
        job_id: The worker's id of the job.
        job_type: The job type.
        state: `claiming`, `running`, or `done` if only the report is owed.
        worker_url: The worker that has the job.
    """

    job_id: str
    job_type: str
    state: str
    worker_url: str

    @property
    def meaning(self) -> str:
        """The state of the job, and what the next start does about it, in words."""
        return _MEANINGS.get(self.state, self.state)


_MEANINGS = {
    CLAIMING: "perhaps claimed; the next start asks the worker",
    RUNNING: "left in the middle; the next start runs it again",
    DONE: "ended; its report is owed",
}


def owed_jobs(directory: Path) -> List[OwedJob]:
    """List the jobs in the journal of a runner's directory, and change nothing there.

    The journal may belong to a runner that is running. Entries that cannot be understood are left
    out.
    """
    owed = []
    for path in sorted((directory / JOURNAL_FOLDER).glob(f"*/{ENTRY_FILE}")):
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            entry = json.loads(path.read_bytes())
            owed.append(OwedJob(**{each.name: str(entry[each.name]) for each in fields(OwedJob)}))
    return owed
