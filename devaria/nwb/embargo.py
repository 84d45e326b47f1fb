"""Find embargoed files of the DANDI Archive with the operator's key.

The key stays in this process. The process that parses the file gets a signed URL, which the
archive's API answers with, and which expires.
"""

import time
from contextlib import closing
from typing import Callable, Optional

from requests.adapters import BaseAdapter

from devaria.common.http.bounded import BoundedSession
from devaria.nwb.errors import NwbError
from devaria.nwb.http.address_guard import AddressGuard, GuardedAdapter
from devaria.nwb.http.retry import HttpTiming, Retry, RetryableFault
from devaria.nwb.http.session import (
    REDIRECTS,
    REQUEST_ERRORS,
    printable_fault,
    redirect_target,
    retryable_fault,
)
from devaria.nwb.links import DANDI_KEY_VARIABLE
from devaria.nwb.params import shown_url


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
    with closing(BoundedSession()) as session:
        session.trust_env = False
        guarded = GuardedAdapter(AddressGuard(()).connect, 1, timing.read_timeout_sec)
        session.mount("https://", adapter or guarded)
        session.headers["Authorization"] = f"token {key}"
        try:
            return Retry(timing, wait, clock).run(lambda: _location(session, url, timing))
        except RetryableFault as error:
            raise NwbError(f"{shown_url(url)}: {error}") from None


def _location(session: BoundedSession, url: str, timing: HttpTiming) -> str:
    time_out = (timing.connect_timeout_sec, timing.read_timeout_sec)
    try:
        response = session.get(url, timeout=time_out, stream=True, allow_redirects=False)
    except REQUEST_ERRORS as error:
        fault: Optional[Exception] = printable_fault(error, shown_url(url))
    else:
        response.close()
        fault = retryable_fault(response)
    if fault is not None:
        raise fault from None
    if response.status_code in (401, 403):
        raise NwbError(
            f"{shown_url(url)}: the DANDI Archive refuses the operator's key for this file "
            f"(HTTP {response.status_code}); the operator may check {DANDI_KEY_VARIABLE}"
        )
    location = response.headers.get("Location")
    if response.status_code not in REDIRECTS or location is None:
        return url
    return redirect_target(url, location, shown_url(url))
