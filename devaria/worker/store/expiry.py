"""Whether the figures of a cached result are still there."""

import time
from typing import Any, Iterator

import requests

from devaria.common import js_json
from devaria.worker.store.database import Clock
from devaria.worker.store.figures import DESCRIPTION, FigureStore

INDEX = "/index.html"
_TIMEOUT_SEC = 3.0  # for connecting, and for each read
_DEADLINE_SEC = 5.0  # for the whole of the answer
_MAX_BYTES = 1024 * 1024


def figures_are_alive(output: Any, figures: FigureStore, clock: Clock) -> bool:
    """Check every ``figpack_url`` in a result, at any depth.

    Args:
        output: The result of a completed job.
        figures: The worker's own figure store.
        clock: Gives the time in epoch milliseconds.

    Returns:
        True if each ends in ``/index.html`` and the ``figpack.json`` beside it can be read, is
        not ``deleted``, and is ``pinned`` or has an ``expiration`` (milliseconds) in the future.
        Results without such URLs never expire.
    """
    return all(
        url.endswith(INDEX) and _is_alive(_description(url, figures), clock())
        for url in figure_urls(output)
    )


def figure_urls(output: Any) -> Iterator[str]:
    """Find the strings under the key ``figpack_url``.

    Args:
        output: Any JSON value.

    Yields:
        The strings, at every depth.
    """
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
    # A figure of this worker is read from its store: asking over HTTP would need a second thread
    # of the same server, and with every thread asking none would answer.
    own = figures.figure_id(url)
    if own is not None:
        return figures.description(own)
    try:
        return _fetched(url[: -len(INDEX)] + "/" + DESCRIPTION)
    except (requests.RequestException, ValueError):
        return None  # as on the hosted worker, a figure that cannot be reached counts as gone


def _fetched(url: str) -> Any:
    deadline, content = time.monotonic() + _DEADLINE_SEC, b""
    # An auth object that adds nothing: without one, a login in .netrc would be sent to strangers.
    with requests.get(
        url, stream=True, timeout=_TIMEOUT_SEC, auth=lambda prepared: prepared
    ) as response:
        response.raise_for_status()
        for chunk in response.iter_content(64 * 1024):
            content += chunk
            if len(content) > _MAX_BYTES or time.monotonic() > deadline:
                return None
    return js_json.loads(content)
