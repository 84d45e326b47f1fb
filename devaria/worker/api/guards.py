"""What stands before a route: auth, rate limits, and the answers to malformed requests.

A route's decorators stand in the order in which the worker checks.
"""

import functools
import hmac
import sqlite3
from typing import Any, Callable, Tuple, TypeVar, cast

from flask import Response, request

from devaria.common.contract import TooBigError
from devaria.worker.api.web import Refusal, answer, services

View = TypeVar("View", bound=Callable[..., Response])


def needs_runner_id(view: View) -> View:
    """Refuse requests without ``X-Runner-ID``.

    Args:
        view: The route.

    Returns:
        The guarded route.
    """

    @functools.wraps(view)
    def guarded(**arguments: Any) -> Response:
        if not request.headers.get("X-Runner-ID"):
            raise Refusal(400, error="Missing X-Runner-ID header")
        return view(**arguments)

    return cast(View, guarded)


def needs_key(*levels: str) -> Callable[[View], View]:
    """Refuse requests that do not show a key of one of these levels.

    Args:
        *levels: Names of fields of ``WorkerKeys``.

    Returns:
        The decorator of the route.
    """

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def guarded(**arguments: Any) -> Response:
            _check_authorization(request.headers.get("Authorization", ""), levels)
            return view(**arguments)

        return cast(View, guarded)

    return decorate


def rate_limited(rule: str, limit: int, caller: Callable[[], str]) -> Callable[[View], View]:
    """Refuse requests over a rate limit. Only requests that got so far are counted.

    Args:
        rule: The limit's name; routes of the same name are counted together.
        limit: How many requests a caller has in 60 s.
        caller: Tells who asks.

    Returns:
        The decorator of the route.
    """

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def guarded(**arguments: Any) -> Response:
            limiter = services().limiter
            reset_time = limiter.refused_until(rule, caller(), limit) if limiter else None
            if reset_time is not None:
                raise Refusal(429, error="Rate limit exceeded", resetTime=reset_time)
            return view(**arguments)

        return cast(View, guarded)

    return decorate


def fails_to(verb: str) -> Callable[[View], View]:
    """Answer what a malformed request leads to: 500, and 400 for a field that is too big.

    Args:
        verb: What the route fails to do then.

    Returns:
        The decorator of the route.
    """

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def guarded(**arguments: Any) -> Response:
            try:
                return view(**arguments)
            except TooBigError as error:
                return answer(400, error=str(error))
            except (ValueError, sqlite3.Error) as error:
                return answer(500, error=f"Failed to {verb}", details=_details(error))

        return cast(View, guarded)

    return decorate


def same_key(shown: str, key: str) -> bool:
    """Compare keys in a time that tells nothing about where they differ.

    Args:
        shown: What the caller shows.
        key: The right one.

    Returns:
        Whether they are equal.
    """
    return hmac.compare_digest(shown.encode("utf-8"), key.encode("utf-8"))


def caller_address() -> str:
    """Tell the IP address of the caller.

    Returns:
        The address of the connection; a proxy's headers could be anybody's and are not read.
    """
    return request.remote_addr or ""


def caller_runner() -> str:
    """Tell the runner id that the caller shows.

    Returns:
        The id.
    """
    return request.headers["X-Runner-ID"]


def _check_authorization(header: str, levels: Tuple[str, ...]) -> None:
    if not header:
        raise Refusal(401, error="Missing Authorization header")
    scheme, *words = header.split(" ")
    if scheme != "Bearer" or len(words) != 1:
        raise Refusal(401, error="Invalid Authorization header format. Use: Bearer <token>")
    keys = services().keys
    if not any(same_key(words[0], getattr(keys, level)) for level in levels):
        raise Refusal(401, error="Invalid API key")


def _details(error: Exception) -> str:
    # The name by which the hosted worker's database reports a row over its size.
    too_big = isinstance(error, sqlite3.IntegrityError) and "row_size" in str(error)
    return "string or blob too big: SQLITE_TOOBIG" if too_big else str(error)
