"""The input of the doctor's checks, and their result."""

from dataclasses import dataclass
from pathlib import Path
from typing import Mapping, Sequence

from devaria.common.config import RUNNER_KEY_VARIABLE
from devaria.jobs.loading import FoundHandler

OK, WARNING, FAILURE = "ok", "warning", "failure"


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Args:
        name: What was checked.
        state: `OK`, `WARNING` (a runner works, but not with everything) or `FAILURE` (it does
            not work).
        found: What was found.
        advice: What to do about it; empty if there is nothing to do.
    """

    name: str
    state: str
    found: str
    advice: str = ""


@dataclass(frozen=True)
class CheckContext:
    """The settings that a runner would be started with.

    Args:
        worker_url: The worker's URL, as the operator gave it.
        insecure: Whether plain http to another machine is accepted.
        directory: The runner's directory; it need not exist yet.
        environ: The environment variables.
        handlers: The job types that were found, by name.
        job_types: The job types that the operator asks for; empty for all.
    """

    worker_url: str
    insecure: bool
    directory: Path
    environ: Mapping[str, str]
    handlers: Mapping[str, FoundHandler]
    job_types: Sequence[str] = ()

    @property
    def key(self) -> str:
        """The runner key; empty if it is not set or cannot be sent in a header."""
        key = self.environ.get(RUNNER_KEY_VARIABLE, "").strip()
        return key if key.isascii() and key.isprintable() else ""

    @property
    def wanted(self) -> Sequence[str]:
        """The job types that the runner is to offer, whether or not they can run here."""
        return self.job_types or tuple(self.handlers)
