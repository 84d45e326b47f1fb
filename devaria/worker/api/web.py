"""Shared parts of all routes: services, JSON bodies and answers, sizes of fields."""

import codecs
from dataclasses import dataclass
from typing import Any, Dict, Optional, cast

from flask import Response, current_app, request

from devaria.common import js_json
from devaria.worker.api.rate_limit import RateLimiter
from devaria.worker.keys import WorkerKeys
from devaria.worker.store import deep_json
from devaria.worker.store.database import Clock
from devaria.worker.store.expiry import FigureCheck
from devaria.worker.store.figures import FigureStore, UrlSigner
from devaria.worker.store.jobs import JobStore
from devaria.worker.store.news import JobNews
from devaria.worker.store.runners import RunnerStore

#: The application holds its `Services` under this name.
SERVICES = "devaria"
_KIB = 1024
#: The longest body that is read, by the group of routes: more than the largest valid one with every
#: character escaped. Routes that are not named take none. The file of a figure has its own limit.
MAX_BODY_BYTES = {
    "runner": 16 * 1024 * _KIB,
    "jobs": 768 * _KIB,
    "admin": 768 * _KIB,
    "figures": 768 * _KIB,
    "dashboard": 768 * _KIB,
}
#: A body that no route reads may have this size: it costs memory, but no file.
_IGNORED_BYTES = 64 * _KIB


@dataclass(frozen=True)
class Services:
    """The objects that the routes work with.

    Attributes:
        news: Lets requests wait for changes of jobs.
        signer: Signs the upload URLs of figures.
        limiter: Counts requests; None turns rate limits off.
        clock: Returns the time in epoch milliseconds.
    """

    keys: WorkerKeys
    jobs: JobStore
    news: JobNews
    runners: RunnerStore
    figures: FigureStore
    figure_check: FigureCheck
    signer: UrlSigner
    limiter: Optional[RateLimiter]
    clock: Clock


class Refusal(Exception):
    """End the request with an error answer.

    Args:
        status: The HTTP status.
        body: The fields of the JSON body.
    """

    def __init__(self, status: int, /, **body: Any) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body


class TooBigError(Exception):
    """A field exceeds its limit; the text is what the worker answers."""


def services() -> Services:
    """Return the services of the application that handles the current request."""
    return cast(Services, current_app.extensions[SERVICES])


def answer(status: int = 200, /, **body: Any) -> Response:
    """Build a JSON answer; the keywords are the fields of its body."""
    return Response(deep_json.dumps(body), status, mimetype="application/json")


def max_body_bytes() -> int:
    """Return how long the body of the current request may be, in bytes."""
    if request.method not in ("POST", "PUT"):
        return _IGNORED_BYTES  # no such route reads one, and some check no key
    return MAX_BODY_BYTES.get(request.blueprint or "", _IGNORED_BYTES)


def json_body() -> Dict[str, Any]:
    """Read the request's body as JSON, whatever its Content-Type is.

    Returns:
        The object in the body. Other JSON values count as an empty object: no field is present.

    Raises:
        ValueError: The body is malformed, nested too deeply, null, or too long.
    """
    if (request.content_length or 0) > max_body_bytes():
        raise ValueError(f"Request body exceeds {max_body_bytes()} bytes")
    data = request.get_data(cache=False)
    if data.startswith(codecs.BOM_UTF8):
        raise ValueError("Unexpected token in JSON: a byte order mark")
    body = deep_json.loads(data)
    if body is None:
        raise ValueError("Request body is null")
    return body if isinstance(body, dict) else {}


def check_size(what: str, text: str, limit: int) -> None:
    """Refuse a field that exceeds its limit.

    Args:
        what: The field's name in the answer.
        text: The field; for JSON values, their compact JSON.
        limit: The largest size in UTF-16 code units. The answer calls them bytes, as the hosted
            worker does.

    Raises:
        TooBigError: The field is larger.
    """
    if js_json.utf16_length(text) > limit:
        raise TooBigError(f"{what} exceeds size limit of {limit} bytes")


def seen_runner() -> str:
    """Note that the calling runner is alive, and return its id."""
    runner_id = request.headers["X-Runner-ID"]
    services().runners.saw(runner_id)
    return runner_id
