"""Explain the answers of servers that do not give a file."""

from typing import Optional
from urllib.parse import urlsplit

import requests

from devaria.nwb.errors import NoFileError, NwbError
from devaria.nwb.file_kind import foreign_kind
from devaria.nwb.http.answers import Part, codings_of, is_multipart, part_of
from devaria.nwb.http.retry import RetryableFault
from devaria.nwb.http.session import HttpSession, joined_bytes
from devaria.nwb.links import DANDI_API_HOST

#: Statuses of a server that does not accept a signed URL any more.
MAY_BE_EXPIRED = (400, 401, 403, 404, 410)

_MEANINGS = {
    401: "wants a login",
    403: "denies access",
    404: "has no such file",
    410: "has no such file any more",
}

#: What stores of files say in an answer with status 400 or 403: S3, S3, Azure.
_EXPIRED = (b"ExpiredToken", b"Request has expired", b"Signature not valid in the specified time")
_TEXT_BYTES = 4096


def refusal(response: requests.Response, session: HttpSession) -> NoFileError:
    """Return the exception for an answer without the file.

    Args:
        response: The answer to a request for the file. Its status is final.
        session: What requested it.
    """
    kind = foreign_kind(b"", session.url)
    if kind is not None:
        return NoFileError(f"{session.shown_url} is {kind}, not an NWB file")
    return NoFileError(f"{session.shown_url}: {meaning_of(response, session)}")


def meaning_of(response: requests.Response, session: HttpSession) -> str:
    """Explain an answer without the file by its status alone: a sentence about the server.

    Args:
        response: As for `refusal`.
        session: What requested it.
    """
    status = response.status_code
    meaning = _MEANINGS.get(status, "does not give the file")
    if status in (400, 403) and _says_expired(response, session):
        meaning = "says that the signed URL has expired: submit the job with a new one"
    if status in (401, 403) and urlsplit(session.url).hostname == DANDI_API_HOST:
        meaning += ", since the file may be embargoed; the runner's operator can allow it"
    return f"the server {meaning} (HTTP {status})"


def checked_part(response: requests.Response, session: HttpSession) -> Optional[Part]:
    """Return which part of the file an answer holds; None if it does not tell.

    Args:
        response: The answer to a request for a range.
        session: What requested it.

    Raises:
        NwbError: It holds no part, or one in a form that is of no use.
    """
    if response.status_code != 206:
        raise refusal(response, session)
    if codings_of(response):
        raise NwbError(f"{session.shown_url} is on a server that compresses ranges of it")
    if is_multipart(response):
        raise NwbError(
            f"{session.shown_url} is on a server that sends multipart/byteranges for a single range"
        )
    return part_of(response)


def _says_expired(response: requests.Response, session: HttpSession) -> bool:
    try:
        text = joined_bytes(session.pieces(response), _TEXT_BYTES)
    except RetryableFault:
        return False
    return any(words in text for words in _EXPIRED)
