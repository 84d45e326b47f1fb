"""The SQLite file: its schema, its connections, and jobs of silent runners."""

import logging
import sqlite3
import threading
from pathlib import Path
from typing import Any, Callable, List, NamedTuple

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
CREATE INDEX IF NOT EXISTS jobs_by_status ON jobs (status, job_type, seq);
CREATE INDEX IF NOT EXISTS jobs_by_runner ON jobs (claimed_by, seq);
"""

# Only the claim and the heartbeats change a running job: `updated_at` is the time of the last one.
_IS_SILENT = "status IN ('claimed', 'in_progress') AND updated_at <= ?"
_FIND = f"SELECT job_id, job_type, claimed_by FROM jobs WHERE {_IS_SILENT}"  # noqa: S608 - built from constants only
# The console is kept until the next runner replaces it: it shows how far the silent runner came.
_REQUEUE = f"""
UPDATE jobs SET status = 'pending', claimed_by = NULL, claimed_at = NULL, last_heartbeat = NULL,
    progress_current = NULL, progress_total = NULL, updated_at = ?
WHERE job_id = ? AND {_IS_SILENT}
"""  # noqa: S608 - built from constants only


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
        path: The file; created with the schema if it does not exist.

    Attributes:
        news: Told of each change of a job, by whoever changes it.
    """

    def __init__(self, path: Path) -> None:
        self.news = JobNews()
        self._path = path
        self._lock = threading.Lock()
        self._idle: List[sqlite3.Connection] = []
        self._is_closed = False
        connection = self._connect()
        connection.executescript(_SCHEMA)
        self._give_back(connection)

    def execute(self, statement: str, *parameters: Any) -> Outcome:
        """Run one statement.

        Args:
            statement: SQL with ``?`` for every parameter.
            *parameters: The values.

        Returns:
            Its rows, and the number of rows that it changed.

        Raises:
            sqlite3.Error: SQLite refused it.
        """
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        connection = connection or self._connect()
        try:
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

    def _connect(self) -> sqlite3.Connection:
        # One thread after another uses a connection, never two at once.
        connection = sqlite3.connect(
            str(self._path), timeout=10, isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection


class SilentJobs:
    """Jobs whose runner has sent no heartbeat for too long.

    Args:
        database: Holds the jobs.
        clock: Returns the time in epoch milliseconds.
        after_ms: How long a runner may be silent; 0 for no limit, as on the hosted worker.
    """

    def __init__(self, database: Database, clock: Clock, after_ms: int) -> None:
        self._database = database
        self._clock = clock
        self._after_ms = after_ms
        # Heartbeats could not arrive while the worker was down, so that time does not count.
        self._listening_since = clock()

    def requeue(self) -> None:
        """Return every such job to pending, unless a heartbeat arrives at that very moment."""
        since = self._clock() - self._after_ms
        if self._after_ms <= 0 or self._listening_since > since:
            return
        # Usually there are none, and reading the queue then writes nothing.
        for job_id, job_type, runner_id in self._database.execute(_FIND, since).rows:
            if self._database.execute(_REQUEUE, self._clock(), job_id, since).changed:
                _log.warning("Job %s is pending again: runner %s is silent", job_id, runner_id)
                self._database.news.is_pending(job_id, job_type)
