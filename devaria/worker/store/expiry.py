"""Whether the figures of a cached result still exist."""

import queue
import threading
from time import monotonic
from typing import Any, Iterator

from devaria import __version__
from devaria.common import js_json
from devaria.common.http.addresses import PublicHosts
from devaria.common.http.fetching import Fetcher, FetchError
from devaria.worker.store.database import Clock
from devaria.worker.store.figures import DESCRIPTION, FigureStore

INDEX = "/index.html"
#: The time for the check of all figures of a result, in seconds, with the lookup of names.
DEADLINE_SEC = 5.0
_TIMEOUTS_SEC = (3.0, 3.0)  # for connecting, and for each silence
_AGENT = f"devaria/{__version__}"
_MAX_BYTES = 1024 * 1024
#: How many checks may run at a time: each holds a thread of the server.
_MAX_CHECKS = 4


class FigureCheck:
    """Checks whether the figures of results still exist.

    Figures of the worker's own store are looked up there. Others are asked for over HTTP, at public
    addresses only: a result could name any address of the lab's network.

    Args:
        figures: The worker's own figure store.
        clock: Returns the time in epoch milliseconds.
        hosts: The hosts that may be asked.
    """

    def __init__(self, figures: FigureStore, clock: Clock, hosts: PublicHosts) -> None:
        self._figures = figures
        self._clock = clock
        self._hosts = hosts
        self._free = threading.Semaphore(_MAX_CHECKS)

    def all_alive(self, output: Any) -> bool:
        """Check that the figure of every ``figpack_url`` in a result still exists.

        A figure exists if its URL ends in ``/index.html`` and the ``figpack.json`` beside it can be
        read, is not ``deleted``, and is ``pinned`` or has an ``expiration`` in the future. While
        several other checks wait for answers, a figure elsewhere counts as existing.

        Args:
            output: The result of a completed job.

        Returns:
            True if all figures exist; so a result without figures never expires.
        """
        end = monotonic() + DEADLINE_SEC
        urls = dict.fromkeys(figure_urls(output))
        return all(url.endswith(INDEX) and self._is_alive(url, end) for url in urls)

    def _is_alive(self, url: str, end: float) -> bool:
        # A request to this very worker would need a second thread, and requests in all threads
        # would wait for each other.
        own = self._figures.figure_id(url)
        if own is not None:
            return _lives(self._figures.description(own), self._clock())
        if not self._free.acquire(blocking=False):
            return True
        found = self._asked(url[: -len(INDEX)] + "/" + DESCRIPTION, end - monotonic())
        return _lives(found, self._clock())

    def _asked(self, url: str, time_sec: float) -> Any:
        """Return the JSON at a URL; None if it cannot be had in time.

        A thread does it, since nothing can end a lookup of a name that hangs. The check counts
        among those that run until the thread has ended.
        """
        found: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def ask() -> None:
            try:
                found.put(_fetched(url, self._hosts, time_sec))
            finally:
                self._free.release()

        if time_sec <= 0:
            self._free.release()
            return None
        threading.Thread(target=ask, name="devaria-worker-figure", daemon=True).start()
        try:
            return found.get(timeout=time_sec)
        except queue.Empty:
            return None  # as on the hosted worker, a figure that cannot be reached has expired


def figure_urls(output: Any) -> Iterator[str]:
    """Yield the strings under the key ``figpack_url``, at every depth of a JSON value."""
    todo = [output]  # a result may be nested more deeply than functions can be
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            url = value.get("figpack_url")
            if isinstance(url, str):
                yield url
        if isinstance(value, (dict, list)):
            children = value.values() if isinstance(value, dict) else value
            todo.extend(reversed(list(children)))


def _lives(description: Any, now: int) -> bool:
    if not isinstance(description, dict) or description.get("deleted"):
        return False
    expiration = description.get("expiration")
    in_future = isinstance(expiration, (int, float)) and expiration > now
    return description.get("pinned") is True or in_future


def _fetched(url: str, hosts: PublicHosts, time_sec: float) -> Any:
    """Return the JSON at a URL of a stranger; None if there is none to be had."""
    # Proxies are not for such a host.
    fetcher = Fetcher(_AGENT, max_bytes=_MAX_BYTES, trust_env=False, connect=hosts.connect)
    try:
        answer = fetcher.fetch("GET", url, limit_sec=time_sec, timeout_sec=_TIMEOUTS_SEC)
        return js_json.loads(answer.body) if 200 <= answer.status < 300 else None
    except (FetchError, ValueError):
        return None
    finally:
        fetcher.close()
