"""NotifyRelay, which holds a request until somebody publishes a message: a long poll.

The protocol is that of the package `notifyrelay` 0.1.0. docs/architecture.md says why that package
is not used.
"""

import json
from dataclasses import dataclass, field
from typing import Any, List, Mapping, Optional
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from devaria import __version__
from devaria.common.config import (
    RELAY_ID_VARIABLE,
    RELAY_KEY_VARIABLE,
    RELAY_URL_VARIABLE,
    RELAY_VARIABLES,
    checked_worker_url,
    is_loopback,
)
from devaria.common.errors import BadSetting, NoAnswer, StrangeAnswer, Unauthorized
from devaria.common.http.fetching import Fetched, Fetcher, FetchError, TooBigError
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
        self._fetcher = Fetcher(
            f"devaria/{__version__}",
            max_bytes=_MAX_ANSWER_BYTES,
            takes_gzip=False,
            # As for a worker on loopback: no proxy can reach it, or may see the key.
            trust_env=not is_loopback(urlsplit(access.url).hostname or ""),
        )

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
        status, _, body = self._exchange(wait_sec)
        if status in (401, 403):
            raise Unauthorized(f"{self._what}: {status}; check {RELAY_KEY_VARIABLE}")
        if status != 200:
            raise StrangeAnswer(f"{self._what}: {status}")
        try:
            return _messages(body)
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise StrangeAnswer(f"{self._what}: this is not NotifyRelay's JSON") from None

    def end(self) -> None:
        """Cut the request that is waiting. No later one is answered."""
        self._fetcher.end()

    def close(self) -> None:
        """Close the connections. This is for the thread that polls."""
        self._fetcher.close()

    def _exchange(self, wait_sec: float) -> Fetched:
        """Make one request; the answer has a body if its status is 200."""
        connect_sec = self._timing.connect_timeout_sec
        limit_sec = wait_sec + connect_sec
        try:
            return self._fetcher.fetch(
                "POST",
                self._url,
                limit_sec=limit_sec,
                timeout_sec=(connect_sec, limit_sec),
                wants_body=lambda status: status == 200,
                json={
                    "subscriber_id": self._access.subscriber_id,
                    "subscriber_name": "devaria",
                    "topics": [TOPIC],
                    "timeout": int(wait_sec * 1000),
                },
                auth=_KeyAuth(self._access.key),
            )
        except TooBigError as error:
            raise StrangeAnswer(f"{self._what}: {error}") from error
        except FetchError as error:
            raise NoAnswer(f"{self._what}: {error}") from error


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
