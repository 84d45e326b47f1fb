"""NotifyRelay, which holds a request until somebody publishes a message: a long poll.

The protocol is that of the package `notifyrelay` 0.1.0. docs/architecture.md says why that package
is not used.
"""

import json
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Callable, List, Mapping, Optional, Tuple
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3 import PoolManager
from urllib3.exceptions import HTTPError

from devaria import __version__
from devaria.client.http import reason_of
from devaria.common.bounded_http import (
    BoundedSession,
    CuttableConnection,
    time_limit,
    use_connections,
)
from devaria.common.config import (
    RELAY_ID_VARIABLE,
    RELAY_KEY_VARIABLE,
    RELAY_URL_VARIABLE,
    RELAY_VARIABLES,
    checked_worker_url,
    is_loopback,
)
from devaria.common.errors import BadSetting, NoAnswer, StrangeAnswer, Unauthorized
from devaria.common.timing import Timing

#: The topic under which workers publish.
TOPIC = "runpack_notifications"

#: An answer holds the messages since the one before. Each has some hundred bytes.
_MAX_ANSWER_BYTES = 1_000_000


@dataclass(frozen=True)
class RelayAccess:
    """What a subscriber needs.

    Args:
        url: The server's URL, to which paths can be added.
        key: The subscribe key.
        subscriber_id: The server keeps messages for each id until they are fetched.
    """

    url: str
    key: str = field(repr=False)
    subscriber_id: str

    @classmethod
    def of(cls, environ: Mapping[str, str], *, insecure: bool) -> "Optional[RelayAccess]":
        """Read the environment variables.

        Args:
            environ: The environment variables.
            insecure: Accept plain http to any host.

        Returns:
            The access; None if none of the variables is set.

        Raises:
            BadSetting: Some are not set, or a value cannot be used.
        """
        values = {name: environ.get(name, "").strip() for name in RELAY_VARIABLES}
        missing = [name for name, value in values.items() if not value]
        if len(missing) == len(values):
            return None
        if missing:
            verb = "is" if len(missing) == 1 else "are"
            raise BadSetting(f"{' and '.join(missing)} {verb} not set")
        key = values[RELAY_KEY_VARIABLE]
        if not (key.isascii() and key.isprintable()):
            raise BadSetting(f"{RELAY_KEY_VARIABLE} holds characters that a key cannot have")
        url = values[RELAY_URL_VARIABLE]
        url = checked_worker_url(url, insecure=insecure, what=RELAY_URL_VARIABLE)
        return cls(url, key, values[RELAY_ID_VARIABLE])


class RelaySession:
    """Long polls of one subscriber, one after the other. `end` may be called by any thread.

    Args:
        access: The server, and the subscriber.
        timing: `connect_timeout_sec` is the time-out of a connection, and how much later than asked
            for an answer may be complete.
    """

    def __init__(self, access: RelayAccess, timing: Timing) -> None:
        self._access = access
        self._timing = timing
        self._url = f"{access.url}/poll"
        self._what = f"POST {self._url}"
        self._connection: Optional[CuttableConnection] = None
        self._has_ended = False
        self._session = BoundedSession()
        self._session.mount("http://", _Adapter(self._note_connection))
        self._session.mount("https://", _Adapter(self._note_connection))
        # As for a worker on loopback: no proxy can reach it, or may see the key.
        self._session.trust_env = not is_loopback(urlsplit(access.url).hostname or "")
        self._session.headers["User-Agent"] = f"devaria/{__version__}"
        self._session.headers["Accept-Encoding"] = "identity"  # the limit is for what is sent
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))

    def messages(self, wait_sec: float) -> List[Any]:
        """Wait for messages.

        Args:
            wait_sec: How long the server may hold the request, in seconds.

        Returns:
            The messages of the topic, oldest first; none when the time is over. Each is a string,
            if the server is right; None stands for what has no message in it.

        Raises:
            Unauthorized: The server refuses the key.
            NoAnswer: There was no whole answer in time, or `end` was called.
            StrangeAnswer: The answer is not one of this protocol.
        """
        status, body = self._exchange(wait_sec)
        if status in (401, 403):
            raise Unauthorized(f"{self._what}: {status}; check {RELAY_KEY_VARIABLE}")
        if status != 200:
            raise StrangeAnswer(f"{self._what}: {status}")
        if len(body) > _MAX_ANSWER_BYTES:
            raise StrangeAnswer(f"{self._what}: more than {_MAX_ANSWER_BYTES:,} bytes")
        try:
            return _messages(body)
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise StrangeAnswer(f"{self._what}: this is not NotifyRelay's JSON") from None

    def end(self) -> None:
        """Cut the request that is waiting. No later one is answered."""
        self._has_ended = True
        self._cut()

    def close(self) -> None:
        """Close the connections. This is for the thread that polls."""
        self._session.close()

    def _exchange(self, wait_sec: float) -> Tuple[int, bytes]:
        """Make one request; return the status, and the body if that is 200."""
        limit_sec = wait_sec + self._timing.connect_timeout_sec
        fault = ""
        status, body = 0, b""
        with time_limit(limit_sec, self._cut) as is_late:
            try:
                with self._post(wait_sec, limit_sec) as response:
                    status = response.status_code
                    if status == 200:
                        body = response.raw.read(_MAX_ANSWER_BYTES + 1, decode_content=False)
            except (requests.RequestException, HTTPError, OSError) as error:
                fault = reason_of(error, self._timing.connect_timeout_sec)
        if is_late.is_set():
            fault = f"no whole answer within {limit_sec:g} s"
        if fault or self._has_ended:
            raise NoAnswer(f"{self._what}: {fault}")
        return status, body

    def _post(self, wait_sec: float, limit_sec: float) -> requests.Response:
        return self._session.post(
            self._url,
            json={
                "subscriber_id": self._access.subscriber_id,
                "subscriber_name": "devaria",
                "topics": [TOPIC],
                "timeout": int(wait_sec * 1000),
            },
            auth=_KeyAuth(self._access.key),
            timeout=(self._timing.connect_timeout_sec, limit_sec),
            allow_redirects=False,
            stream=True,
        )

    def _note_connection(self, connection: CuttableConnection) -> None:
        self._connection = connection
        if self._has_ended:
            self._cut()

    def _cut(self) -> None:
        if self._connection is not None:
            self._connection.cut()


def _messages(body: bytes) -> List[Any]:
    # Numbers stay texts: those with a million digits would take long.
    answer = json.loads(body, parse_int=str, parse_float=str)
    found = (answer.get("messages") or {}).get(TOPIC) or []
    if not isinstance(found, list):
        raise TypeError
    return [each.get("message") if isinstance(each, dict) else None for each in found]


class _KeyAuth(AuthBase):
    """Sends the key. It is an auth object, since an entry in `.netrc` would replace a header."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._key
        return request


class _Adapter(HTTPAdapter):
    """Opens connections, also through a proxy, and tells of each."""

    def __init__(self, note: Callable[[CuttableConnection], None]) -> None:
        self._connections = type(
            "RelayConnection", (CuttableConnection,), {"opened": staticmethod(note)}
        )
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Set up the connection pools, as requests asks."""
        super().init_poolmanager(*args, **kwargs)
        use_connections(self.poolmanager, self._connections)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> PoolManager:
        """Set up the connection pools for a proxy, as requests asks."""
        manager: PoolManager = super().proxy_manager_for(*args, **kwargs)
        use_connections(manager, self._connections)
        return manager
