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
from devaria.common.http.fetching import Fetched, Fetcher, FetchError, TooBigError
from devaria.common.js_json import STRING_OR_BRACKET, read
from devaria.common.retry import epoch_sec, retry_after_sec
from devaria.common.text import one_line
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
        # A proxy cannot reach this machine's loopback, and must not see the key.
        is_local = is_loopback(urlsplit(self.base_url).hostname or "")
        self._fetcher = Fetcher(f"devaria/{__version__}", trust_env=not is_local)

    def close(self) -> None:
        """Close the session's connections."""
        self._fetcher.close()

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
        limit_sec: Optional[float] = None,
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
            read_timeout_sec: The longest silence of the worker, in seconds; None for the usual one.
            limit_sec: How long the whole request may take, in seconds; None for the usual time.
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
        silence_sec = read_timeout_sec or timing.read_timeout_sec
        whole_sec = limit_sec or timing.answer_sec
        if wait_sec is not None:
            headers["Prefer"] = f"wait={wait_sec}"
            silence_sec = max(silence_sec, wait_sec + timing.wait_grace_sec)
            whole_sec += wait_sec
        data = None if body is None else _encoded(body)
        try:
            answer = self._fetcher.fetch(
                method,
                self.base_url + path,
                limit_sec=whole_sec,
                timeout_sec=(timing.connect_timeout_sec, silence_sec),
                params=params,
                data=data,
                headers=headers,
                auth=_BearerAuth(self.key),
            )
        except TooBigError as error:
            raise StrangeAnswer(f"{what}: {error}") from error
        except FetchError as error:
            raise NoAnswer(f"{what}: {_snippet(str(error), self.key)}") from error
        is_unchanged = answer.status == 304 and bool(seen_tag)
        return Answer(
            {} if is_unchanged else _checked(answer, what, accept, self.key),
            wait_sec is not None and "wait" in answer.headers.get("Preference-Applied", ""),
            answer.headers.get("ETag", ""),
            is_unchanged,
        )


def _encoded(body: JsonObject) -> bytes:
    # Unescaped if possible: é takes 2 bytes, \u00e9 takes 6.
    try:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate, which only the escaped form can carry
        return json.dumps(body, allow_nan=False, separators=(",", ":")).encode("ascii")


def _checked(answer: Fetched, what: str, accept: Tuple[int, ...], key: str) -> JsonObject:
    """Return the JSON object of a good answer; raise the error that any other one means."""
    status = answer.status
    content = _json_object(answer.body)
    if content is None:
        raise _without_json(answer, what, key)
    if (200 <= status < 300 and content.get("success") is not False) or status in accept:
        return content
    text = _snippet(str(content.get("error") or content.get("message") or ""), key)
    message = f"{what}: {status} {text}".rstrip()
    if status == 429:
        error: WorkerError = RateLimited(message, _retry_after_sec(answer, content))
    else:
        error = _meaning(status, content, text)(message)
    error.status = status
    raise error


def _json_object(body: bytes) -> Optional[JsonObject]:
    """Parse a body. It is UTF-8 (RFC 8259), whatever the headers say."""
    text = body.decode("utf-8", "replace")
    is_perhaps_deep = text.count("[") + text.count("{") > MAX_ANSWER_DEPTH
    try:
        content = read(_without_depths(text) if is_perhaps_deep else text)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


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


def _without_json(answer: Fetched, what: str, key: str) -> WorkerError:
    content_type = one_line(answer.headers.get("Content-Type", "no content type"), 60)
    snippet = _snippet(answer.body.decode("utf-8", "replace"), key)
    message = f"{what}: expected a JSON object, got {answer.status} {content_type}: {snippet!r}"
    error: WorkerError
    if answer.status == 429:
        error = RateLimited(message, _retry_after_sec(answer, {}))
    elif answer.status == 413:
        error = TooLarge(message)
    else:
        # A proxy may give such an answer while the worker still acts on the request.
        error = NoAnswer(message) if answer.status >= 500 else StrangeAnswer(message)
    error.status = answer.status
    return error


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


def _retry_after_sec(answer: Fetched, content: Mapping[str, Any]) -> Optional[float]:
    """Return the wait that the worker asks for: its `resetTime` (ms) or `Retry-After`."""
    # By the worker's clock, if the answer has its time: this machine's may be hours off.
    there = epoch_sec(answer.headers.get("Date", ""))
    now = time.time() if there is None else there
    reset = content.get("resetTime")
    if isinstance(reset, (int, float)) and not isinstance(reset, bool):
        return reset / 1000 - now if abs(reset) < _MAX_EPOCH_MS else None  # also for NaN
    return retry_after_sec(answer.headers.get("Retry-After", ""), now)
