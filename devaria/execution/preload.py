"""Import ahead: a job process does the imports of some job types, then waits for a job.

This is the inside of `devaria.execution.preloaded.PreloadedProcess`. Such a process is out of date
when a file that it has loaded changes, or when a package is installed. It then ends without its
job, and the runner takes a new process for that. So an edit takes effect with the next job.
"""

import contextlib
import ctypes
import gc
import os
import sys
import time
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Tuple

from devaria.common.parent_pipes import ParentPipes
from devaria.jobs.loading import handler_for

#: A file may have changed between its import and the first look at it. It counts as changed from
#: this time before the imports on, in seconds; the kernel's clock for files is behind by that much.
_SLACK_SEC = 0.02

#: What tells two states of a file apart; None if there is no such file.
_Signature = Optional[Tuple[int, int, int]]


def received_with_imports_done(
    runner: ParentPipes, request: Dict[str, Any]
) -> Optional[Dict[str, Any]]:
    """Import ahead, and wait for the job.

    Args:
        runner: Where the request came from.
        request: `preload` (job types), `handlers`, `max_age_sec`, and `check_sec`.

    Returns:
        The job; None if the imports failed, or this process is out of date.
    """
    started, out_of_date_at = time.time(), time.monotonic() + request["max_age_sec"]
    problem = _problem_of_imports(request)
    loaded = _signatures()
    # The modules stay to the end. Checking them for garbage with each job would take time.
    gc.collect()
    gc.freeze()
    _return_free_memory()
    runner.send({"event": "preloaded", "problem": problem})
    if problem is not None or _any_within(loaded, started - _SLACK_SEC, time.time()):
        return None
    while time.monotonic() < out_of_date_at:
        with contextlib.suppress(TimeoutError):
            job = runner.receive(request["check_sec"])
            return job if _signatures(loaded) == loaded else None
        if _signatures(loaded) != loaded:
            break
    return None


def _return_free_memory() -> None:
    """With glibc: give back what imports needed for a moment. This process may wait for an hour."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _problem_of_imports(request: Dict[str, Any]) -> Optional[str]:
    """Call `preload` of each job type. Return what went wrong, or None."""
    for job_type in request["preload"]:
        try:
            handler_for(job_type, request["handlers"]).preload()
        except BaseException as error:  # SystemExit and KeyboardInterrupt, too
            try:
                return f"{type(error).__name__}: {error}"
            except BaseException:  # an exception may fail when it is printed
                return type(error).__name__
    return None


def _signatures(paths: "Optional[Dict[str, _Signature]]" = None) -> Dict[str, _Signature]:
    """Return the present state of files.

    Args:
        paths: The files; None for those of all loaded modules, and the folders of packages, which
            change when a package is installed.
    """
    return {path: _signature(path) for path in (_files_in_use() if paths is None else paths)}


def _files_in_use() -> Iterator[str]:
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if isinstance(path, str):
            yield path
    for path in sys.path:
        if Path(path).name in ("site-packages", "dist-packages"):
            yield path


def _signature(path: str) -> _Signature:
    try:
        status = os.stat(path)  # noqa: PTH116 - a Path for each of a thousand files takes long
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size


def _any_within(signatures: Dict[str, _Signature], start: float, end: float) -> bool:
    """Return whether a file was changed within a span of time, in seconds since 1970."""
    times = (each for signature in signatures.values() for each in (signature or ())[:2])
    return any(start <= each / 1e9 <= end for each in times)
