"""Checks before a route: runner id, API key, rate limit; and answers to malformed requests.

The worker makes the checks in the order of a route's decorators.
"""

import functools
import hmac
import sqlite3
from typing import Any, Callable, List, Tuple, TypeVar, cast

from flask import Response, request

from devaria.worker.api.web import Refusal, TooBigError, answer, services

View = TypeVar("View", bound=Callable[..., Response])


def checked(check: Callable[[], None]) -> Callable[[View], View]:
    """Decorate a route: run a check before it, and also before the body is received.

    Args:
        check: Looks at the head of the current request; raises `Refusal`.
    """

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def guarded(**arguments: Any) -> Response:
            check()
            return view(**arguments)

        guarded.checks = [check, *checks_of(view)]  # type: ignore[attr-defined] # functions take attributes
        return cast(View, guarded)

    return decorate


def checks_of(view: object) -> List[Callable[[], None]]:
    """Return the checks of a route, in their order."""
    checks: List[Callable[[], None]] = getattr(view, "checks", [])
    return checks


def needs_runner_id(view: View) -> View:
    """Decorate a route: refuse requests without ``X-Runner-ID``."""
    return checked(_check_runner_id)(view)


def needs_key(*levels: str) -> Callable[[View], View]:
    """Decorate a route: refuse requests without a key of one of these levels.

    Args:
        *levels: Names of fields of ``WorkerKeys``.
    """
    return checked(functools.partial(_check_authorization, levels))


def rate_limited(rule: str, limit: int, caller: Callable[[], str]) -> Callable[[View], View]:
    """Decorate a route: refuse requests over a rate limit.

    Requests that an earlier check refused are not counted.

    Args:
        rule: The limit's name; routes with the same name are counted together.
        limit: The number of requests that a caller has in 60 s.
        caller: Returns the caller of the current request.
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
    """Decorate a route: answer malformed requests with 500, and fields that are too big with 400.

    Args:
        verb: What the route failed to do, as the answer says it.
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
    """Compare two keys in a time that does not depend on where they differ."""
    return hmac.compare_digest(shown.encode("utf-8"), key.encode("utf-8"))


def caller_address() -> str:
    """Return the IP address of the connection; headers of a proxy could be forged."""
    return request.remote_addr or ""


def caller_runner() -> str:
    """Return the runner id that the caller sent."""
    return request.headers["X-Runner-ID"]


def _check_runner_id() -> None:
    if not request.headers.get("X-Runner-ID"):
        raise Refusal(400, error="Missing X-Runner-ID header")


def _check_authorization(levels: Tuple[str, ...]) -> None:
    header = request.headers.get("Authorization", "")
    if not header:
        raise Refusal(401, error="Missing Authorization header")
    scheme, *words = header.split(" ")
    if scheme != "Bearer" or len(words) != 1:
        raise Refusal(401, error="Invalid Authorization header format. Use: Bearer <token>")
    keys = services().keys
    if not any(same_key(words[0], getattr(keys, level)) for level in levels):
        raise Refusal(401, error="Invalid API key")


def _details(error: Exception) -> str:
    # The hosted worker's database reports a row over its size by this name.
    too_big = isinstance(error, sqlite3.IntegrityError) and "row_size" in str(error)
    return "string or blob too big: SQLITE_TOOBIG" if too_big else str(error)
