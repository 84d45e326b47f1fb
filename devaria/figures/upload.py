"""Uploading a figure with figpack's own client, in a way that ends and tells no secrets.

figpack 0.4.1 gives its HTTP calls no time-outs, tries only some of them again, and puts signed
URLs into texts. Its files are not ours to change, so for the length of an upload two things of
this process are: ``requests.Session.request``, by which all its calls go, and standard output.
"""

import contextlib
import io
import os
import random
import re
import sys
import time
from dataclasses import dataclass
from typing import Any, Callable, Iterator, TextIO

import figpack
import requests

from devaria.common.retry import retry_after_sec
from devaria.common.text import without_queries

KEY_VARIABLE = "FIGPACK_API_KEY"

#: What figpack prints after each file.
_UPLOADED = re.compile(r"Uploaded (\d+)/(\d+)")

#: Called with files uploaded and files to upload.
UploadProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class UploadLimits:
    """How long an upload may wait, and how often it is tried.

    Attributes:
        connect_timeout_sec: Longest time to connect, and to get rid of a piece of a file.
        read_timeout_sec: Longest silence while an answer is awaited.
        tries: Tries of the upload as a whole; figpack tries each file five times in each.
        backoff_sec: Wait before the second try; before the third it is four times as long.
        max_retry_after_sec: Longest wait that a server may ask for by Retry-After.
        max_total_sec: After that time nothing more is sent.
    """

    connect_timeout_sec: float = 10.0
    read_timeout_sec: float = 60.0
    tries: int = 3
    backoff_sec: float = 5.0
    max_retry_after_sec: float = 60.0
    max_total_sec: float = 3600.0


def publish(
    view: figpack.FigpackView,
    *,
    title: str,
    description: str,
    progress: UploadProgress,
    limits: UploadLimits,
) -> str:
    """Upload a figure. After faults that may pass, the upload as a whole is tried again.

    Args:
        view: The figure.
        title: Its title.
        description: Its description, in markdown.
        progress: Is called with the files uploaded and to upload; it starts anew with each try.
        limits: How long it may take.

    Returns:
        The figure's URL.

    Raises:
        RuntimeError: The figure could not be built, or the upload failed; the text holds neither
            a key nor a signed URL.
    """
    calls = _Calls(limits)
    for attempt in range(1, limits.tries + 1):
        try:
            with calls.watched(), contextlib.redirect_stdout(_Console(sys.stdout, progress)):
                return _show(view, title, description)
        except Exception as error:
            text = f"{type(error).__name__}: {_without_secrets(str(error))}"
        if attempt == limits.tries or not calls.may_pass:
            break
        wait_sec = calls.wish_sec or limits.backoff_sec * 4 ** (attempt - 1)
        wait_sec *= random.uniform(1.0, 1.2)  # noqa: S311 - many runners may have met one fault
        print(f"The upload failed ({text}): trying again in {wait_sec:.0f} s")  # noqa: T201
        time.sleep(wait_sec)
    # Outside the except block: a chained exception would bring figpack's text back in.
    what = "the upload" if calls.began else "building the figure"
    tries = "" if attempt == 1 else f" after {attempt} tries"
    raise RuntimeError(f"{what} failed{tries}: {text}")


def _show(view: figpack.FigpackView, title: str, description: str) -> str:
    url: str = view.show(
        title=title,
        description=description,
        upload=True,
        wait_for_input=False,
        open_in_browser=False,
        inline=False,
    )
    return url


class _Calls:
    """The HTTP calls of one try: each with time-outs, and what came of them."""

    def __init__(self, limits: UploadLimits) -> None:
        self._timeout = (limits.connect_timeout_sec, limits.read_timeout_sec)
        self._max_wish_sec = limits.max_retry_after_sec
        self._end_sec = time.monotonic() + limits.max_total_sec
        self._max_total_sec = limits.max_total_sec
        self._may_pass = False
        self.began = False
        self.wish_sec = 0.0

    @property
    def may_pass(self) -> bool:
        """Whether another try makes sense: the last fault was the network's or the server's."""
        return self._may_pass and time.monotonic() < self._end_sec

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Have all calls of this process go through here."""
        self._may_pass, self.wish_sec = False, 0.0
        plain = requests.Session.request

        def request(
            session: requests.Session, method: str, url: str, **options: Any
        ) -> requests.Response:
            self.began = True
            if time.monotonic() > self._end_sec:
                raise TimeoutError(f"the job took more than {self._max_total_sec:,.0f} s")
            options.setdefault("timeout", self._timeout)
            try:
                response = plain(session, method, url, **options)
            except requests.RequestException:
                self._may_pass = True
                raise
            if not response.ok:
                self._see(response)
            return response

        requests.Session.request = request  # type: ignore[assignment,method-assign]
        try:
            yield
        finally:
            requests.Session.request = plain  # type: ignore[method-assign]

    def _see(self, response: requests.Response) -> None:
        self._may_pass = response.status_code in (408, 429) or response.status_code >= 500
        asked_sec = retry_after_sec(response.headers.get("Retry-After", ""), time.time())
        self.wish_sec = min(max(self.wish_sec, asked_sec or 0.0), self._max_wish_sec)


class _Console(io.TextIOBase):
    """Standard output without secrets; what figpack says of its progress is passed on."""

    def __init__(self, target: TextIO, progress: UploadProgress) -> None:
        self._target = target
        self._progress = progress

    def write(self, text: str) -> int:
        self._target.write(_without_secrets(text))
        match = _UPLOADED.match(text)
        if match is not None:
            self._progress(int(match[1]), int(match[2]))
        return len(text)

    def flush(self) -> None:
        self._target.flush()


def _without_secrets(text: str) -> str:
    key = os.environ.get(KEY_VARIABLE)
    return without_queries(text.replace(key, "…") if key else text)
