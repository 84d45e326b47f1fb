"""Check job parameters: the URL of an NWB file, and the path of a group in it."""

import re
from typing import Any, List, Mapping, NamedTuple, Tuple, Union
from urllib.parse import unquote, urlsplit

from devaria.common.text import one_line, without_queries
from devaria.nwb.errors import InvalidInputError

#: The longest name of a file in a title, and of a column or unit.
_MAX_NAME_CHARACTERS = 200

#: Most units that a job names.
_MAX_UNITS_NAMED = 10_000


def checked_url(url: object) -> str:
    """Check that a URL is http or https, has a host and no login, and is printable.

    Args:
        url: The URL of a submitter or of a redirect.

    Returns:
        The URL, without white space before and after it.

    Raises:
        InvalidInputError: It is not such a URL. The text says what is wrong.
    """
    if not isinstance(url, str):
        raise InvalidInputError("nwb_url must be a string")
    url = url.strip()  # it was pasted
    if not url.isprintable() or " " in url or len(url) > 8192:
        raise InvalidInputError("nwb_url must be a URL without spaces or control characters")
    try:
        parts = urlsplit(url)
        # Libraries read a percent sign in a host differently, except in an IPv6 address.
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
    """Return a URL that is safe to print: without its query, which may hold a signature.

    Args:
        url: Any URL, checked or not.

    Returns:
        One printable line of limited length.
    """
    return one_line(without_queries(url.split("#")[0]))


def file_name(url: str) -> str:
    """Return what a file is called, for a title.

    Args:
        url: URL of the file, checked.

    Returns:
        The last part of the URL's path; for a download of the DANDI Archive, whose last part is the
        same for all files, the asset's id; the host if there is no path. One printable line.
    """
    parts = urlsplit(url)
    asset = re.search(r"/assets/([0-9A-Fa-f-]{36})(?:/|$)", parts.path)
    if asset:
        return f"asset {asset[1]}"
    names = path_names(parts.path)
    return one_line(unquote(names[-1]) if names else str(parts.hostname), _MAX_NAME_CHARACTERS)


def checked_path(path: object, name: str = "units_path", example: str = "/units") -> str:
    """Check the path of a group in the file.

    Args:
        path: The path that a submitter gave.
        name: The parameter's name, for the text of an error.
        example: A path of the right form, for the text of an error.

    Returns:
        The path with a leading slash.

    Raises:
        InvalidInputError: It is not a string, names nothing, or holds ``..`` or control characters.
    """
    if not isinstance(path, str):
        raise InvalidInputError(f"{name} must be a string such as {example}")
    if not path_names(path):
        raise InvalidInputError(
            f"{name} must be the path of a group, such as {example}, not '{one_line(path)}'"
        )
    if not path.isprintable() or len(path) > 1024 or ".." in path_names(path):
        raise InvalidInputError(f"{name} must not hold '..' or control characters")
    return path if path.startswith("/") else f"/{path}"


class UnitsChoice(NamedTuple):
    """Which units are drawn, and how.

    Args:
        units: Ids or rows; empty for all units.
        sort_by: A column of the table; empty for its own order.
        group_by: A column of the table; empty for no groups.
        align_to: The path of a column of times; empty for none.
    """

    units: Tuple[Union[int, str], ...]
    sort_by: str
    group_by: str
    align_to: str


def checked_choice(params: Mapping[str, Any]) -> UnitsChoice:
    """Check the optional parameters of a raster plot.

    Args:
        params: A job's parameters; those not given are absent or empty.

    Raises:
        InvalidInputError: One is not of its form. The text says which, and what is right.
    """
    units = params.get("units") or []
    if not isinstance(units, list) or len(units) > _MAX_UNITS_NAMED:
        raise InvalidInputError(f"units must be a list of at most {_MAX_UNITS_NAMED:,} ids or rows")
    for unit in units:
        is_id = isinstance(unit, str) and unit.isprintable() and len(unit) <= _MAX_NAME_CHARACTERS
        if not is_id and (not isinstance(unit, int) or isinstance(unit, bool)):
            raise InvalidInputError(
                "units must hold ids or rows only: whole numbers or short texts"
            )
    align_to = params.get("align_to") or ""
    if align_to:
        example = "/intervals/trials/start_time"
        align_to = checked_path(align_to, "align_to", example)
        if len(path_names(align_to)) < 2:
            raise InvalidInputError(f"align_to must name a table and its column, such as {example}")
        align_to = "/" + "/".join(path_names(align_to))
    sort_by, group_by = (
        _checked_column(params.get(name) or "", name) for name in ("sort_by", "group_by")
    )
    return UnitsChoice(tuple(units), sort_by, group_by, align_to)


def _checked_column(column: object, name: str) -> str:
    if not isinstance(column, str):
        raise InvalidInputError(f"{name} must be the name of a column, such as depth")
    if not column.isprintable() or "/" in column or len(column) > _MAX_NAME_CHARACTERS:
        raise InvalidInputError(f"{name} must be the name of a column, not '{one_line(column)}'")
    return column


def path_names(path: str) -> List[str]:
    """Split a path into its names.

    Args:
        path: Names separated by slashes.

    Returns:
        The names, without empty ones and without ``.``.
    """
    return [name for name in path.split("/") if name not in ("", ".")]
