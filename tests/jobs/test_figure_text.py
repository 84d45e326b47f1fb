"""The description of a figure: what strangers wrote stays text, and no signature shows."""

from typing import Any, Dict

import pytest

from devaria.jobs.figure_text import described, link_texts, titled

PAGE = "https://neurosift.app/nwb?url=https://h/x.nwb&dandisetId=000123"


def description(**params: Any) -> str:
    """Return what the description says below the file and the path."""
    text = described({"nwb_url": "https://h/x.nwb", **params}, "Units table", "/units")
    start = "NWB file: `https://h/x.nwb`\n\nUnits table: `/units`"
    assert text.startswith(start)
    return text[len(start) :].strip()


def test_where_the_job_comes_from() -> None:
    """The page is a link; the Dandiset's number is text; empty texts are left out."""
    assert description(neurosift_url=PAGE, dandiset_id="000123") == (
        f"Neurosift: <{PAGE}>\n\nDandiset: `000123`"
    )
    assert description(neurosift_url="", dandiset_id="") == description() == ""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://dandiarchive.org/dandiset/1", "<https://dandiarchive.org/dandiset/1>"),
        ("javascript:alert(1)", "`javascript:alert(1)`"),
        ("http://h/a b", "`http://h/a b`"),
        ("https://h/><b>x</b>", "`https://h/><b>x</b>`"),
        ("[l](http://x) `` `", "``` [l](http://x) `` ` ```"),
    ],
)
def test_only_web_addresses_are_links(text: str, shown: str) -> None:
    """Anything else is quoted, so that it acts neither as markdown nor as HTML."""
    assert description(dandiset_id=text) == f"Dandiset: {shown}"


def test_markdown_in_url_and_path_stays_text() -> None:
    """A parameter cannot end the code span that it stands in."""
    text = described({"nwb_url": "https://h/<b>`x``"}, "Units table", "/a`[l](http://x)")
    assert text == ("NWB file: ``` https://h/<b>`x`` ```\n\nUnits table: `` /a`[l](http://x) ``")


def test_notes_are_plain_text() -> None:
    """A name from the file cannot act as markdown or HTML, or begin a line."""
    notes = ["Part `nose`: <b>no</b> *times*\n# x", "- $x$", "1. Left out 2.5"]
    text = described({"nwb_url": "https://h/x"}, "Units table", "/units", notes)
    assert text.endswith(
        "\n\nPart \\`nose\\`: \\<b\\>no\\</b\\> \\*times\\*\\\\x0a\\# x"
        "\n\n\\- \\$x\\$\n\n1\\. Left out 2.5"
    )


def test_signature_in_the_page_address_is_hidden() -> None:
    """The page's address repeats the file's; if that is signed, its signature would show."""
    params = {"nwb_url": "https://h/x?sig=s3cr3t", "neurosift_url": f"{PAGE}%3Fsig%3Ds3cr3t"}
    text = described(params, "Units table", "/units")
    assert "s3cr3t" not in text
    assert "Neurosift: <https://neurosift.app/nwb?…>" in text


@pytest.mark.parametrize(
    "odd", [None, 5, True, 0.5, ["x"], {"x": 1}, "a\nb", "a\x1b[0m", "x" * 100_000]
)
def test_what_is_no_text_counts_as_not_given(odd: Any) -> None:
    """It makes no job fail, and is shown nowhere."""
    given: Dict[str, Any] = {"neurosift_url": odd, "dandiset_id": "", "other": odd}
    assert link_texts(given) == {"dandiset_id": ""}
    assert description(**given) == ""


ASSET = "0f6e4b1e-2b3c-4d5e-8f90-123456789abc"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://h/a/sub-1_ses-2.nwb", "sub-1_ses-2.nwb"),
        ("https://h/a/my%20file.nwb?sig=s3cr3t#x", "my file.nwb"),
        ("https://h/x.nwb/", "x.nwb"),
        (f"https://api.dandiarchive.org/api/assets/{ASSET}/download/", f"asset {ASSET}"),
        (f"https://h/api/dandisets/000003/versions/draft/assets/{ASSET}/", f"asset {ASSET}"),
        (f"https://dandiarchive.s3.amazonaws.com/blobs/0f6/e4b/{ASSET}", ASSET),
        ("https://h", "h"),
        ("https://h/%0A%1B[0m.nwb", "\\x0a\\x1b[0m.nwb"),
    ],
)
def test_title_names_the_file_and_the_path(url: str, name: str) -> None:
    """The file's own name, or DANDI's id; no query, and no control characters."""
    assert titled("Raster", url, "/units") == f"Raster: {name}, /units"


def test_title_is_bounded() -> None:
    """A name of a thousand characters leaves the path in the title."""
    title = titled("Raster", f"https://h/{'x' * 1000}", "/units", "from second 5 on")
    assert len(title) < 500
    assert title.endswith("/units, from second 5 on")
