"""Whether the figures of a cached result still exist."""

import time
from typing import Any, Iterator

import requests

from devaria.common import js_json
from devaria.worker.store.database import Clock
from devaria.worker.store.figures import DESCRIPTION, FigureStore

INDEX = "/index.html"
_TIMEOUT_SEC = 3.0  # for connecting, and for each read
_DEADLINE_SEC = 5.0  # for the whole answer
_MAX_BYTES = 1024 * 1024


def figures_are_alive(output: Any, figures: FigureStore, clock: Clock) -> bool:
    """Check that the figure of every ``figpack_url`` in a result still exists.

    A figure exists if its URL ends in ``/index.html`` and the ``figpack.json`` beside it can be
    read, is not ``deleted``, and is ``pinned`` or has an ``expiration`` in the future.

    Args:
        output: The result of a completed job.
        figures: The worker's own figure store.
        clock: Returns the time in epoch milliseconds.

    Returns:
        True if all figures exist; so a result without figures never expires.
    """
    return all(
        url.endswith(INDEX) and _is_alive(_description(url, figures), clock())
        for url in figure_urls(output)
    )


def figure_urls(output: Any) -> Iterator[str]:
    """Yield the strings under the key ``figpack_url``, at every depth of a JSON value."""
    if isinstance(output, dict):
        url = output.get("figpack_url")
        if isinstance(url, str):
            yield url
    children = output.values() if isinstance(output, dict) else output
    if isinstance(output, (dict, list)):
        for child in children:
            yield from figure_urls(child)


def _is_alive(description: Any, now: int) -> bool:
    if not isinstance(description, dict) or description.get("deleted"):
        return False
    expiration = description.get("expiration")
    in_future = isinstance(expiration, (int, float)) and expiration > now
    return description.get("pinned") is True or in_future


def _description(url: str, figures: FigureStore) -> Any:
    # The worker's own figures are read from the store. Over HTTP, a request would need a second
    # thread of this server, and requests in all threads would wait for each other.
    own = figures.figure_id(url)
    if own is not None:
        return figures.description(own)
    try:
        return _fetched(url[: -len(INDEX)] + "/" + DESCRIPTION)
    except (requests.RequestException, ValueError):
        return None  # as on the hosted worker, a figure that cannot be reached has expired


def _fetched(url: str) -> Any:
    deadline, content = time.monotonic() + _DEADLINE_SEC, b""
    # Without an auth object, requests would send a login of .netrc to a stranger's host.
    with requests.get(
        url, stream=True, timeout=_TIMEOUT_SEC, auth=lambda prepared: prepared
    ) as response:
        response.raise_for_status()
        for chunk in response.iter_content(64 * 1024):
            content += chunk
            if len(content) > _MAX_BYTES or time.monotonic() > deadline:
                return None
    return js_json.loads(content)
