"""Links to NWB files as people paste them. Some stand for a file, others are pages about one."""

import re
from typing import Callable, Mapping, NamedTuple, Tuple
from urllib.parse import parse_qs, quote, urlsplit

from devaria.common.text import one_line
from devaria.nwb.errors import InvalidInputError
from devaria.nwb.params import checked_url, shown_url

#: The API of the DANDI Archive.
DANDI_API_HOST = "api.dandiarchive.org"

#: The operator's key of the archive, and the switch that allows its use with ``yes``.
DANDI_KEY_VARIABLE, DANDI_SWITCH_VARIABLE = "DEVARIA_DANDI_API_KEY", "DEVARIA_DANDI_EMBARGOED"

# The archive's own tool prints such links (https://dandi.readthedocs.io). The archive serves each
# file under its path, too (https://webdav.dandiarchive.org).
_DANDI_LINK = re.compile(r"dandi://dandi/(\d{6})(?:@(draft|\d+\.\d+\.\d+))?/(.+)")
_DANDI_FILES = "https://webdav.dandiarchive.org/dandisets"
_S3_LINK = re.compile(r"s3://dandiarchive/(.+)")
_S3_FILES = "https://dandiarchive.s3.amazonaws.com"


class _Page(NamedTuple):
    """Pages of a site: of which hosts, at which paths, and what the error says of a URL."""

    hosts: Tuple[str, ...]
    is_page: Callable[[str], bool]
    text: Callable[[str], str]


def file_url(link: object) -> str:
    """Return the URL of the file that a link means.

    ``dandi://dandi/000006@draft/PATH`` and ``s3://dandiarchive/KEY`` become https URLs. All others
    stay as they are.

    Args:
        link: What a submitter gave.

    Raises:
        InvalidInputError: It is no http or https URL, or it leads to a page about the file. The
            text says which link to take.
    """
    if not isinstance(link, str):
        return checked_url(link)
    link = link.strip()
    if not link.isprintable():
        return checked_url(link)  # raises
    if link.startswith("dandi://"):
        return checked_url(_of_dandi(link))
    if link.startswith("s3://"):
        return checked_url(_of_bucket(link))
    url = checked_url(link)
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    for page in _PAGES:
        if host in page.hosts and page.is_page(parts.path):
            raise InvalidInputError(f"nwb_url is {page.text(url)}")
    return url


def may_be_embargoed(url: str, environ: Mapping[str, str]) -> bool:
    """Tell whether the operator's key is to be used for a file.

    Args:
        url: URL of the file.
        environ: Environment variables. The switch must be ``yes``, and the key must be set.
    """
    is_allowed = (
        environ.get(DANDI_SWITCH_VARIABLE) == "yes" and environ.get(DANDI_KEY_VARIABLE, "").strip()
    )
    parts = urlsplit(url)
    is_api = (parts.scheme, parts.hostname, parts.port or 443) == ("https", DANDI_API_HOST, 443)
    return bool(is_allowed) and is_api


def _of_dandi(link: str) -> str:
    match = _DANDI_LINK.fullmatch(link)
    if match is None:
        raise InvalidInputError(
            f"nwb_url must be like dandi://dandi/000006@draft/PATH, not {one_line(link)}"
        )
    dandiset, version, path = match.groups()
    place = "draft" if version in (None, "draft") else f"releases/{version}"
    return f"{_DANDI_FILES}/{dandiset}/{place}/{quote(path)}"


def _of_bucket(link: str) -> str:
    match = _S3_LINK.fullmatch(link)
    if match is None:
        raise InvalidInputError(
            "nwb_url may start with s3:// only for s3://dandiarchive/KEY: take the file's https URL"
        )
    return f"{_S3_FILES}/{quote(match[1])}"


def _of_neurosift(url: str) -> str:
    found = parse_qs(urlsplit(url).query).get("url", [""])[0]
    which = f": take {shown_url(found)}" if found.startswith("http") else ""
    return f"a page of Neurosift, not a file{which or ': take the URL of the NWB file'}"


def _says(text: str) -> Callable[[str], str]:
    return lambda _url: text


#: Pages that people paste in place of the file.
_PAGES = (
    _Page(
        ("dandiarchive.org", "www.dandiarchive.org", "gui.dandiarchive.org"),
        lambda _path: True,
        _says(
            "a page of the DANDI Archive, not a file: take the link of the file's download button,"
            f" such as https://{DANDI_API_HOST}/api/assets/ID/download/"
        ),
    ),
    _Page(
        (DANDI_API_HOST,),
        lambda path: not path.rstrip("/").endswith("/download"),
        _says("the DANDI Archive's description of a file: add download/ to it"),
    ),
    _Page(("neurosift.app", "www.neurosift.app"), lambda _path: True, _of_neurosift),
    _Page(
        ("github.com", "www.github.com"),
        lambda path: "/blob/" in path,
        _says("a page of GitHub, not a file: take the link of its Raw button"),
    ),
    _Page(
        ("drive.google.com",),
        lambda path: path.startswith(("/file", "/open")),
        _says("a page of Google Drive, not a file: take a link that downloads the file at once"),
    ),
)
