"""What a runner owes its worker, read from its journal without touching that."""

import contextlib
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import List

from devaria.journal import CLAIMING, DONE, ENTRY_FILE, JOURNAL_FOLDER, RUNNING


@dataclass(frozen=True)
class OwedJob:
    """A job that stands in a runner's journal: the worker does not know its end yet.

    Args:
        job_id: The job.
        job_type: Its type.
        state: `claiming`, `running`, or `done`, where only the report is owed.
        worker_url: The worker that has it.
    """

    job_id: str
    job_type: str
    state: str
    worker_url: str

    @property
    def meaning(self) -> str:
        """What will become of it, in words."""
        return _MEANINGS.get(self.state, self.state)


_MEANINGS = {
    CLAIMING: "perhaps claimed; the next start asks whose it is",
    RUNNING: "left in the middle; the next start runs it again",
    DONE: "ended; its report is owed",
}


def owed_jobs(directory: Path) -> List[OwedJob]:
    """Read what the journal holds, and leave it alone: it may be a running runner's.

    Args:
        directory: The runner's directory.

    Returns:
        The jobs; entries that cannot be understood are left out.
    """
    owed = []
    for path in sorted((directory / JOURNAL_FOLDER).glob(f"*/{ENTRY_FILE}")):
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            entry = json.loads(path.read_bytes())
            owed.append(OwedJob(**{each.name: str(entry[each.name]) for each in fields(OwedJob)}))
    return owed
