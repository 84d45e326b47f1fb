"""What a request that failed means: a fault that may pass, or the end."""

import re
from typing import Optional

import requests
import urllib3

from devaria.nwb.errors import NwbError
from devaria.nwb.retry import TransientError

#: What requests raises, and what it lets through of urllib3 and of the encoding of host names.
REQUEST_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, ValueError)

_MEANINGS = {
    401: "wants a login",
    403: "denies access",
    404: "has no such file",
    410: "has no such file any more",
}


def fault_behind(error: Exception, shown_url: str) -> Exception:
    """Put an exception of a request into words that may be printed.

    Args:
        error: One of ``REQUEST_ERRORS``; its own text may hold a signed URL.
        shown_url: The URL as it may be printed.

    Returns:
        A TransientError; or an NwbError where the URL itself can never work.
    """
    if isinstance(error, ValueError):
        return NwbError(f"{shown_url} has no valid host name")
    if isinstance(error, (requests.Timeout, urllib3.exceptions.TimeoutError)):
        return TransientError("no answer in time")
    if isinstance(error, requests.exceptions.SSLError):
        return TransientError("no secure connection (TLS) with the server")
    return TransientError("the connection failed or broke")


def transient_fault_of(response: requests.Response) -> Optional[TransientError]:
    """Tell whether an answer asks for another try.

    Args:
        response: The answer; closed if it does.

    Returns:
        The fault behind status 429 or 5xx, with the server's Retry-After; None for any other.
    """
    if response.status_code != 429 and response.status_code < 500:
        return None
    response.close()
    wish = response.headers.get("Retry-After", "")
    seconds = float(wish) if re.fullmatch(r"\d{1,6}", wish) else None
    return TransientError(f"the server answers HTTP {response.status_code}", seconds)


def meaning_of(status: int) -> str:
    """Say what a server means by a status that is final.

    Args:
        status: The HTTP status.

    Returns:
        A verb phrase for a sentence that starts with "the server".
    """
    return _MEANINGS.get(status, "does not give the file")
