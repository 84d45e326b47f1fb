"""Runs a handler on this machine with no worker and no key: `devaria run`."""

import contextlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Sequence

from devaria.client.models import Job
from devaria.execution.limits import JobLimits
from devaria.execution.outcome import JobOutcome
from devaria.execution.process import JobProcess
from devaria.execution.result import ready_result
from devaria.execution.signals import StopRequest, Wakeup
from devaria.jobs.loading import handler_for

#: Called with the newest progress_current and progress_total.
ShowProgress = Callable[[Optional[float], Optional[float]], None]


def run_in_job_process(
    job: Job,
    *,
    handlers: Sequence[str],
    limits: JobLimits,
    show_progress: ShowProgress,
    show_console: Callable[[bytes], None],
) -> JobOutcome:
    """Run a job as a runner would, in a process of its own; the first SIGINT or SIGTERM ends it.

    Args:
        job: The job; its id is not used.
        handlers: Handlers beside the installed ones, as `devaria.jobs.loading` takes them.
        limits: What the job may use.
        show_progress: Is given the job's progress, from another thread.
        show_console: Is given what the job prints, cut anywhere, from another thread.

    Returns:
        How it ended.

    Raises:
        OSError: The job process cannot be started.
        HandlerUnavailableError: The handler cannot be loaded.
    """
    wakeup = Wakeup()
    stop = StopRequest(wakeup)
    stop.listen()
    process = JobProcess(wakeup, os.environ, handlers)
    process.console.echo_to(show_console)

    def on_progress(current: Optional[float], total: Optional[float], _: Optional[str]) -> None:
        show_progress(current, total)

    def why_stop() -> Optional[str]:
        return f"it was stopped ({stop.signal_name})" if stop.wants_end else None

    process.hand_over(job.job_type, job.input_params, on_progress)
    return process.wait(limits, why_stop)


def run_in_process(
    job: Job, *, handlers: Sequence[str], show_progress: ShowProgress
) -> Dict[str, Any]:
    """Run a job in this very process, for a debugger.

    Args:
        job: The job; its id is not used.
        handlers: Handlers beside the installed ones.
        show_progress: Is given the job's progress.

    Returns:
        The result, as the worker would get it, less `console_output`.

    Raises:
        HandlerUnavailableError: The handler cannot be loaded.
        Exception: What the handler raises.
    """
    handler = handler_for(job.job_type, handlers)

    def beat(
        progress_current: Optional[float] = None,
        progress_total: Optional[float] = None,
        console_output: Optional[str] = None,
    ) -> None:
        del console_output  # what is printed is seen anyway
        show_progress(progress_current, progress_total)

    # Standard output is the result's alone.
    with tempfile.TemporaryDirectory(prefix="devaria-job-") as run_dir, contextlib.redirect_stdout(
        sys.stderr
    ):
        result = ready_result(handler().run(job.input_params, beat, Path(run_dir)))
    result.pop("console_output", None)
    return result
