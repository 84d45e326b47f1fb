"""The browsers that have opened the dashboard's link."""

import hashlib
import hmac
import secrets
import threading
from typing import Dict, NamedTuple, Tuple

from devaria.worker.store.database import Clock, Database

#: A session ends after this time.
LIFETIME_MS = 30 * 24 * 3600 * 1000
#: For a new one, the oldest ends.
MAX_SESSIONS = 200


class _Session(NamedTuple):
    proof: str
    begun_at: int


class Sessions:
    """Sessions, each with an id and a secret, both random.

    They are kept in the database, so that an open page still works after a restart of the worker.
    The secrets are not: what is kept proves them together with the token of the link. So a new
    token ends all sessions.

    Args:
        database: Keeps the sessions.
        clock: Returns the time in epoch milliseconds.
        token: The token in the dashboard's link.
    """

    def __init__(self, database: Database, clock: Clock, token: str) -> None:
        self._database = database
        self._clock = clock
        self._token = token.encode()
        self._lock = threading.Lock()
        # In memory, since they are looked up where nothing may wait for the database.
        rows = database.execute("SELECT * FROM sessions ORDER BY begun_at").rows
        self._sessions: Dict[str, _Session] = {
            row["session_id"]: _Session(row["proof"], row["begun_at"]) for row in rows
        }

    def begin(self) -> Tuple[str, str]:
        """Begin a session.

        Returns:
            Its id, which is part of the paths of its pages, and its secret, for a cookie.
        """
        session_id, secret = secrets.token_hex(16), secrets.token_hex(32)
        session = _Session(self._proof(secret), self._clock())
        self._database.execute("INSERT INTO sessions VALUES (?, ?, ?)", session_id, *session)
        with self._lock:
            self._sessions[session_id] = session
            over = list(self._sessions)[:-MAX_SESSIONS]
        for each in over:
            self.end(each)
        return session_id, secret

    def is_valid(self, session_id: str, secret: str) -> bool:
        """Return whether a session goes on, and this is its secret."""
        session = self._sessions.get(session_id)
        if session is None or self._clock() >= session.begun_at + LIFETIME_MS:
            return False
        return hmac.compare_digest(self._proof(secret), session.proof)

    def end(self, session_id: str) -> None:
        """End a session, if it goes on."""
        self._database.execute("DELETE FROM sessions WHERE session_id = ?", session_id)
        with self._lock:
            self._sessions.pop(session_id, None)

    def _proof(self, secret: str) -> str:
        return hmac.new(self._token, secret.encode("utf-8"), hashlib.sha256).hexdigest()
