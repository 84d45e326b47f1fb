"""Parameters of a job that reads an NWB file: what passes, and what errors say about the rest."""

import pytest

from devaria.common.text import without_queries
from devaria.nwb.errors import InvalidInputError
from devaria.nwb.params import checked_path, checked_url


@pytest.mark.parametrize(
    "url",
    [None, 3, "", "/local/path.nwb", "file:///etc/passwd", "ftp://host/f", "http://", "https:///x",
     "http://host:99999/x", "http://[::1/x", "http://user:pw@host/x", "http://host/a b",
     "http://host/\x1b[2J", "http://host/" + "x" * 9000],
)  # fmt: skip
def test_other_urls_are_invalid_input(url: object) -> None:
    """Only an http(s) URL without a login passes; the error repeats no control characters."""
    with pytest.raises(InvalidInputError, match="nwb_url must") as caught:
        checked_url(url)
    assert str(caught.value).isprintable()


def test_queries_are_cut_in_any_text() -> None:
    """URLs in the messages of libraries lose their queries, with and without a host."""
    text = "HTTPSConnectionPool: Max retries exceeded with url: /a/b?X-Amz=1&s=2 (Caused by x)"
    assert without_queries(text) == (
        "HTTPSConnectionPool: Max retries exceeded with url: /a/b?… (Caused by x)"
    )
    assert without_queries("put 'https://h/p?sig=abc'?") == "put 'https://h/p?…'?"


def test_path_starts_at_the_root() -> None:
    """A path has a leading slash in the end, given with or without one."""
    assert checked_path("units") == checked_path("/units") == "/units"


@pytest.mark.parametrize(
    "path",
    [None, 1, "", "/", "//", "/a/../units", "/..", "/u\n", "/\x1b", "/" + "x" * 2000],
)
def test_other_paths_are_invalid_input(path: object) -> None:
    """A units path names something, and holds neither ``..`` nor control characters."""
    with pytest.raises(InvalidInputError, match="units_path must") as caught:
        checked_path(path)
    assert str(caught.value).isprintable()
