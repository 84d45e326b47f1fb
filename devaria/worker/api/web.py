"""What the routes share: the services they work with, answers, bodies."""

from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, cast

from flask import Response, current_app, request

from devaria.common import js_json
from devaria.worker.api.rate_limit import RateLimiter
from devaria.worker.dashboard.job_forms import ParamForm
from devaria.worker.keys import WorkerKeys
from devaria.worker.store.database import Clock
from devaria.worker.store.figures import FigureStore, UrlSigner
from devaria.worker.store.jobs import JobStore
from devaria.worker.store.runners import RunnerStore

EXTENSION = "devaria"
MAX_JSON_BYTES = 16 * 1024 * 1024
"""More than the biggest valid body, every character of it escaped, and little enough to parse."""


@dataclass(frozen=True)
class Services:
    """What the routes work with.

    Attributes:
        keys: The API keys.
        jobs: The job store.
        runners: The runner store.
        figures: The figure store.
        signer: Signs the upload URLs of the figure store.
        limiter: Counts requests; None turns rate limits off.
        clock: Gives the time in epoch milliseconds.
        job_forms: The declared parameters of job types, by name, for the dashboard.
    """

    keys: WorkerKeys
    jobs: JobStore
    runners: RunnerStore
    figures: FigureStore
    signer: UrlSigner
    limiter: Optional[RateLimiter]
    clock: Clock
    job_forms: Mapping[str, Mapping[str, ParamForm]]


class Refusal(Exception):
    """Ends a request with this answer.

    Args:
        status: The HTTP status.
        body: The JSON body.
    """

    def __init__(self, status: int, /, **body: Any) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body


def services() -> Services:
    """Give the services of the application that handles the current request.

    Returns:
        The services.
    """
    return cast(Services, current_app.extensions[EXTENSION])


def answer(status: int = 200, /, **body: Any) -> Response:
    """Build a JSON answer.

    Args:
        status: The HTTP status.
        **body: The JSON object.

    Returns:
        The response.
    """
    return Response(js_json.dumps(body), status, mimetype="application/json")


def json_body() -> Dict[str, Any]:
    """Read the request's body as JSON, whatever its Content-Type says.

    Returns:
        Its object; empty if it is another JSON value, whose fields are all absent then.

    Raises:
        ValueError: It is malformed, nested too deeply, null, or over 16 MiB.
    """
    if (request.content_length or 0) > MAX_JSON_BYTES:
        raise ValueError(f"Request body exceeds {MAX_JSON_BYTES} bytes")
    body = js_json.loads(request.get_data(cache=False))
    if body is None:
        raise ValueError("Request body is null")
    return body if isinstance(body, dict) else {}


def seen_runner() -> str:
    """Note that the calling runner is alive.

    Returns:
        Its id.
    """
    runner_id = request.headers["X-Runner-ID"]
    services().runners.saw(runner_id)
    return runner_id
