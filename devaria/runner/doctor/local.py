"""The doctor's checks of this machine: packages, key, directory, lock, disk, job types."""

import os
import platform
import shutil
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Iterator

from devaria.common.config import CONFIG_FILE, RUNNER_KEY_VARIABLE, RunnerConfig
from devaria.common.files import is_locked
from devaria.execution.scratch import scratch_root
from devaria.runner.doctor.check import FAILURE, OK, WARNING, Check, CheckContext
from devaria.runner.journal import JOURNAL_FOLDER
from devaria.runner.log import LOG_FILE

_PACKAGES = ("click", "requests", "psutil", "filelock", "figpack", "figpack-spike-sorting", "h5py")
_MIN_FREE_BYTES = 200e6


def check_python(context: CheckContext) -> Iterator[Check]:
    """Report the version of Python."""
    del context
    yield Check("Python", OK, f"{platform.python_version()} at {sys.executable}")


def check_packages(context: CheckContext) -> Iterator[Check]:
    """Report the versions of the packages that jobs and the runner use."""
    del context
    yield Check("packages", OK, ", ".join(f"{name} {_version(name)}" for name in _PACKAGES))


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def check_key(context: CheckContext) -> Iterator[Check]:
    """Check that a runner key is set."""
    advice = f"export {RUNNER_KEY_VARIABLE}=<your key>"
    if context.key:
        yield Check("runner key", OK, f"{RUNNER_KEY_VARIABLE} is set")
    elif context.environ.get(RUNNER_KEY_VARIABLE, "").strip():
        found = f"{RUNNER_KEY_VARIABLE} holds characters that a key cannot have"
        yield Check("runner key", FAILURE, found, advice)
    else:
        yield Check("runner key", FAILURE, f"{RUNNER_KEY_VARIABLE} is not set", advice)


def check_directory(context: CheckContext) -> Iterator[Check]:
    """Check that the runner can write its files; name the first that it cannot."""
    there = _existing(context.directory)
    wrong = None if _is_usable(there, is_folder=True) else there
    for name in (CONFIG_FILE, LOG_FILE, JOURNAL_FOLDER):
        path = context.directory / name
        if wrong is None and path.exists() and not _is_usable(path, name == JOURNAL_FOLDER):
            wrong = path
    if wrong is not None:
        advice = "correct its permissions, or choose another directory with --dir"
        yield Check("directory", FAILURE, f"{wrong} cannot be written", advice)
        return
    is_new = there != context.directory
    found = f"{context.directory.absolute()}{', which the first start creates' if is_new else ''}"
    yield Check("directory", OK, found)
    if (context.directory / CONFIG_FILE).exists() and RunnerConfig.peek(context.directory) is None:
        advice = "nothing: the next start sets it aside and registers again"
        yield Check("directory", WARNING, f"{CONFIG_FILE} is corrupt", advice)


def _is_usable(path: Path, is_folder: bool) -> bool:
    if is_folder != path.is_dir():
        return False
    return os.access(path, os.R_OK | os.W_OK | (os.X_OK if is_folder else 0))


def _existing(directory: Path) -> Path:
    """Return the directory, or its nearest parent that exists."""
    return next(each for each in (directory, *directory.absolute().parents) if each.exists())


def check_lock(context: CheckContext) -> Iterator[Check]:
    """Check that no other runner works in the directory, and that files there can be locked."""
    if is_locked(context.directory):
        found = f"a runner already works in {context.directory.absolute()}"
        advice = "nothing if that is the one you want; else choose another directory with --dir"
        yield Check("lock", FAILURE, found, advice)
        return
    from filelock import FileLock

    there = _existing(context.directory)
    if not _is_usable(there, is_folder=True):  # `check_directory` reports it
        return
    try:
        # Not the runner's own lock: a runner that starts at this moment would find it held.
        with tempfile.TemporaryDirectory(dir=there, prefix=".devaria_doctor_") as folder:
            FileLock(str(Path(folder) / "lock"), timeout=0).acquire().lock.release()
    except (OSError, NotImplementedError) as error:
        advice = "choose a directory on a file system with locks, with --dir"
        yield Check("lock", FAILURE, f"cannot lock files in {there}: {error}", advice)
    else:
        yield Check("lock", OK, "free: no other runner works there")


def check_disk(context: CheckContext) -> Iterator[Check]:
    """Check that the directory and the folder for temporary files have room."""
    scratch = Path(scratch_root(context.environ))
    if not _is_usable(scratch, is_folder=True):
        advice = "correct that folder, or set TMPDIR to another one"
        yield Check("scratch", FAILURE, f"{scratch} cannot be used for jobs' files", advice)
    places = {"directory": _existing(context.directory), "scratch": _existing(scratch)}
    for name, folder in places.items():
        free = shutil.disk_usage(folder).free
        found = f"{folder.absolute()}: {free / 1e9:.1f} GB free"
        if free >= _MIN_FREE_BYTES:
            yield Check(f"disk space ({name})", OK, found)
        else:
            advice = "free some space, or choose another place"
            yield Check(f"disk space ({name})", FAILURE, found, advice)


def check_job_types(context: CheckContext) -> Iterator[Check]:
    """Check which of the job types can run here."""
    reasons = {
        job_type: found.reasons_against()
        for job_type, found in context.handlers.items()
        if job_type in context.wanted
    }
    works = any(not each for each in reasons.values())
    for job_type, against in reasons.items():
        name = f"job type {job_type}"
        if against:
            advice = "correct this if this machine is to run such jobs"
            yield Check(name, WARNING if works else FAILURE, "; ".join(against), advice)
        else:
            yield Check(name, OK, f"ready (from {context.handlers[job_type].origin})")
    for job_type in context.wanted:
        if job_type not in context.handlers:
            known = ", ".join(context.handlers)
            advice = f"correct --types or --handlers; the job types found are: {known}"
            yield Check(f"job type {job_type}", FAILURE, "no handler has this name", advice)
