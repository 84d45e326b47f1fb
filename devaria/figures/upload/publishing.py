"""Upload a figure with figpack's client, with time-outs and without leaking signed URLs.

figpack 0.4.1 makes HTTP calls without time-outs, retries only some of them, opens a connection for
each, and prints signed URLs. So two things are replaced during an upload: standard output, and
``requests.Session.request``, which figpack uses for all its calls. This module imports requests and
figpack only then.
"""

import contextlib
import io
import math
import os
import random
import re
import sys
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Callable, Optional, TextIO

from devaria.common.redaction import without_keys
from devaria.common.retry import Backoff
from devaria.common.text import without_queries
from devaria.figures.api_key import KEY_MISSING, KEY_VARIABLE

if TYPE_CHECKING:
    import figpack

    from devaria.figures.upload.connections import UploadConnections

#: The lines that figpack prints before the first file, and after each.
_STARTED = re.compile(r"Uploading (\d+) files")
_UPLOADED = re.compile(r"Uploaded (\d+)/(\d+)")

#: Called with the number of files uploaded, and the number of all files.
UploadProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class UploadLimits:
    """Time-outs and retries of an upload.

    Attributes:
        connect_timeout_sec: Longest time to connect, and to send a piece of a file.
        read_timeout_sec: Longest silence while an answer is awaited.
        tries: How often the whole upload is tried. In each try, figpack tries each file five times.
        backoff_sec: Wait before the second try. Before the third it is four times as long.
        max_retry_after_sec: Longest wait that a server may ask for with Retry-After.
        max_total_sec: After this time nothing more is sent.
    """

    connect_timeout_sec: float = 10.0
    read_timeout_sec: float = 60.0
    tries: int = 3
    backoff_sec: float = 5.0
    max_retry_after_sec: float = 60.0
    max_total_sec: float = 3600.0


def publish(
    view: "figpack.FigpackView",
    *,
    title: str,
    description: str = "",
    progress: Optional[UploadProgress] = None,
    limits: Optional[UploadLimits] = None,
    connections: "Optional[UploadConnections]" = None,
) -> str:
    """Upload a figure. After a fault that may pass, the whole upload is tried again.

    The key of the figpack service is in the environment variable ``FIGPACK_API_KEY``.

    Args:
        view: The figure, any view of figpack. figpack builds it before it uploads it.
        title: Title of the figure's page.
        description: Description in markdown.
        progress: Called with the files uploaded and all files, first with 0 files. It starts again
            with each try.
        limits: Time-outs and retries; None for the defaults.
        connections: Connections that are opened already; None to open some while figpack builds the
            figure. The caller closes those that it passes.

    Returns:
        The figure's URL.

    Raises:
        RuntimeError: The key is not set, the figure could not be built, or the upload failed. The
            text holds neither the key nor a signed URL.
    """
    if not os.environ.get(KEY_VARIABLE):
        raise RuntimeError(KEY_MISSING)
    limits = limits or UploadLimits()
    with contextlib.ExitStack() as stack:
        if connections is None:
            connections = stack.enter_context(opened_connections(limits))
        return _publish(partial(_show, view, title, description), progress, limits, connections)


def opened_connections(limits: Optional[UploadLimits] = None) -> "UploadConnections":
    """Open the connections for an upload in the background, while a figure is read and built.

    Args:
        limits: The limits of the upload; None for the defaults.

    Returns:
        The connections, for a ``with`` block and for `publish`.
    """
    from devaria.figures.upload.connections import UploadConnections

    connections = UploadConnections((limits or UploadLimits()).connect_timeout_sec)
    connections.open_ahead()
    return connections


def _publish(
    show: Callable[[], str],
    progress: Optional[UploadProgress],
    limits: UploadLimits,
    connections: "UploadConnections",
) -> str:
    from devaria.figures.upload.figpack_calls import FigpackCalls

    backoff = Backoff(limits.backoff_sec, math.inf, draw=_draw, factor=4.0)
    calls = FigpackCalls(
        connections,
        (limits.connect_timeout_sec, limits.read_timeout_sec),
        limits.max_retry_after_sec,
        limits.max_total_sec,
    )
    progress = progress or (lambda _done, _all: None)
    for attempt in range(1, limits.tries + 1):
        try:
            # Only then is standard output not that of another upload.
            with calls.watched(), contextlib.redirect_stdout(_Console(sys.stdout, progress)):
                return show()
        except Exception as error:
            text = f"{type(error).__name__}: {_without_secrets(str(error))}"
        if attempt == limits.tries or not calls.may_pass:
            break
        wait_sec = backoff.next_wait_sec()
        if calls.retry_after_sec:
            wait_sec = calls.retry_after_sec * _draw()
        print(f"The upload failed ({text}): trying again in {wait_sec:.0f} s")  # noqa: T201
        time.sleep(wait_sec)
    # Outside the except block: a chained exception would show figpack's own text.
    what = "the upload" if calls.began else "building the figure"
    tries = "" if attempt == 1 else f" after {attempt} tries"
    raise RuntimeError(f"{what} failed{tries}: {text}")


def _show(view: "figpack.FigpackView", title: str, description: str) -> str:
    url: str = view.show(
        title=title,
        description=description,
        upload=True,
        wait_for_input=False,
        open_in_browser=False,
        inline=False,
    )
    return url


def _draw() -> float:
    # Other runners may have met the same fault, and should not all try again at once.
    return random.uniform(1.0, 1.2)  # noqa: S311 - no secret depends on it


class _Console(io.TextIOBase):
    """Standard output without secrets. It reports the progress that figpack prints."""

    def __init__(self, target: TextIO, progress: UploadProgress) -> None:
        self._target = target
        self._progress = progress

    def write(self, text: str) -> int:
        # First the progress: who gets it may print lines, and this line has no end yet.
        started, uploaded = _STARTED.match(text), _UPLOADED.match(text)
        if started is not None:
            self._progress(0, int(started[1]))
        if uploaded is not None:
            self._progress(int(uploaded[1]), int(uploaded[2]))
        self._target.write(_without_secrets(text))
        return len(text)

    def flush(self) -> None:
        self._target.flush()


def _without_secrets(text: str) -> str:
    return without_queries(without_keys(text, [os.environ.get(KEY_VARIABLE, "")]))
