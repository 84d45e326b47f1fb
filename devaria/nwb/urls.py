"""The form of a URL that may be fetched, and the form in which it may be printed."""

from urllib.parse import urlsplit

from devaria.nwb.errors import InvalidInputError, printable, without_queries


def checked_url(url: object) -> str:
    """Check the form of a URL: http or https, a host, no login, nothing unprintable.

    Args:
        url: What a submitter or a redirect gave.

    Returns:
        The URL, unchanged.

    Raises:
        InvalidInputError: It is not such a URL; the text says what it lacks.
    """
    if not isinstance(url, str):
        raise InvalidInputError("nwb_url must be a string")
    if not url.isprintable() or " " in url or len(url) > 8192:
        raise InvalidInputError("nwb_url must be a URL without spaces or control characters")
    try:
        parts = urlsplit(url)
        # A percent sign means something in an IPv6 address alone; libraries differ elsewhere.
        host = parts.hostname or "%"
        has_host = ("%" not in host or ":" in host) and parts.port != 0
    except ValueError:
        has_host = False
    if not has_host or parts.scheme not in ("http", "https"):
        raise InvalidInputError(f"nwb_url must be an http or https URL, not {shown_url(url)}")
    if parts.username is not None or parts.password is not None:
        raise InvalidInputError("nwb_url must not hold a user name or password")
    return url


def shown_url(url: str) -> str:
    """Give a URL as it may be printed: without its query string, which may be a signature.

    Args:
        url: Any URL, checked or not.

    Returns:
        One printable line of bounded length.
    """
    return printable(without_queries(url.split("#")[0]))
