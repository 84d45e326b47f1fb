"""The status file: what a runner is doing, for `devaria status` and for monitoring."""

import atexit
import contextlib
import json
import os
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Dict, List, Optional

from devaria.common.files import LOCK_FILE, read_regular, write_atomically
from devaria.common.sendable import is_number
from devaria.runner.journal import (
    CLAIMING,
    DONE,
    ENTRY_FILE,
    JOURNAL_FOLDER,
    RUNNING,
    found_in,
    read_entry,
)

STATUS_FILE = ".devaria_status.json"
_MAX_STATUS_BYTES = 100_000

#: A runner is not healthy when its worker gave no good answer for this long, in seconds.
SILENT_SEC = 300.0


@dataclass(frozen=True)
class RunnerStatus:
    """The state of a runner at one moment. Times are seconds since 1970 on the machine's clock.

    Args:
        pid: The runner's process id.
        started_at: When it started.
        worker_url: The worker that it works for.
        runner_id: Its id there; empty before it has one.
        runner_name: Its name there.
        last_contact_at: When the worker last gave a good answer, to a poll, heartbeat or report.
        job_id: The job in hand, or None.
        job_type: The type of the job in hand.
        job_started_at: When the job in hand was started.
        progress_current: How much of it is done, or None.
        progress_total: How much there is to do, or None.
        owes_report: Whether the job in hand has ended, and the worker does not know it yet.
        jobs_completed: How many jobs were reported as completed since the start.
        jobs_failed: How many jobs were reported as failed since the start.
        updated_at: When the file was written.
    """

    pid: int
    started_at: float
    worker_url: str
    runner_id: str = ""
    runner_name: str = ""
    last_contact_at: Optional[float] = None
    job_id: Optional[str] = None
    job_type: Optional[str] = None
    job_started_at: Optional[float] = None
    progress_current: Optional[float] = None
    progress_total: Optional[float] = None
    owes_report: bool = False
    jobs_completed: int = 0
    jobs_failed: int = 0
    updated_at: float = 0.0

    @property
    def is_in_contact(self) -> bool:
        """Whether the worker gave a good answer within the last 5 minutes."""
        since = self.last_contact_at or self.started_at
        return time.time() - since <= SILENT_SEC

    @classmethod
    def load(cls, directory: Path) -> Optional["RunnerStatus"]:
        """Read the status file in a runner's directory.

        Returns:
            The status; None if there is no file, or it cannot be understood.
        """
        try:
            data = read_regular(directory / STATUS_FILE, _MAX_STATUS_BYTES)
            content: Dict[str, Any] = json.loads(data)
            status = cls(**content)
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        return status if status._is_sound else None

    @property
    def _is_sound(self) -> bool:
        """Whether each field is of its type, as it is unless somebody else wrote the file."""
        values = asdict(self)
        maybe = ("last_contact_at", "job_started_at", "progress_current", "progress_total")
        numbers = ("pid", "started_at", "jobs_completed", "jobs_failed", "updated_at")
        return (
            all(is_number(values[name]) for name in numbers)
            and all(values[name] is None or is_number(values[name]) for name in maybe)
            and all(isinstance(values[name], str) for name in _TEXTS)
            and all(values[name] is None or isinstance(values[name], str) for name in _MAYBE_TEXTS)
            and isinstance(self.owes_report, bool)
        )


_TEXTS = ("worker_url", "runner_id", "runner_name")
_MAYBE_TEXTS = ("job_id", "job_type")


def unreadable_file(directory: Path) -> Optional[Path]:
    """Return a file that `devaria status` needs and this user cannot use, or None."""
    wanted = {directory: os.X_OK, directory / STATUS_FILE: os.R_OK}
    # Checking whether the lock is held requires the permission to take it.
    wanted[directory / LOCK_FILE] = os.R_OK | os.W_OK
    for path, access in wanted.items():
        try:
            path.stat()
        except OSError as error:
            if isinstance(error, PermissionError):
                return path
            continue
        if not os.access(path, access):
            return path
    return None


class StatusFile:
    """Keeps the status file up to date.

    Any thread may change the status; the main thread writes it, every few seconds. The
    constructor writes the first state, so that the file never shows an earlier runner's.

    Args:
        directory: The runner's directory.
        status: The state at the start.
    """

    def __init__(self, directory: Path, status: RunnerStatus) -> None:
        self._path = directory / STATUS_FILE
        self._status = status
        self._lock = threading.Lock()
        #: When the worker last gave a good answer, in seconds since 1970. Any thread may set it.
        self.last_contact_at: Optional[float] = status.last_contact_at
        self._written: Optional[RunnerStatus] = None
        self.write()
        atexit.register(self.close)

    @property
    def jobs_done(self) -> int:
        """How many jobs were reported since the start."""
        return self._status.jobs_completed + self._status.jobs_failed

    def note_progress(self, current: Optional[float], total: Optional[float]) -> None:
        """Note how far the job in hand is.

        Args:
            current: How much is done, or None.
            total: How much there is to do, or None.
        """
        self.update(progress_current=current, progress_total=total)

    def note_job(self, job_id: str, job_type: str) -> None:
        """Note that a job was started."""
        self.update(
            job_id=job_id,
            job_type=job_type,
            job_started_at=time.time(),
            progress_current=None,
            progress_total=None,
            owes_report=False,
        )

    def note_end(self, succeeded: Optional[bool]) -> None:
        """Note that the runner is done with the job in hand.

        Args:
            succeeded: How it was reported; None if it was not this runner's any more.
        """
        self.update(
            job_id=None,
            job_type=None,
            job_started_at=None,
            owes_report=False,
            jobs_completed=self._status.jobs_completed + (succeeded is True),
            jobs_failed=self._status.jobs_failed + (succeeded is False),
        )

    def update(self, **changes: Any) -> None:
        """Change fields of the `RunnerStatus`."""
        with self._lock:
            self._status = replace(self._status, **changes)

    def write(self) -> None:
        """Write the file if the status has changed since the last time."""
        status = replace(self._status, last_contact_at=self.last_contact_at)
        if status == self._written:
            return
        self._written = status
        stamped = replace(status, updated_at=time.time())
        # The runner goes on if the file cannot be written, also for want of memory.
        with contextlib.suppress(OSError, MemoryError):
            write_atomically(self._path, json.dumps(asdict(stamped)).encode("ascii"))

    def close(self) -> None:
        """Write the last state."""
        atexit.unregister(self.close)
        self.write()


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
    with contextlib.suppress(OSError):
        folders = [path for path, is_right in found_in(directory / JOURNAL_FOLDER) if is_right]
        entries = [read_entry(folder / ENTRY_FILE) for folder in folders]
        return [
            OwedJob(entry.job_id, entry.job_type, entry.state, entry.worker_url)
            for entry in entries
            if entry is not None
        ]
    return []
