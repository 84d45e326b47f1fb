"""The runner store."""

import uuid
from typing import Any, Dict, List, Optional

from devaria.common import js_json
from devaria.worker.store.database import Clock, Database

ACTIVE_MS = 5 * 60_000
"""A runner counts as active for so long after its last request."""


class RunnerStore:
    """The runners that ever registered, and when they were last seen.

    Args:
        database: Where the runners are.
        clock: Gives the time in epoch milliseconds.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def register(self, name: str, capabilities: List[Any]) -> str:
        """Add a runner, even if one of that name is known.

        Args:
            name: Its name.
            capabilities: The job types that it can run.

        Returns:
            Its new id.
        """
        runner_id, now = str(uuid.uuid4()), self._clock()
        self._database.execute(
            "INSERT INTO runners (runner_id, name, capabilities, registered_at, last_seen)"
            " VALUES (?, ?, ?, ?, ?)",
            runner_id,
            js_json.well_formed(name),
            js_json.dumps(capabilities),
            now,
            now,
        )
        return runner_id

    def saw(self, runner_id: str) -> None:
        """Note that a runner asked for something just now.

        Args:
            runner_id: The runner; nothing happens if it is unknown.
        """
        self._database.execute(
            "UPDATE runners SET last_seen = ? WHERE runner_id = ?", self._clock(), runner_id
        )

    def get(self, runner_id: str) -> Optional[Dict[str, Any]]:
        """Find a runner.

        Args:
            runner_id: Its id.

        Returns:
            ``runner_id, name, capabilities, registered_at, last_seen, is_active``, or None.
        """
        rows = self._database.execute("SELECT * FROM runners WHERE runner_id = ?", runner_id)
        return next((self._described(dict(row)) for row in rows.fetchall()), None)

    def all(self, limit: int = -1) -> List[Dict[str, Any]]:
        """List all runners.

        Args:
            limit: The most runners to list; without it there is no limit.

        Returns:
            The runners as ``get`` gives them, the last seen first.
        """
        rows = self._database.execute(
            "SELECT * FROM runners ORDER BY last_seen DESC, seq DESC LIMIT ?", limit
        )
        return [self._described(dict(row)) for row in rows.fetchall()]

    def count(self) -> int:
        """Count the runners.

        Returns:
            How many ever registered.
        """
        count: int = self._database.execute("SELECT count(*) FROM runners").fetchone()[0]
        return count

    def _described(self, row: Dict[str, Any]) -> Dict[str, Any]:
        return {
            "runner_id": row["runner_id"],
            "name": row["name"],
            "capabilities": js_json.loads(row["capabilities"].encode("utf-8")),
            "registered_at": row["registered_at"],
            "last_seen": row["last_seen"],
            "is_active": self._clock() - row["last_seen"] < ACTIVE_MS,
        }
