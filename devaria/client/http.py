"""HTTP exchanges with the worker: each returns a JSON object, or raises what the answer means."""

import json
import re
import time
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple, Type
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from devaria import __version__
from devaria.common.config import is_loopback
from devaria.common.contract import MAX_ANSWER_DEPTH
from devaria.common.errors import (
    ClaimLost,
    NoAnswer,
    NotFound,
    NotOurs,
    RateLimited,
    Refused,
    ServerError,
    StrangeAnswer,
    TooLarge,
    Unauthorized,
    WorkerError,
)
from devaria.common.js_json import STRING_OR_BRACKET
from devaria.common.retry import epoch_sec, retry_after_sec
from devaria.common.timing import Timing

_SNIPPET_CHARACTERS = 120

#: A `resetTime` beyond this (the year 5138), in milliseconds, is ignored.
_MAX_EPOCH_MS = 1e14

JsonObject = Dict[str, Any]


class Answer(NamedTuple):
    """A good answer of the worker.

    Args:
        body: The JSON object; empty if nothing has changed.
        may_wait: Whether the worker lets the request wait, as it asked.
        tag: Names what the answer shows; empty if the worker gave no tag.
        is_unchanged: Whether it would show only what the client has seen.
    """

    body: JsonObject
    may_wait: bool
    tag: str
    is_unchanged: bool


class _BearerAuth(AuthBase):
    """Sends the key. It is an auth object, since an entry in `.netrc` would replace a header."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request


class WorkerSession:
    """A keep-alive HTTP session with a worker, for one thread.

    Args:
        base_url: The worker's URL, without a path.
        key: Sent as a bearer token, without white space around it; nothing is sent if it is empty.
        timing: The time-outs of its requests.
    """

    def __init__(self, base_url: str, key: Optional[str], timing: Timing) -> None:
        self.base_url = base_url.rstrip("/")
        self.key = (key or "").strip()
        self._timing = timing
        self._session = requests.Session()
        # A proxy cannot reach this machine's loopback, and must not see the key.
        self._session.trust_env = not is_loopback(urlsplit(self.base_url).hostname or "")
        self._session.headers["User-Agent"] = f"devaria/{__version__}"

    def close(self) -> None:
        """Close the session's connections."""
        self._session.close()

    def request(self, method: str, path: str, **options: Any) -> JsonObject:
        """Send one request; the options are those of `exchange`. Return the answer's JSON object.

        Raises:
            WorkerError: Its subclass says what the answer, or its absence, means.
        """
        return self.exchange(method, path, **options).body

    def exchange(
        self,
        method: str,
        path: str,
        *,
        runner_id: Optional[str] = None,
        params: Optional[List[Tuple[str, str]]] = None,
        body: Optional[JsonObject] = None,
        accept: Tuple[int, ...] = (),
        read_timeout_sec: Optional[float] = None,
        wait_sec: Optional[int] = None,
        seen_tag: str = "",
    ) -> Answer:
        """Send one request. It is not repeated, and no redirect is followed.

        Args:
            method: `GET`, `POST` or `DELETE`.
            path: The path from the worker's root.
            runner_id: Sent as `X-Runner-ID`; None sends none.
            params: Query parameters.
            body: Sent as JSON.
            accept: Statuses beside 2xx whose JSON object is an answer too.
            read_timeout_sec: How long to wait for the answer, in seconds; None for the usual time.
            wait_sec: Ask the worker to wait this long for news, in seconds; None does not ask.
            seen_tag: The tag of what the client has seen, which is no news.

        Returns:
            The answer.

        Raises:
            WorkerError: Its subclass says what the answer, or its absence, means.
        """
        what = f"{method} {self.base_url}{path}"
        headers = {} if runner_id is None else {"X-Runner-ID": runner_id}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if seen_tag:
            headers["If-None-Match"] = seen_tag
        timing = self._timing
        timeout_sec = read_timeout_sec or timing.read_timeout_sec
        if wait_sec is not None:
            headers["Prefer"] = f"wait={wait_sec}"
            timeout_sec = max(timeout_sec, wait_sec + timing.wait_grace_sec)
        try:
            response = self._session.request(
                method,
                self.base_url + path,
                params=params,
                data=None if body is None else _encoded(body),
                headers=headers,
                auth=_BearerAuth(self.key),
                timeout=(timing.connect_timeout_sec, timeout_sec),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise NoAnswer(f"{what}: {reason_of(error, timing.connect_timeout_sec)}") from error
        is_unchanged = response.status_code == 304 and bool(seen_tag)
        return Answer(
            {} if is_unchanged else _checked(response, what, accept, self.key),
            wait_sec is not None and "wait" in response.headers.get("Preference-Applied", ""),
            response.headers.get("ETag", ""),
            is_unchanged,
        )


def _encoded(body: JsonObject) -> bytes:
    # Unescaped if possible: é takes 2 bytes, \u00e9 takes 6.
    try:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate, which only the escaped form can carry
        return json.dumps(body, allow_nan=False, separators=(",", ":")).encode("ascii")


def reason_of(error: Exception, connect_timeout_sec: float) -> str:
    """Return one line that says why a request failed.

    requests wraps the cause up to three times, and this finds the innermost one.
    """
    if isinstance(error, requests.ConnectTimeout):
        return f"no connection within {connect_timeout_sec:.0f} s"
    if isinstance(error, requests.ReadTimeout):
        return "no answer in time"
    cause: BaseException = error
    while True:
        inner = getattr(cause, "reason", None) or next(
            (arg for arg in reversed(cause.args) if isinstance(arg, BaseException)), None
        )
        if not isinstance(inner, BaseException):
            break
        cause = inner
    # urllib3 puts the connection object's repr before its text.
    text = str(cause).split(": ", 1)[-1] if "object at 0x" in str(cause) else str(cause)
    return text or type(cause).__name__


def _checked(
    response: requests.Response, what: str, accept: Tuple[int, ...], key: str
) -> JsonObject:
    """Return the JSON object of a good answer; raise the error that any other one means."""
    status = response.status_code
    answer = _json_object(response)
    if answer is None:
        raise _without_json(response, what, key)
    if (200 <= status < 300 and answer.get("success") is not False) or status in accept:
        return answer
    text = _snippet(str(answer.get("error") or answer.get("message") or ""), key)
    message = f"{what}: {status} {text}".rstrip()
    if status == 429:
        raise RateLimited(message, _retry_after_sec(response, answer))
    raise _meaning(status, answer, text)(message)


def _json_object(response: requests.Response) -> Optional[JsonObject]:
    body = response.content
    is_perhaps_deep = body.count(b"[") + body.count(b"{") > MAX_ANSWER_DEPTH
    try:
        answer = json.loads(_without_depths(response.text)) if is_perhaps_deep else response.json()
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _without_depths(text: str) -> str:
    """Replace every value that is nested deeper than `MAX_ANSWER_DEPTH` by null."""
    kept: List[str] = []
    depth = start = 0
    for match in re.finditer(STRING_OR_BRACKET, text):
        if match.group() in ("[", "{"):
            depth += 1
            if depth == MAX_ANSWER_DEPTH + 1:
                kept.append(text[start : match.start()])
        elif match.group() in ("]", "}"):
            if depth == MAX_ANSWER_DEPTH + 1:
                kept.append("null")
                start = match.end()
            depth -= 1
    if depth > MAX_ANSWER_DEPTH:
        raise ValueError("brackets that do not close")
    return "".join(kept) + text[start:]


def _without_json(response: requests.Response, what: str, key: str) -> WorkerError:
    content_type = response.headers.get("Content-Type", "no content type")
    snippet = _snippet(response.text, key)
    message = (
        f"{what}: expected a JSON object, got {response.status_code} {content_type}: {snippet!r}"
    )
    if response.status_code == 429:
        return RateLimited(message, _retry_after_sec(response, {}))
    if response.status_code == 413:
        return TooLarge(message)
    # A proxy may give such an answer while the worker still acts on the request.
    return NoAnswer(message) if response.status_code >= 500 else StrangeAnswer(message)


def _snippet(text: str, key: str) -> str:
    """Quote an answer in one short line, without the key, which a proxy's page may repeat."""
    if key:
        text = text.replace(key, "***")
    return " ".join(text[: 4 * _SNIPPET_CHARACTERS].split())[:_SNIPPET_CHARACTERS]


def _meaning(status: int, answer: Mapping[str, Any], text: str) -> Type[WorkerError]:
    # 413 comes from a proxy, which has limits of its own.
    if status == 413 or (status == 400 and "exceeds size limit" in text):
        return TooLarge
    if status == 400:
        return NotOurs if answer.get("success") is False else Refused
    if status >= 500:
        return ServerError
    if status == 404 and text == "Not found":
        return StrangeAnswer  # there is no such route, so this is no Devaria worker
    by_status: Dict[int, Type[WorkerError]] = {401: Unauthorized, 404: NotFound, 409: ClaimLost}
    return by_status.get(status, StrangeAnswer)


def _retry_after_sec(response: requests.Response, answer: Mapping[str, Any]) -> Optional[float]:
    """Return the wait that the worker asks for: its `resetTime` (ms) or `Retry-After`."""
    # By the worker's clock, if the answer has its time: this machine's may be hours off.
    there = epoch_sec(response.headers.get("Date", ""))
    now = time.time() if there is None else there
    reset = answer.get("resetTime")
    if isinstance(reset, (int, float)) and not isinstance(reset, bool):
        return reset / 1000 - now if abs(reset) < _MAX_EPOCH_MS else None  # also for NaN
    return retry_after_sec(response.headers.get("Retry-After", ""), now)
