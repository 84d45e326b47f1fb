"""Pasted links: which stand for a file, and what the errors say of pages."""

import pytest

from devaria.nwb.errors import InvalidInputError
from devaria.nwb.links import file_url

WEBDAV = "https://webdav.dandiarchive.org/dandisets"
ASSET = "https://api.dandiarchive.org/api/assets/0af08bf4-e9ee-4e16-b8c0-0f94e34f9b1c"


@pytest.mark.parametrize(
    ("link", "url"),
    [
        (f" {ASSET}/download/\n", f"{ASSET}/download/"),
        (f"{ASSET}/download", f"{ASSET}/download"),
        ("https://example.org/a.nwb?x=/blob/", "https://example.org/a.nwb?x=/blob/"),
        (
            "s3://dandiarchive/blobs/0af/08b/0af08bf4",
            "https://dandiarchive.s3.amazonaws.com/blobs/0af/08b/0af08bf4",
        ),
        (
            "dandi://dandi/000006@0.220126.1855/sub-1/sub-1 a#b.nwb",
            f"{WEBDAV}/000006/releases/0.220126.1855/sub-1/sub-1%20a%23b.nwb",
        ),
        (
            "dandi://dandi/000006@draft/sub-1/a.nwb",
            f"{WEBDAV}/000006/draft/sub-1/a.nwb",
        ),
        (
            "dandi://dandi/000006/sub-1/a.nwb",
            f"{WEBDAV}/000006/draft/sub-1/a.nwb",
        ),
    ],
)
def test_links_of_files(link: str, url: str) -> None:
    """Links of the archive's tools become https URLs; URLs of files stay as they are."""
    assert file_url(link) == url


@pytest.mark.parametrize(
    ("link", "advice"),
    [
        ("https://dandiarchive.org/dandiset/000006/draft/files", "file's download button"),
        ("https://gui.dandiarchive.org/#/dandiset/000006", "file's download button"),
        (f"{ASSET}/", "add download/ to it"),
        (ASSET, "add download/ to it"),
        ("https://neurosift.app/nwb?url=https://h.org/a.nwb&x=1", "take https://h.org/a.nwb$"),
        ("https://neurosift.app/?p=/dandiset", "take the URL of the NWB file"),
        ("https://github.com/lab/data/blob/main/a.nwb", "Raw button"),
        ("https://drive.google.com/file/d/1abc/view", "downloads the file at once"),
        ("s3://elsewhere/a.nwb", "only for s3://dandiarchive/KEY"),
        ("s3://dandiarchive", "only for s3://dandiarchive/KEY"),
        ("dandi://dandi/000006", "like dandi://dandi/000006@draft/PATH"),
        ("dandi://sandbox/000006/a.nwb", "like dandi://dandi/000006@draft/PATH"),
        ("dandi://dandi/000006@../x/a.nwb", "like dandi://dandi/000006@draft/PATH"),
        ("dandi://dandi/000006/a\n.nwb", "without spaces or control characters"),
        ("s3://dandiarchive/\ud800", "without spaces or control characters"),
        ("ftp://example.org/a.nwb", "must be an http or https URL"),
        (7, "must be a string"),
    ],
)
def test_pages_are_refused(link: object, advice: str) -> None:
    """The error says which link to take."""
    with pytest.raises(InvalidInputError, match=advice) as caught:
        file_url(link)
    assert "\n" not in str(caught.value)


def test_a_signature_is_not_repeated() -> None:
    """The URL within a page's URL may be signed."""
    with pytest.raises(InvalidInputError, match=r"take https://h\.org/a\.nwb") as caught:
        file_url("https://neurosift.app/nwb?url=https://h.org/a.nwb%3FX-Signature=s3cr3t")
    assert "s3cr3t" not in str(caught.value)
