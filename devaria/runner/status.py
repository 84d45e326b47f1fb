"""What a runner is doing, in a small file beside its log, for `devaria status` and monitoring."""

import atexit
import contextlib
import json
import os
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Dict, Optional

from devaria.common.files import LOCK_FILE, write_atomically

STATUS_FILE = ".devaria_status.json"

#: The file is replaced at most this often, in seconds; what changes meanwhile is in the next one.
MIN_GAP_SEC = 5.0

#: A runner that has had no good answer of its worker for so long is not healthy, in seconds.
SILENT_SEC = 300.0

#: How long the end of the process waits for the last writing, in seconds.
_LAST_WRITE_SEC = 1.0


@dataclass(frozen=True)
class RunnerStatus:
    """A moment in a runner's life. Times are seconds since 1970 on the machine's clock.

    Args:
        pid: The runner's process id.
        started_at: When it started.
        worker_url: The worker that it works for.
        runner_id: Its id there; empty before it has one.
        runner_name: Its name there.
        last_contact_at: When the worker last gave a good answer, to a poll, heartbeat or report.
        job_id: The job in hand, or None.
        job_type: Its type.
        job_started_at: When it was started.
        progress_current: How much of it is done, or None.
        progress_total: How much there is to do, or None.
        owes_report: Whether the job in hand has ended, and the worker does not know it yet.
        jobs_completed: How many jobs were reported as completed since the start.
        jobs_failed: How many were reported as failed.
        updated_at: When this was written.
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
        """Read the file.

        Args:
            directory: The runner's directory.

        Returns:
            What it says; None where there is none, or it cannot be understood.
        """
        try:
            content: Dict[str, Any] = json.loads((directory / STATUS_FILE).read_bytes())
            status = cls(**content)
        except (OSError, ValueError, TypeError):
            return None
        times = (status.started_at, status.last_contact_at, status.job_started_at)
        return status if all(isinstance(each, (int, float, type(None))) for each in times) else None


def unreadable_file(directory: Path) -> Optional[Path]:
    """Name what keeps this user from telling how a runner is; None where nothing does.

    Args:
        directory: The runner's directory.
    """
    wanted = {directory: os.X_OK, directory / STATUS_FILE: os.R_OK}
    # A lock can be asked after only by who may hold it.
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
    """Keeps the file up to date; for several threads.

    The first state is written before the constructor returns, so that what an earlier runner left
    is not taken for this one's; the last one when the process ends, at the latest.

    Args:
        directory: The runner's directory.
        status: What holds at the start.
        min_gap_sec: The file is replaced at most this often, in seconds.
    """

    def __init__(
        self, directory: Path, status: RunnerStatus, *, min_gap_sec: float = MIN_GAP_SEC
    ) -> None:
        self._path = directory / STATUS_FILE
        self._status = status
        self._min_gap_sec = min_gap_sec
        self._changed = threading.Condition()
        self._has_news = False
        self._is_closed = False
        self._write()
        self._thread = threading.Thread(target=self._keep_writing, name="status", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def note_contact(self) -> None:
        """Note that the worker has just given a good answer."""
        self.update(last_contact_at=time.time())

    def note_progress(self, current: Optional[float], total: Optional[float]) -> None:
        """Note how far the job in hand is.

        Args:
            current: How much is done, or None.
            total: How much there is to do, or None.
        """
        self.update(progress_current=current, progress_total=total)

    def note_job(self, job_id: str, job_type: str) -> None:
        """Note that a job was started.

        Args:
            job_id: The job.
            job_type: Its type.
        """
        self.update(
            job_id=job_id,
            job_type=job_type,
            job_started_at=time.time(),
            progress_current=None,
            progress_total=None,
            owes_report=False,
        )

    def note_end(self, succeeded: Optional[bool]) -> None:
        """Note that the job in hand is done with.

        Args:
            succeeded: How it was reported; None where it was not this runner's any more.
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
        """Take changes; they are in the file within 5 s.

        Args:
            changes: Fields of `RunnerStatus`.
        """
        with self._changed:
            self._status = replace(self._status, **changes)
            self._has_news = True
            self._changed.notify()

    def close(self) -> None:
        """Write what is not written yet, and end."""
        atexit.unregister(self.close)
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join(_LAST_WRITE_SEC)

    def _keep_writing(self) -> None:
        # In a thread of its own, so that a disk that hangs stops neither heartbeats nor the loop.
        written_at = time.monotonic()
        while self._is_due(written_at):
            self._write()
            written_at = time.monotonic()

    def _is_due(self, written_at: float) -> bool:
        """Sleep until there is something to write and it may be; False where that is the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._has_news or self._is_closed)
            while not self._is_closed:
                left = written_at + self._min_gap_sec - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            return self._has_news

    def _write(self) -> None:
        with self._changed:
            self._has_news = False
            status = replace(self._status, updated_at=time.time())
        # A status that cannot be written is no reason to do anything else.
        with contextlib.suppress(OSError):
            write_atomically(self._path, json.dumps(asdict(status)).encode("ascii"))
