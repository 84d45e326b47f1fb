"""The form of a URL that may be fetched, and the form in which it may be printed."""

from typing import List
from urllib.parse import urlsplit

from devaria.common.text import one_line, without_queries
from devaria.nwb.errors import InvalidInputError


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
    return one_line(without_queries(url.split("#")[0]))


def checked_units_path(path: object) -> str:
    """Check the form of the path of a units table.

    Args:
        path: What a submitter gave.

    Returns:
        The path, from the root of the file: with a slash in front.

    Raises:
        InvalidInputError: It is no string, names nothing, or holds ``..`` or control characters.
    """
    if not isinstance(path, str):
        raise InvalidInputError("units_path must be a string such as /units")
    if not path_names(path):
        raise InvalidInputError(
            f"units_path must be the path of a group, such as /units, not '{one_line(path)}'"
        )
    if not path.isprintable() or len(path) > 1024 or ".." in path_names(path):
        raise InvalidInputError("units_path must not hold '..' or control characters")
    return path if path.startswith("/") else f"/{path}"


def path_names(path: str) -> List[str]:
    """Take a path apart.

    Args:
        path: Names with slashes between them.

    Returns:
        The names; a slash too many is no name.
    """
    return [name for name in path.split("/") if name not in ("", ".")]
