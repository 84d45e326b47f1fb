"""The runner's log: one line for each event, on stdout and in a rotating file, without secrets."""

import contextlib
import io
import logging
import logging.handlers
import os
import sys
import threading
from pathlib import Path
from typing import Iterable, List, Optional

from devaria.common.config import DEFAULT_LOG_FILE_BYTES
from devaria.common.errors import BadSetting, out_of_resources
from devaria.common.files import open_regular, set_aside_odd
from devaria.common.redaction import redacted
from devaria.common.text import printable

LOG_FILE = "devaria_runner.log"
LOG_FILES_KEPT = 5

_FORMAT = "[%(asctime)s] %(levelname)s: %(message)s"
_TIME_FORMAT = "%Y-%m-%d %H:%M:%S"

#: The attribute of a record whose text has several lines: a traceback of a job.
_HAS_LINES = "devaria_has_lines"
#: The `extra` of a call that logs such a record.
HAS_LINES = {_HAS_LINES: True}

#: The attribute of a log record that keeps its formatted text.
_TEXT = "devaria_text"


class _SafeFormatter(logging.Formatter):
    r"""Writes each record as one line: no secrets, control characters visible, breaks as `\n`.

    Only a traceback has several lines, and all but the first are indented.
    """

    def __init__(self, secrets: List[str]) -> None:
        super().__init__(_FORMAT, _TIME_FORMAT)
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        # Two handlers format each record, and the one for the file does so twice.
        text: Optional[str] = getattr(record, _TEXT, None)
        if text is None:
            text = printable(redacted(super().format(record), self._secrets))
            # A line break from a stranger must not forge a log line.
            has_lines = record.exc_info or getattr(record, _HAS_LINES, False)
            text = text.replace("\n", "\n    " if has_lines else "\\n")
            setattr(record, _TEXT, text)
        return text


class _ConsoleHandler(logging.StreamHandler):  # type: ignore[type-arg] # not subscriptable in 3.8
    """Writes to stdout. It ignores a closed terminal, so that the runner goes on running jobs."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        del record


class _FileHandler(logging.handlers.RotatingFileHandler):
    """Writes the log file. It reports a full disk once on stderr, and resumes by itself."""

    _complained = False

    def _open(self) -> "io.TextIOWrapper":
        # Not through a link, and not a pipe: jobs may write in the runner's directory.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        descriptor = open_regular(Path(self.baseFilename), flags, 0o666)
        return os.fdopen(descriptor, "a", encoding=self.encoding)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        del record
        if not self._complained:
            self._complained = True
            with contextlib.suppress(OSError):  # a terminal that was closed meanwhile
                sys.stderr.write(f"cannot write {self.baseFilename}: {sys.exc_info()[1]}\n")


def set_up_logging(
    directory: Path,
    *,
    verbose: bool,
    secrets: Iterable[str],
    file_bytes: int = DEFAULT_LOG_FILE_BYTES,
) -> List[Path]:
    """Send devaria's log to stdout and to `devaria_runner.log`.

    Args:
        directory: The folder of the log file and of five old ones.
        verbose: Log details, too: requests, waits, heartbeats.
        secrets: Keys that must never be written.
        file_bytes: The log file is rotated at this size.

    Returns:
        The new paths of what stood in the place of a log file and could not be one.

    Raises:
        BadSetting: The log file cannot be opened.
    """
    path = directory / LOG_FILE
    old_logs = [directory / f"{LOG_FILE}.{number}" for number in range(1, LOG_FILES_KEPT + 1)]
    try:
        aside = set_aside_odd(path, also_shared=True)
        aside += [each for log in old_logs for each in set_aside_odd(log)]
        to_file = _FileHandler(
            path, maxBytes=file_bytes, backupCount=LOG_FILES_KEPT, encoding="utf-8"
        )
    except OSError as error:
        if out_of_resources(error):
            raise
        raise BadSetting(
            f"cannot write the log file {path}: {error.strerror}; "
            "choose another directory with --dir, or correct its permissions"
        ) from None
    logger = logging.getLogger("devaria")
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    logger.propagate = False
    formatter = _SafeFormatter(list(secrets))
    for handler in (_ConsoleHandler(sys.stdout), to_file):
        handler.setFormatter(formatter)
        logger.addHandler(handler)
    threading.excepthook = _log_thread_death
    return aside


def _log_thread_death(args: "threading.ExceptHookArgs") -> None:
    """Log an unexpected error in a thread with its traceback."""
    exc_info = (args.exc_type, args.exc_value, args.exc_traceback)
    logging.getLogger("devaria").critical("unexpected error", exc_info=exc_info)  # type: ignore[arg-type] # exc_value is None only while the interpreter ends
