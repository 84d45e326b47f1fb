"""The SQLite file: its schema and its connections."""

import contextlib
import logging
import os
import sqlite3
import stat
import threading
from pathlib import Path
from time import monotonic
from typing import Any, Callable, List, NamedTuple, Sequence

from devaria.worker.store.news import JobNews

#: Returns the time in epoch milliseconds.
Clock = Callable[[], int]

_log = logging.getLogger(__name__)

# Jobs are ordered by `seq`, since two of them can have the same millisecond.
# A claim by an unregistered runner violates the foreign key, and a row over 2.1 MB of UTF-8
# violates the check. The worker answers both with 500, as the hosted worker does.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS runners (
    seq INTEGER PRIMARY KEY,
    runner_id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    capabilities TEXT NOT NULL,
    registered_at INTEGER NOT NULL,
    last_seen INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL UNIQUE,
    job_hash TEXT NOT NULL UNIQUE,
    job_type TEXT NOT NULL,
    input_params TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'pending',
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    claimed_by TEXT REFERENCES runners (runner_id),
    claimed_at INTEGER,
    last_heartbeat INTEGER,
    progress_current,
    progress_total,
    console_output TEXT,
    output_data TEXT,
    error_message TEXT,
    CONSTRAINT row_size CHECK (
        length(CAST(input_params AS BLOB))
        + coalesce(length(CAST(console_output AS BLOB)), 0)
        + coalesce(length(CAST(output_data AS BLOB)), 0)
        + coalesce(length(CAST(error_message AS BLOB)), 0) <= 2100000
    )
);
CREATE TABLE IF NOT EXISTS sessions (
    session_id TEXT PRIMARY KEY,
    proof TEXT NOT NULL,
    begun_at INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS jobs_by_status ON jobs (status, job_type, seq);
CREATE INDEX IF NOT EXISTS jobs_by_runner ON jobs (claimed_by, seq);
"""

_INCREMENTAL = 2  # the value of `PRAGMA auto_vacuum`
#: How long a statement waits for a lock, in seconds, with its wait for other statements.
_LOCK_SEC = 2.0
#: How long no statement tries to write after one has waited in vain, in seconds.
_PAUSE_SEC = 1.0
#: What the log before the database may keep after it was applied.
_MAX_WAL_BYTES = 16 * 1024 * 1024
#: How many free pages are given back to the system by one statement.
_PAGES = 1_000


class DatabaseBusy(Exception):
    """Another process holds the database for too long."""


class Outcome(NamedTuple):
    """What a statement came to.

    Args:
        rows: The rows that it returned; their columns can be read by name.
        changed: How many rows it inserted, updated or deleted.
    """

    rows: List[sqlite3.Row]
    changed: int


class Database:
    """One SQLite file, used by several threads at once.

    Every statement is a transaction of its own, so an atomic change must be one statement. A
    connection is used for one statement at a time, so that threads that only wait hold none.

    Args:
        path: The file; created with the schema if it does not exist. Only its owner may read it,
            and what else is in its folder.

    Attributes:
        news: Told of each change of a job, by whoever changes it.
    """

    def __init__(self, path: Path) -> None:
        self.news = JobNews()
        self._path = path
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._blocked_until = 0.0  # 0 if the last statement that wrote was not kept out
        self._idle: List[sqlite3.Connection] = []
        self._is_closed = False
        _make_private(path)
        connection = self._connect("PRAGMA auto_vacuum = INCREMENTAL")
        connection.executescript(_SCHEMA)
        if connection.execute("PRAGMA auto_vacuum").fetchone()[0] != _INCREMENTAL:
            _rewrite(connection, path)
        self._give_back(connection)

    def execute(self, statement: str, *parameters: Any) -> Outcome:
        """Run one statement.

        Args:
            statement: SQL with ``?`` for every parameter.
            *parameters: The values.

        Returns:
            Its rows, and the number of rows that it changed.

        Raises:
            DatabaseBusy: Another process holds the database.
            sqlite3.Error: SQLite refused it.
        """
        try:
            return self._execute(statement, parameters)
        except sqlite3.OperationalError as error:
            if _is_busy(error):
                raise DatabaseBusy(str(error)) from error
            raise

    def shrink(self) -> None:
        """Give the space of deleted rows back to the system; if the database is busy, later."""
        with contextlib.suppress(DatabaseBusy):
            if self._free_pages():
                self._free()
                self.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _free(self) -> None:
        free = self._free_pages()
        while free:
            self.execute(f"PRAGMA incremental_vacuum({_PAGES})")
            before, free = free, self._free_pages()
            if free >= before:
                break

    def _free_pages(self) -> int:
        pages: int = self.execute("PRAGMA freelist_count").rows[0][0]
        return pages

    def _execute(self, statement: str, parameters: Sequence[Any]) -> Outcome:
        if statement.startswith("SELECT"):
            return self._execute_now(statement, parameters, _LOCK_SEC)
        end = monotonic() + _LOCK_SEC
        # SQLite's own waiting is a poll, which under load lets some writers wait for long. While
        # another process holds the database, one statement at a time looks whether it is free.
        if not self._writing.acquire(timeout=0 if self._blocked_until else _LOCK_SEC):
            raise DatabaseBusy("other statements wait for the database")
        try:
            if monotonic() < self._blocked_until:
                raise DatabaseBusy("another process holds the database")
            outcome = self._execute_now(statement, parameters, max(0.0, end - monotonic()))
            self._blocked_until = 0.0
        except sqlite3.OperationalError as error:
            if _is_busy(error):
                self._blocked_until = monotonic() + _PAUSE_SEC
            raise
        finally:
            self._writing.release()
        return outcome

    def _execute_now(self, statement: str, parameters: Sequence[Any], lock_sec: float) -> Outcome:
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        connection = connection or self._connect()
        try:
            connection.execute(f"PRAGMA busy_timeout = {int(lock_sec * 1000)}")
            cursor = connection.execute(statement, parameters)
            return Outcome(cursor.fetchall(), cursor.rowcount)
        finally:
            self._give_back(connection)

    def close(self) -> None:
        """Close all connections; those in use, when their statement has ended."""
        with self._lock:
            self._is_closed = True
            while self._idle:
                self._idle.pop().close()

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if self._is_closed:
                connection.close()
            else:
                self._idle.append(connection)

    def _connect(self, first: str = "") -> sqlite3.Connection:
        # One thread after another uses a connection, never two at once.
        connection = sqlite3.connect(
            str(self._path), timeout=_LOCK_SEC, isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        connection.execute(first)  # before anything is written to a new file
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA journal_size_limit = {_MAX_WAL_BYTES}")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection


def _is_busy(error: sqlite3.Error) -> bool:
    return "locked" in str(error) or "busy" in str(error)


def _make_private(path: Path) -> None:
    """Let only the owner read the database and its folder. SQLite's other files follow the first.

    Raises:
        OSError: The file cannot be made.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    for each in (path.parent, path, *path.parent.glob(f"{path.name}-*")):
        mode = each.stat().st_mode
        # A folder with the sticky bit, such as /tmp, belongs to all. What belongs to another user
        # cannot be changed.
        if mode & 0o077 and not mode & stat.S_ISVTX:
            with contextlib.suppress(OSError):
                each.chmod(mode & 0o700)


def _rewrite(connection: sqlite3.Connection, path: Path) -> None:
    """Rewrite a database of an earlier version, so that it can shrink."""
    try:
        connection.execute("VACUUM")
    except sqlite3.Error as error:  # such as a full disk; all else works
        _log.warning("%s cannot shrink: %s", path, error)
