"""`devaria doctor`: would a runner work here, and if not, what is to be done?"""

import platform
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from importlib import metadata
from pathlib import Path
from typing import Iterator, List, Mapping, Sequence

import requests

from devaria.client import WorkerClient
from devaria.config import RUNNER_KEY_VARIABLE, RunnerConfig, checked_worker_url
from devaria.directory import directory_lock
from devaria.errors import DevariaError, DirectoryLocked, Unauthorized
from devaria.jobs.loading import FoundHandler
from devaria.wire import CONNECT_TIMEOUT_SEC, reason_of

OK, WARNING, FAILURE = "ok", "warning", "failure"

_PACKAGES = ("click", "requests", "psutil", "filelock", "figpack", "figpack-spike-sorting", "h5py")
_MIN_FREE_BYTES = 200e6
_MAX_CLOCK_ERROR_SEC = 60.0
_FIGPACK_URL = "https://figpack-api.figpack.org"
#: Any id will do to learn whether a key is accepted.
_NO_RUNNER = "none"


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
        directory: The runner's directory.
        environ: The environment.
        handlers: The job types that were found.
    """

    worker_url: str
    insecure: bool
    directory: Path
    environ: Mapping[str, str]
    handlers: Sequence[FoundHandler]

    @property
    def key(self) -> str:
        """The runner key; empty where there is none."""
        return self.environ.get(RUNNER_KEY_VARIABLE, "").strip()


def examine(patient: Patient) -> List[Check]:
    """Look at everything that a runner needs.

    Args:
        patient: What to look at.

    Returns:
        What was found, in the order in which a runner needs it.
    """
    checks: List[Check] = []
    for look in (
        _python,
        _packages,
        _key,
        _worker,
        _registration,
        _lock,
        _disk,
        _job_types,
        _figpack,
    ):
        try:
            checks.extend(look(patient))
        except Exception as error:  # a doctor reports what he cannot look at
            name = look.__name__.strip("_").replace("_", " ")
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
    if patient.key:
        yield Check("runner key", OK, f"{RUNNER_KEY_VARIABLE} is set")
    else:
        advice = f"export {RUNNER_KEY_VARIABLE}=<your key>"
        yield Check("runner key", FAILURE, f"{RUNNER_KEY_VARIABLE} is not set", advice)


def _worker(patient: Patient) -> Iterator[Check]:
    try:
        url = checked_worker_url(patient.worker_url, insecure=patient.insecure)
    except DevariaError as error:
        yield Check("worker", FAILURE, str(error), "correct --worker-url or DEVARIA_WORKER_URL")
        return
    try:
        started = time.monotonic()
        answer = requests.get(f"{url}/health", timeout=CONNECT_TIMEOUT_SEC)
        elapsed = time.monotonic() - started
    except requests.RequestException as error:
        advice = "check the URL, the network and the proxy"
        yield Check("worker", FAILURE, f"{url}: {reason_of(error)}", advice)
        return
    yield Check("worker", OK, f"{url} answered {answer.status_code} in {elapsed * 1000:.0f} ms")
    yield _clock(answer.headers.get("Date", ""))
    if patient.key:
        yield from _key_at_worker(url, patient.key)


def _clock(date_header: str) -> Check:
    try:
        there = parsedate_to_datetime(date_header).timestamp()
    except (TypeError, ValueError):
        return Check("clock", OK, "the worker does not tell its time")
    off_sec = time.time() - there
    if abs(off_sec) <= _MAX_CLOCK_ERROR_SEC:
        return Check("clock", OK, f"within {abs(off_sec):.0f} s of the worker's")
    advice = "set the machine's clock (NTP); the log's times are wrong till then"
    return Check("clock", WARNING, f"{off_sec:+.0f} s from the worker's", advice)


def _key_at_worker(url: str, key: str) -> Iterator[Check]:
    client = WorkerClient(url, key, runner_id=_NO_RUNNER)
    try:
        client.verify()
    except Unauthorized:
        advice = "use the runner key of this worker; submit and admin keys are others"
        yield Check("key accepted", FAILURE, "the worker refuses the key (401)", advice)
    except DevariaError as error:
        yield Check("key accepted", FAILURE, str(error), "check that the URL is a Devaria worker's")
    else:
        yield Check("key accepted", OK, "the worker accepts the key")
    finally:
        client.close()


def _registration(patient: Patient) -> Iterator[Check]:
    config = RunnerConfig.peek(patient.directory)
    if config is None:
        yield Check("registration", OK, "none here yet; the first start registers")
        return
    if not patient.key:
        yield Check(
            "registration", WARNING, f"{config.runner_name}; not verified for want of a key"
        )
        return
    client = WorkerClient(patient.worker_url, patient.key, runner_id=config.runner_id)
    try:
        is_known = client.verify() is not None
    finally:
        client.close()
    if is_known:
        yield Check("registration", OK, f"{config.runner_name} (id {config.runner_id})")
    else:
        found = f"the worker does not know {config.runner_name}"
        yield Check("registration", WARNING, found, "nothing: the next start registers anew")


def _lock(patient: Patient) -> Iterator[Check]:
    try:
        with directory_lock(patient.directory):
            yield Check("lock", OK, f"no runner works in {patient.directory.resolve()}")
    except DirectoryLocked as error:
        yield Check("lock", WARNING, str(error), "nothing, if that is the runner that you want")


def _disk(patient: Patient) -> Iterator[Check]:
    with tempfile.TemporaryFile(dir=patient.directory) as file:
        file.write(b"devaria")
    for name, folder in (
        ("directory", patient.directory),
        ("scratch", Path(tempfile.gettempdir())),
    ):
        free = shutil.disk_usage(folder).free
        found = f"{folder.resolve()}: {free / 1e9:.1f} GB free"
        if free >= _MIN_FREE_BYTES:
            yield Check(name, OK, found)
        else:
            yield Check(name, FAILURE, found, "make room, or choose another place")


def _job_types(patient: Patient) -> Iterator[Check]:
    reasons = {found.job_type: found.reasons_against() for found in patient.handlers}
    state = WARNING if not all(reasons.values()) else FAILURE
    for found in patient.handlers:
        name = f"job type {found.job_type}"
        if reasons[found.job_type]:
            advice = "mend that, if this machine shall run such jobs"
            yield Check(name, state, "; ".join(reasons[found.job_type]), advice)
        else:
            yield Check(name, OK, f"ready (from {found.origin})")


def _figpack(patient: Patient) -> Iterator[Check]:
    if not patient.environ.get("FIGPACK_API_KEY"):
        yield Check("figpack", WARNING, "FIGPACK_API_KEY is not set", "export it for raster plots")
        return
    url = patient.environ.get("FIGPACK_API_BASE_URL") or _FIGPACK_URL
    try:
        status = requests.get(url, timeout=CONNECT_TIMEOUT_SEC).status_code
    except requests.RequestException as error:
        advice = "check the network, and FIGPACK_API_BASE_URL"
        yield Check("figpack", WARNING, f"{url}: {reason_of(error)}", advice)
        return
    # figpack has no call that tries a key without making a figure.
    yield Check("figpack", OK, f"{url} answered {status}; only an upload can try the key")
