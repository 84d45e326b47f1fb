"""What the doctor is given and what he finds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Mapping, Sequence

from devaria.common.config import RUNNER_KEY_VARIABLE
from devaria.jobs.loading import FoundHandler

OK, WARNING, FAILURE = "ok", "warning", "failure"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Args:
        name: What.
        state: `OK`, `WARNING` (a runner works, with less) or `FAILURE` (it does not).
        found: What was found.
        advice: What to do about it; empty where all is well.
    """

    name: str
    state: str
    found: str
    advice: str = ""


@dataclass(frozen=True)
class Patient:
    """What is looked at.

    Args:
        worker_url: The worker's URL, as the operator gave it.
        insecure: Whether plain http to another machine is accepted.
        directory: The runner's directory; it need not be there yet.
        environ: The environment.
        handlers: The job types that were found, by name.
        job_types: The job types that the operator wants; empty for all.
    """

    worker_url: str
    insecure: bool
    directory: Path
    environ: Mapping[str, str]
    handlers: Mapping[str, FoundHandler]
    job_types: Sequence[str] = ()

    @property
    def key(self) -> str:
        """The runner key; empty where there is none that could be one."""
        key = self.environ.get(RUNNER_KEY_VARIABLE, "").strip()
        return key if key.isascii() and key.isprintable() else ""

    @property
    def wanted(self) -> Sequence[str]:
        """The job types that such a runner would offer if it could."""
        return self.job_types or tuple(self.handlers)
