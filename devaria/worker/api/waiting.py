"""Requests that ask to wait for news, by `Prefer: wait=SECONDS` (RFC 7240)."""

import functools
import hashlib
import re
import time
from typing import Any, Callable, Optional, Pattern

from flask import Response, make_response, request

from devaria.worker.api.web import services

#: A route, with any of the answers that Flask takes.
Route = Callable[..., Any]

#: A longer wait is cut to this, in seconds.
MAX_WAIT_SEC = 60

_WAIT = re.compile(r'(?:^|[,;])\s*wait\s*=\s*"?(\d{1,9})"?\s*(?=$|[,;])', re.IGNORECASE)


def wanted_wait_sec() -> Optional[int]:
    """Return how long the current request asks to wait, in seconds; None if it does not ask."""
    wanted = _WAIT.search(request.headers.get("Prefer", ""))
    return None if wanted is None else min(int(wanted.group(1)), MAX_WAIT_SEC)


def is_gone() -> Callable[[], bool]:
    """Return a function that says whether the client of the current request is gone."""
    asked: Callable[[], bool] = request.environ.get("waitress.client_disconnected", lambda: False)
    return asked


def applied(response: Response, wait_sec: int) -> Response:
    """Say in an answer that its request could wait."""
    response.headers["Preference-Applied"] = f"wait={wait_sec}"
    return response


def tells_changes(times: Pattern[bytes]) -> Callable[[Route], Callable[..., Response]]:
    """Decorate a route that shows a job, or all jobs: let a reader wait for a change.

    The answer to a request with ``Prefer`` has an ``ETag`` for what it shows. A request with this
    tag in ``If-None-Match`` is answered when there is something else to show, or with 304 when its
    time is over. If too many readers wait, it is answered at once, without ``Preference-Applied``.

    Args:
        times: Parts of a body that pass with the time. They do not count as changes.
    """

    def decorate(route: Route) -> Callable[..., Response]:
        @functools.wraps(route)
        def waiting(**arguments: Any) -> Response:
            wait_sec = wanted_wait_sec()
            if wait_sec is None:
                return make_response(route(**arguments))

            def look() -> Response:
                response = make_response(route(**arguments))
                if response.status_code == 200:
                    shown = hashlib.blake2b(times.sub(b"", response.get_data()), digest_size=16)
                    response.set_etag(shown.hexdigest(), weak=True)
                    response.make_conditional(request)
                return response

            return _answered(look, arguments.get("job_id"), wait_sec)

        return waiting

    return decorate


def _answered(look: Callable[[], Response], job_id: Optional[str], wait_sec: int) -> Response:
    """Look until there is something that the client has not seen, or its time is over."""
    until = time.monotonic() + wait_sec
    if not request.if_none_match:
        return applied(look(), wait_sec)
    with services().news.reading(job_id, is_gone()) as wait:
        if wait is None:
            return look()
        response = look()
        while response.status_code == 304 and wait.sleep(until):
            wait.begin_look()
            response = look()
    return applied(response, wait_sec)
