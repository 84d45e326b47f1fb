"""A runner's settings, `.devaria_runner.json`, and the check of a worker's URL."""

import errno
import json
import os
import socket
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Tuple
from urllib.parse import SplitResult, urlsplit

from devaria.common.errors import BadSetting, out_of_resources
from devaria.common.files import read_regular, set_aside, set_aside_odd, write_atomically
from devaria.common.sendable import is_id, is_text
from devaria.common.timing import Timing

DEFAULT_WORKER_URL = "https://devaria-worker.neurosift.app"
DEFAULT_POLL_INTERVAL_SEC = 30.0
DEFAULT_JOB_TIMEOUT_SEC = 6 * 3600.0
DEFAULT_JOB_DISK_GB = 20.0
DEFAULT_LOG_FILE_BYTES = 10_000_000

RUNNER_KEY_VARIABLE = "DEVARIA_RUNNER_API_KEY"
SUBMIT_KEY_VARIABLE = "DEVARIA_SUBMIT_API_KEY"
WORKER_KEY_VARIABLES = (RUNNER_KEY_VARIABLE, SUBMIT_KEY_VARIABLE, "DEVARIA_ADMIN_API_KEY")

#: The keys that jobs need: of the figpack service, and of the DANDI Archive.
_JOB_KEY_VARIABLES = ("FIGPACK_API_KEY", "DEVARIA_DANDI_API_KEY")

#: The variables of NotifyRelay, of which all are needed: the server's URL, the key, and the name
#: under which this runner subscribes.
RELAY_URL_VARIABLE = "NOTIFY_RELAY_BASE_URL"
RELAY_KEY_VARIABLE = "NOTIFY_RELAY_SUBSCRIBE_KEY"
RELAY_ID_VARIABLE = "NOTIFY_RELAY_SUBSCRIBE_ID"
RELAY_VARIABLES = (RELAY_URL_VARIABLE, RELAY_KEY_VARIABLE, RELAY_ID_VARIABLE)
_RELAY_PREFIX = "NOTIFY_RELAY_"

CONFIG_FILE = ".devaria_runner.json"
_MAX_CONFIG_BYTES = 100_000


@dataclass(frozen=True)
class RunnerSettings:
    """The operator's choices for one runner.

    Args:
        worker_url: The worker, as `checked_worker_url` returns it.
        api_key: The runner key.
        directory: Where the runner keeps its files.
        job_types: The job types to offer; None for all that can run here.
        poll_interval_sec: Time between two polls that found nothing, in seconds.
        no_wait: Poll only every `poll_interval_sec`, also at a worker that lets polls wait.
        burst: End when there is nothing left to do.
        max_jobs: End after this many jobs; None for no bound.
        max_idle_sec: End after this many seconds without a job; None for no bound.
        max_time_sec: Claim no job after this many seconds, and end; None for no bound.
        job_timeout_sec: The time limit of a job whose handler sets none, in seconds.
        max_job_memory_bytes: Memory of a job process and all that it starts, in bytes.
        max_job_disk_bytes: Disk space of a job's temporary files, in bytes.
        handlers: Handlers beside the built-in ones, each as `job_type=module:Class`.
        insecure: Accept plain http to another machine for NotifyRelay, too.
        preload: Import ahead while idle, for the handlers that ask for it.
        environ: The environment variables; `without_runners_keys` makes of them those of a job.
        timing: The intervals and time-outs of the runner.
        log_file_bytes: The log file is rotated at this size.
    """

    worker_url: str
    api_key: str = field(repr=False)
    directory: Path
    job_types: Optional[Tuple[str, ...]] = None
    poll_interval_sec: float = DEFAULT_POLL_INTERVAL_SEC
    no_wait: bool = False
    burst: bool = False
    max_jobs: Optional[int] = None
    max_idle_sec: Optional[float] = None
    max_time_sec: Optional[float] = None
    job_timeout_sec: float = DEFAULT_JOB_TIMEOUT_SEC
    max_job_memory_bytes: float = float("inf")
    max_job_disk_bytes: float = DEFAULT_JOB_DISK_GB * 1e9
    handlers: Tuple[str, ...] = ()
    insecure: bool = False
    preload: bool = True
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    timing: Timing = field(default_factory=Timing)
    log_file_bytes: int = DEFAULT_LOG_FILE_BYTES

    @property
    def keys(self) -> Dict[str, str]:
        """The keys by the name of their variable; an empty one is not set."""
        names = (*WORKER_KEY_VARIABLES, RELAY_KEY_VARIABLE, *_JOB_KEY_VARIABLES)
        found = {name: self.environ.get(name, "").strip() for name in names}
        return {**found, RUNNER_KEY_VARIABLE: self.api_key}

    @property
    def secrets(self) -> List[str]:
        """The keys, which must not appear in any text that leaves this process."""
        return list(self.keys.values())


def without_runners_keys(environ: Mapping[str, str]) -> Dict[str, str]:
    """Return the environment of a job process: only the runner needs the keys that are left out.

    Args:
        environ: The runner's environment variables.
    """
    return {
        name: value
        for name, value in environ.items()
        if name not in WORKER_KEY_VARIABLES and not name.startswith(_RELAY_PREFIX)
    }


@dataclass(frozen=True)
class RunnerConfig:
    """The runner's identity at its worker, as `.devaria_runner.json` keeps it.

    Args:
        runner_id: The id that the worker gave.
        runner_name: The name that it was registered under.
    """

    runner_id: str
    runner_name: str

    def save(self, directory: Path) -> None:
        """Write the file atomically, readable for its owner only.

        Args:
            directory: The runner's directory.

        Raises:
            BadSetting: It cannot be written.
        """
        text = json.dumps({"runner_id": self.runner_id, "runner_name": self.runner_name}, indent=2)
        try:
            write_atomically(directory / CONFIG_FILE, text.encode("utf-8") + b"\n")
        except OSError as error:
            raise BadSetting(
                f"cannot write {directory / CONFIG_FILE}: {error.strerror}; "
                "choose another directory with --dir, or correct its permissions"
            ) from None

    @classmethod
    def peek(cls, directory: Path) -> Optional["RunnerConfig"]:
        """Read the file; change nothing.

        Args:
            directory: The runner's directory.

        Returns:
            The configuration; None if the file is missing, unreadable or corrupt.
        """
        try:
            return _parsed(read_regular(directory / CONFIG_FILE, _MAX_CONFIG_BYTES))
        except OSError:
            return None

    @classmethod
    def load(cls, directory: Path) -> Tuple[Optional["RunnerConfig"], Optional[Path]]:
        """Read the file; rename it if it is corrupt.

        Args:
            directory: The runner's directory.

        Returns:
            The configuration, or None if there is none; and the new path of a corrupt file, or
            None.

        Raises:
            BadSetting: The file is there and cannot be read or moved.
        """
        path = directory / CONFIG_FILE
        try:
            aside = set_aside_odd(path)
            if aside:
                return None, aside[0]
            config = _parsed(read_regular(path, _MAX_CONFIG_BYTES))
        except FileNotFoundError:
            return None, None
        except OSError as error:
            if out_of_resources(error):
                raise
            if error.errno != errno.EFBIG:
                raise BadSetting(f"cannot read {path}: {error.strerror}") from None
            config = None
        return (config, None) if config is not None else (None, _set_aside(path))


def checked_worker_url(url: str, *, insecure: bool = False, what: str = "the worker URL") -> str:
    """Check the URL of a worker, or of NotifyRelay. Requests to it carry a key in a header.

    Args:
        url: The URL, without a path; a slash at its end is dropped.
        insecure: Accept plain http to any host.
        what: What it is called in an error.

    Returns:
        The URL, without white space around it, to which paths can be added.

    Raises:
        BadSetting: It is not an http(s) URL, or it is plain http to another machine.
    """
    try:
        parts = urlsplit(url.strip())
        is_right = parts.scheme in ("http", "https") and _takes_paths(url.strip(), parts)
    except ValueError:
        parts, is_right = urlsplit(""), False
    if not is_right or not parts.hostname:
        raise BadSetting(f"{what} {url!r} is not of the form https://host[:port]")
    if parts.scheme == "http" and not insecure and not is_loopback(parts.hostname):
        raise BadSetting(
            f"{what} {url!r} is plain http, which would show the key to the network; "
            "use https, or --insecure where the network is your own"
        )
    return url.strip().rstrip("/")


def new_runner_name() -> str:
    """Return a new name for a runner: `runner-<hostname>-<8 hex digits>`."""
    return f"runner-{socket.gethostname()}-{os.urandom(4).hex()}"


def _parsed(data: bytes) -> Optional[RunnerConfig]:
    try:
        content = json.loads(data.decode("utf-8"))
        config = RunnerConfig(content["runner_id"], content["runner_name"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    is_sound = is_id(config.runner_id) and is_text(config.runner_name)
    return config if is_sound else None


def _set_aside(path: Path) -> Path:
    try:
        return set_aside(path)
    except OSError as error:
        raise BadSetting(
            f"{path} is corrupt and cannot be set aside: {error.strerror}; remove it"
        ) from None


def _takes_paths(url: str, parts: SplitResult) -> bool:
    """Return whether paths can be added to a URL. Raise ValueError if it is malformed."""
    import requests  # here, since the settings alone need no HTTP

    (parts.hostname or "").encode("idna")  # a label that is empty or too long
    requests.Request("GET", url).prepare()
    port_is_right = parts.port is None or parts.port > 0
    host_is_right = "@" not in parts.netloc and not any(map(str.isspace, parts.netloc))
    return port_is_right and host_is_right and not parts.query and not parts.fragment


def is_loopback(host: str) -> bool:
    """Return whether a host name or address means this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
