"""Run a handler on this machine with no worker and no key: `devaria run`."""

import contextlib
import os
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Sequence, Type

from devaria.execution.keeper import adopt_orphans
from devaria.execution.limits import JobLimits
from devaria.execution.outcome import JobOutcome
from devaria.execution.process import JobProcess
from devaria.execution.result import ready_result
from devaria.execution.scratch import Scratch
from devaria.execution.signals import StopRequest, Wakeup
from devaria.jobs import JobHandler


def run_in_job_process(
    job_type: str,
    input_params: Dict[str, Any],
    *,
    handlers: Sequence[str],
    limits: JobLimits,
    show_progress: Callable[[Optional[float], Optional[float]], None],
    show_console: Callable[[bytes], None],
) -> JobOutcome:
    """Run a job as a runner would, in a process of its own. The first SIGINT or SIGTERM ends it.

    Args:
        job_type: The job type.
        input_params: The job's parameters.
        handlers: Handlers beside the installed ones, as `devaria.jobs.loading` takes them.
        limits: The limits of the job.
        show_progress: Called with the newest progress_current and progress_total, from another
            thread.
        show_console: Called with what the job prints, cut anywhere, from another thread.

    Returns:
        How the job ended.

    Raises:
        OSError: The job process cannot be started.
        HandlerUnavailableError: The handler cannot be loaded.
    """
    wakeup = Wakeup()
    stop = StopRequest(wakeup)
    stop.listen()
    adopt_orphans()
    process = JobProcess(wakeup, os.environ, handlers)
    process.console.echo_to(show_console)

    def on_progress(current: Optional[float], total: Optional[float], _: Optional[str]) -> None:
        show_progress(current, total)

    def why_stop() -> Optional[str]:
        return f"it was stopped ({stop.signal_name})" if stop.wants_end else None

    process.hand_over(job_type, input_params, on_progress)
    return process.wait(limits, why_stop)


def run_in_process(handler: Type[JobHandler], input_params: Dict[str, Any]) -> Dict[str, Any]:
    """Run a job in this process, for a debugger.

    Args:
        handler: The handler class.
        input_params: The job's parameters.

    Returns:
        The result, as the worker would get it, without `console_output`.

    Raises:
        Exception: What the handler raises.
    """

    def ignore(
        progress_current: Optional[float] = None,
        progress_total: Optional[float] = None,
        console_output: Optional[str] = None,
    ) -> None:
        del progress_current, progress_total, console_output

    # Standard output is for the result alone.
    scratch = Scratch(os.environ)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            result = ready_result(handler().run(input_params, ignore, Path(scratch.path)))
    finally:
        scratch.remove()
    result.pop("console_output", None)
    return result
