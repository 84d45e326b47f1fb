"""Find embargoed files of the DANDI Archive with the operator's key.

The key stays in this process. The process that parses the file gets a signed URL, which the
archive's API answers with, and which expires.
"""

import time
from contextlib import closing
from typing import Callable, Optional

from requests.adapters import BaseAdapter

from devaria.nwb.errors import NwbError
from devaria.nwb.http.address_guard import AddressGuard, GuardedAdapter
from devaria.nwb.http.retry import HttpTiming, Retry, RetryableFault
from devaria.nwb.http.session import REDIRECTS, HttpSession, redirect_target
from devaria.nwb.links import DANDI_KEY_VARIABLE


def signed_url(
    url: str,
    key: str,
    *,
    timing: Optional[HttpTiming] = None,
    adapter: Optional[BaseAdapter] = None,
    wait: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> str:
    """Ask the archive's API where a file lies.

    The key is sent to the API alone: no redirect is followed.

    Args:
        url: URL of the file at the API.
        key: The operator's key.
        timing: Time-outs.
        adapter: Opens the connection, instead of the address guard.
        wait: Called with the seconds to wait before another try.
        clock: Returns monotonic time in seconds.

    Returns:
        The URL to which the API redirects; the same URL if it does not redirect.

    Raises:
        NwbError: The API cannot be reached, or refuses the key.
    """
    timing = timing or HttpTiming()
    guarded = GuardedAdapter(AddressGuard().connect, 1, timing.read_timeout_sec)
    with closing(HttpSession(url, adapter or guarded, timing, clock)) as session:
        try:
            return Retry(timing, wait, clock).run(lambda: _location(session, key))
        except RetryableFault as error:
            raise NwbError(f"{session.shown_url}: {error}") from None


def _location(session: HttpSession, key: str) -> str:
    headers = {"Authorization": f"token {key}"}
    with session.send("GET", session.url, headers) as response:
        status, location = response.status_code, response.headers.get("Location")
    if status in (401, 403):
        raise NwbError(
            f"{session.shown_url}: the DANDI Archive refuses the operator's key for this file "
            f"(HTTP {status}); the operator may check {DANDI_KEY_VARIABLE}"
        )
    if status not in REDIRECTS or location is None:
        return session.url
    return redirect_target(session.url, location, session.shown_url)
