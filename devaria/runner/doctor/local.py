"""`devaria doctor`: would a runner work here, and if not, what is to be done?"""

import os
import platform
import shutil
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Dict, Iterator, List

from devaria.common.config import CONFIG_FILE, RUNNER_KEY_VARIABLE, RunnerConfig
from devaria.common.files import is_locked
from devaria.runner.doctor.check import FAILURE, OK, WARNING, Check, Patient
from devaria.runner.doctor.remote import look_at_figpack, look_at_worker
from devaria.runner.journal import JOURNAL_FOLDER
from devaria.runner.log import LOG_FILE

__all__ = ["FAILURE", "KEYS_IN_ENVIRONMENT", "OK", "WARNING", "Check", "Patient", "examine"]

#: What a runner takes from the environment alone, and whether it must not be shown.
KEYS_IN_ENVIRONMENT: Dict[str, bool] = {
    RUNNER_KEY_VARIABLE: True,
    "FIGPACK_API_KEY": True,
    "FIGPACK_API_BASE_URL": False,
}

_PACKAGES = ("click", "requests", "psutil", "filelock", "figpack", "figpack-spike-sorting", "h5py")
_MIN_FREE_BYTES = 200e6


def examine(patient: Patient) -> List[Check]:
    """Look at everything that a runner needs, and leave it as it is.

    Args:
        patient: What to look at.

    Returns:
        What was found.
    """
    checks: List[Check] = []
    for name, look in {
        "Python": _python,
        "packages": _packages,
        "runner key": _key,
        "worker": look_at_worker,
        "directory": _directory,
        "lock": _lock,
        "disk space": _disk,
        "job types": _job_types,
        "figpack": look_at_figpack,
    }.items():
        try:
            checks.extend(look(patient))
        except Exception as error:  # a doctor reports what he cannot look at
            checks.append(Check(name, FAILURE, f"{type(error).__name__}: {error}"))
    return checks


def _python(patient: Patient) -> Iterator[Check]:
    del patient
    yield Check("Python", OK, f"{platform.python_version()} at {sys.executable}")


def _packages(patient: Patient) -> Iterator[Check]:
    del patient
    yield Check("packages", OK, ", ".join(f"{name} {_version(name)}" for name in _PACKAGES))


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _key(patient: Patient) -> Iterator[Check]:
    advice = f"export {RUNNER_KEY_VARIABLE}=<your key>"
    if patient.key:
        yield Check("runner key", OK, f"{RUNNER_KEY_VARIABLE} is set")
    elif patient.environ.get(RUNNER_KEY_VARIABLE, "").strip():
        found = f"{RUNNER_KEY_VARIABLE} holds characters that no key has"
        yield Check("runner key", FAILURE, found, advice)
    else:
        yield Check("runner key", FAILURE, f"{RUNNER_KEY_VARIABLE} is not set", advice)


def _directory(patient: Patient) -> Iterator[Check]:
    """Look whether the runner's files can be written; the first that cannot is said."""
    there = _existing(patient.directory)
    wrong = None if _is_usable(there, is_folder=True) else there
    for name in (CONFIG_FILE, LOG_FILE, JOURNAL_FOLDER):
        path = patient.directory / name
        if wrong is None and path.exists() and not _is_usable(path, name == JOURNAL_FOLDER):
            wrong = path
    if wrong is not None:
        advice = "mend its permissions, or choose another directory with --dir"
        yield Check("directory", FAILURE, f"{wrong} cannot be written", advice)
        return
    is_new = there != patient.directory
    found = f"{patient.directory.absolute()}{', which the first start makes' if is_new else ''}"
    yield Check("directory", OK, found)
    if (patient.directory / CONFIG_FILE).exists() and RunnerConfig.peek(patient.directory) is None:
        advice = "nothing: the next start sets it aside, and registers anew"
        yield Check("directory", WARNING, f"{CONFIG_FILE} is corrupt", advice)


def _is_usable(path: Path, is_folder: bool) -> bool:
    if is_folder != path.is_dir():
        return False
    return os.access(path, os.R_OK | os.W_OK | (os.X_OK if is_folder else 0))


def _existing(directory: Path) -> Path:
    """Find the directory, or the nearest one above it that is there."""
    return next(each for each in (directory, *directory.absolute().parents) if each.exists())


def _lock(patient: Patient) -> Iterator[Check]:
    if is_locked(patient.directory):
        found = f"a runner works in {patient.directory.absolute()} already"
        advice = "nothing, if you want that one; else choose another directory with --dir"
        yield Check("lock", FAILURE, found, advice)
        return
    from filelock import FileLock

    there = _existing(patient.directory)
    if not _is_usable(there, is_folder=True):
        return
    try:
        # Not the runner's own lock, which must not be held when one starts just now.
        with tempfile.TemporaryDirectory(dir=there, prefix=".devaria_doctor_") as folder:
            FileLock(str(Path(folder) / "lock"), timeout=0).acquire().lock.release()
    except (OSError, NotImplementedError) as error:
        advice = "choose a directory on a file system with locks, with --dir"
        yield Check("lock", FAILURE, f"cannot lock files in {there}: {error}", advice)
    else:
        yield Check("lock", OK, "free: no other runner works there")


def _disk(patient: Patient) -> Iterator[Check]:
    places = {"directory": _existing(patient.directory), "scratch": Path(tempfile.gettempdir())}
    for name, folder in places.items():
        free = shutil.disk_usage(folder).free
        found = f"{folder.absolute()}: {free / 1e9:.1f} GB free"
        if free >= _MIN_FREE_BYTES:
            yield Check(f"disk space ({name})", OK, found)
        else:
            advice = "make room, or choose another place"
            yield Check(f"disk space ({name})", FAILURE, found, advice)


def _job_types(patient: Patient) -> Iterator[Check]:
    reasons = {
        job_type: found.reasons_against()
        for job_type, found in patient.handlers.items()
        if job_type in patient.wanted
    }
    works = any(not each for each in reasons.values())
    for job_type, against in reasons.items():
        name = f"job type {job_type}"
        if against:
            advice = "mend that, if this machine shall run such jobs"
            yield Check(name, WARNING if works else FAILURE, "; ".join(against), advice)
        else:
            yield Check(name, OK, f"ready (from {patient.handlers[job_type].origin})")
    for job_type in patient.wanted:
        if job_type not in patient.handlers:
            advice = f"there are: {', '.join(patient.handlers)}; correct --types or --handlers"
            yield Check(f"job type {job_type}", FAILURE, "no handler has this name", advice)
