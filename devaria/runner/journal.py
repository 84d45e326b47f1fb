"""The journal on disk: every job from before its claim until its outcome is acknowledged.

`.devaria_jobs/` holds a folder for each job, with `entry.json` and, while the job runs,
`console.txt`. An entry is replaced as a whole (write, fsync, rename). After a crash or a power cut
it is either the old one or the new one. Jobs may write there too, so nothing is trusted that is
read: what no runner would write, or no worker would take, is set aside.
"""

import contextlib
import errno
import hashlib
import json
import logging
import os
import re
import stat
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import List, Optional, Tuple

from devaria.common.errors import BadSetting, out_of_resources
from devaria.common.files import read_regular, set_aside, sync_folder, write_atomically
from devaria.common.folders import is_folder, remove_folder
from devaria.common.sendable import is_id, is_text
from devaria.execution.outcome import JobOutcome
from devaria.execution.result import NotJsonError, json_ready

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
#: In the names of what was set aside. No job's folder has it in its name.
_CORRUPT = ".corrupt-"
#: The longest entry: two consoles and a result, each character written as an escape.
_MAX_ENTRY_BYTES = 32_000_000
_MAX_CONSOLE_BYTES = 8_000_000


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
            OSError: It cannot be written, or no worker would take it; an earlier one stays.
        """
        if not _is_sound(entry):
            raise OSError(errno.EINVAL, "its id or its outcome cannot be sent")
        folder = self._folder(entry.job_id)
        for each in (self._root, folder):
            _make_folder(each)
        data = json.dumps(asdict(entry)).encode("ascii")
        if len(data) > _MAX_ENTRY_BYTES:
            raise OSError(errno.EFBIG, f"longer than {_MAX_ENTRY_BYTES:,} bytes")
        write_atomically(folder / ENTRY_FILE, data)
        sync_folder(folder)
        if entry.state == CLAIMING:  # the folder is new
            sync_folder(self._root)

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
        remove_folder(folder)

    def console_path(self, job_id: str) -> Path:
        """Return the file for the console of a job in the journal."""
        return self._folder(job_id) / _CONSOLE_FILE

    def kept_console(self, job_id: str) -> str:
        """Return what a job printed in an earlier run of the runner, if anything was kept."""
        try:
            data = read_regular(self.console_path(job_id), _MAX_CONSOLE_BYTES)
            return data.decode("utf-8", "replace")
        except OSError:
            return ""

    def entries(self) -> Tuple[List[JournalEntry], List[Path]]:
        """Read the whole journal.

        Returns:
            The entries, those with an outcome first; and the new paths of what was set aside.

        Raises:
            BadSetting: The journal cannot be read.
        """
        try:
            return self._read_all()
        except OSError as error:
            if out_of_resources(error):
                raise
            raise BadSetting(
                f"cannot read the journal in {self._root}: {error.strerror}; "
                "correct its permissions"
            ) from None

    def _read_all(self) -> Tuple[List[JournalEntry], List[Path]]:
        good: List[JournalEntry] = []
        aside: List[Path] = []
        if os.path.lexists(self._root):
            aside += _make_folder(self._root)
        for folder, is_right in found_in(self._root):
            try:
                self._read_one(folder, is_right, good, aside)
            except OSError as error:
                if out_of_resources(error):
                    raise
                _log.error("cannot read %s in the journal: %s", folder.name, error.strerror)
        return sorted(good, key=lambda entry: entry.state != DONE), aside

    def _read_one(
        self, folder: Path, is_right: bool, good: List[JournalEntry], aside: List[Path]
    ) -> None:
        if not is_right:
            aside.append(set_aside(folder))
            return
        _make_folder(folder)
        path = folder / ENTRY_FILE
        if not os.path.lexists(path):
            _sweep(folder)
            return
        entry = read_entry(path)
        if entry is not None and self._folder(entry.job_id) == folder:
            good.append(entry)
        else:
            aside.append(set_aside(path))

    def _folder(self, job_id: str) -> Path:
        # The worker chose the job id: a name like "..", or one that is too long, must do no harm.
        if _SAFE_NAME.fullmatch(job_id):
            return self._root / job_id
        return self._root / hashlib.sha256(job_id.encode("utf-8", "surrogatepass")).hexdigest()


def _make_folder(path: Path) -> List[Path]:
    """Make a folder, or take all rights in it. Return the new path of what had its name, if any."""
    aside = []
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        found = path.lstat()
        if is_folder(found):
            if found.st_mode & stat.S_IRWXU != stat.S_IRWXU:
                path.chmod(stat.S_IRWXU)  # it is this runner's: a job has taken them away
            return []
        aside = [set_aside(path)]
        _log.warning("%s was no folder; it is set aside as %s", path.name, aside[0].name)
        path.mkdir(mode=0o700)
    return aside


def found_in(root: Path) -> List[Tuple[Path, bool]]:
    """List what stands in the journal, and whether it is a folder; not what was set aside."""
    try:
        paths = sorted(root.iterdir())
    except FileNotFoundError:
        return []
    found = []
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # the runner has just removed it
            if _CORRUPT not in path.name:
                found.append((path, is_folder(path.lstat())))
    return found


def _sweep(folder: Path) -> None:
    """Remove the folder of a job whose entry is not written yet, or removed already."""
    if not any(each.name.startswith(ENTRY_FILE + _CORRUPT) for each in folder.iterdir()):
        remove_folder(folder)


def read_entry(path: Path) -> Optional[JournalEntry]:
    """Read an entry's file; return None for what no runner has written, or no worker would take.

    Raises:
        OSError: The system has run out of open files or memory.
    """
    try:
        return _parsed(read_regular(path, _MAX_ENTRY_BYTES))
    except OSError as error:
        if out_of_resources(error):
            raise
        return None  # a folder, a link, a pipe, too long, or not to be read


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
    """Return whether a runner may have written an entry, and the worker can be told all of it."""
    if not all(map(is_text, (entry.job_id, entry.job_type, entry.worker_url))):
        return False
    if not is_id(entry.runner_id) or type(entry.runs) is not int or entry.runs < 0:
        return False
    return entry.state in (CLAIMING, RUNNING) or (entry.state == DONE and _has_outcome(entry))


def _has_outcome(entry: JournalEntry) -> bool:
    outcome = entry.outcome
    return (
        outcome is not None
        and isinstance(outcome.console_output, str)
        and (outcome.error_message is None) != (outcome.output_data is None)
        and (outcome.error_message is None or _is_message(outcome.error_message))
        and (outcome.output_data is None or _is_output(outcome.output_data))
    )


def _is_message(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_output(value: object) -> bool:
    try:
        return isinstance(value, dict) and json_ready(value) is not None
    except NotJsonError:
        return False
