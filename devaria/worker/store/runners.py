"""The store of registered runners."""

import uuid
from typing import Any, Dict, List, Optional

from devaria.common import js_json
from devaria.worker.store import deep_json
from devaria.worker.store.database import Clock, Database

#: A runner counts as active for this time after its last request.
ACTIVE_MS = 5 * 60_000


class RunnerStore:
    """All runners that have ever registered, and when each was last seen.

    Args:
        database: Holds the runners.
        clock: Returns the time in epoch milliseconds.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def register(self, name: str, capabilities: List[Any]) -> str:
        """Add a runner under a new id, even if its name is known.

        Args:
            name: The runner's name; it need not be unique.
            capabilities: The job types that the runner can run.

        Returns:
            The new id.
        """
        runner_id, now = str(uuid.uuid4()), self._clock()
        self._database.execute(
            "INSERT INTO runners (runner_id, name, capabilities, registered_at, last_seen)"
            " VALUES (?, ?, ?, ?, ?)",
            runner_id,
            js_json.well_formed(name),
            deep_json.dumps(capabilities),
            now,
            now,
        )
        self._database.news.has_changed()
        return runner_id

    def saw(self, runner_id: str) -> None:
        """Set the time when a runner was last seen to now; an unknown runner is ignored."""
        self._database.execute(
            "UPDATE runners SET last_seen = ? WHERE runner_id = ?", self._clock(), runner_id
        )

    def get(self, runner_id: str) -> Optional[Dict[str, Any]]:
        """Find a runner by its id.

        Returns:
            ``runner_id, name, capabilities, registered_at, last_seen, is_active``, or None.
        """
        found = self._database.execute("SELECT * FROM runners WHERE runner_id = ?", runner_id)
        return next((self._described(dict(row)) for row in found.rows), None)

    def all(self, limit: int = -1) -> List[Dict[str, Any]]:
        """List all runners, the last seen first.

        Args:
            limit: The most runners to list; -1 for all.

        Returns:
            Each runner as ``get`` returns it.
        """
        found = self._database.execute(
            "SELECT * FROM runners ORDER BY last_seen DESC, seq DESC LIMIT ?", limit
        )
        return [self._described(dict(row)) for row in found.rows]

    def count(self) -> int:
        """Return how many runners have ever registered."""
        count: int = self._database.execute("SELECT count(*) FROM runners").rows[0][0]
        return count

    def _described(self, row: Dict[str, Any]) -> Dict[str, Any]:
        return {
            "runner_id": row["runner_id"],
            "name": row["name"],
            "capabilities": deep_json.loads(row["capabilities"].encode("utf-8")),
            "registered_at": row["registered_at"],
            "last_seen": row["last_seen"],
            "is_active": self._clock() - row["last_seen"] < ACTIVE_MS,
        }
