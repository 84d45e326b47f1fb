"""Text for people: escaped control characters, and secrets cut out."""

import re

import core_fixtures
import pytest
from core_fixtures import Process
from hypothesis import given
from hypothesis import strategies as st

from devaria.common.text import printable, redacted

# --- control characters ------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0x00, 0x07, 0x08, 0x0B, 0x0D, 0x1B, 0x7F, 0x80, 0x9B, 0x9F])
def test_control_characters_become_visible(code):
    """These are C0, DEL and C1, with carriage return and escape among them."""
    assert printable(f"a{chr(code)}b") == f"a\\x{code:02x}b"


@core_fixtures.thorough
@given(st.text())
def test_printable_text_has_no_control_characters_and_says_all_else(text):
    """Only newline and tab stay; what is printable comes out unchanged."""
    safe = printable(text)

    assert all(each in "\n\t" or ord(each) >= 0x20 for each in safe)
    assert not re.search("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", safe)
    if text.isprintable():
        assert safe == text


# --- secrets -----------------------------------------------------------------------------------

SECRET = st.text("abcdefgh0123456789-_", min_size=4, max_size=40)


@core_fixtures.thorough
@given(st.lists(st.one_of(st.text(), st.integers(0, 2)), max_size=20), st.lists(SECRET, min_size=3))
def test_no_secret_is_left_wherever_it_stands(parts, secrets):
    """No part is left of a secret that begins with another one."""
    text = "".join(part if isinstance(part, str) else secrets[part] for part in parts)

    safe = redacted(text, secrets)

    assert not any(secret in safe for secret in secrets)


def test_a_secret_that_begins_like_another_leaves_no_rest():
    """The longer one is cut out first."""
    assert redacted("key-1234-secret-part", ["key-1234", "key-1234-secret-part"]) == "***"


def test_empty_secrets_and_no_secrets_change_nothing():
    """A key that is not set must not turn the log into stars."""
    assert redacted("plain text", ["", ""]) == "plain text"
    assert redacted("plain text") == "plain text"


SIGNED = [
    "X-Amz-Signature=s3cr3t&X-Amz-Credential=s3cr3t",
    "AWSAccessKeyId=s3cr3t&Signature=s3cr3t&Expires=1",
    "sv=2024&sig=s3cr3t%3D",
    "token=s3cr3t",
    "a=b&api_key=s3cr3t",
    "X-GOOG-SIGNATURE=s3cr3t",
]


@pytest.mark.parametrize("query", SIGNED)
@pytest.mark.parametrize("around", ["{}", "<{}>", "('{}', 5)", "see {} and {}", "{}\n{}", "x{}"])
def test_the_query_of_a_signed_url_is_cut_out(query, around):
    """Any text may surround it. The address stays, since an operator needs it."""
    url = f"HTTPS://files.example.org/a/b.nwb?{query}"

    safe = redacted(around.replace("{}", url))

    assert "s3cr3t" not in safe
    assert safe == around.replace("{}", "HTTPS://files.example.org/a/b.nwb?***")


def test_an_ordinary_query_stays():
    """It may be what the operator needs to see."""
    text = "GET http://files.example.org/a?page=2&of=7 and http://files.example.org/b"

    assert redacted(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer s3cr3t",
        "authorization=bearer s3cr3t",
        "{'Authorization': 'Bearer s3cr3t', 'x': 1}",
        '"authorization": "s3cr3t"',
        "AUTHORIZATION:s3cr3t",
    ],
)
def test_an_authorization_that_an_error_quotes_is_cut_out(text):
    """This holds for each form in which a header is printed."""
    safe = redacted(text)

    assert "s3cr3t" not in safe
    assert "***" in safe


# --- hostile text ------------------------------------------------------------------------------

HOSTILE = """
from devaria.common.text import printable, redacted
for part in ("http://", "https://a?", "https://a?sig", "authorization", "authorization: ", "?", "&",
             "authorization: bearer", "authorization:'", "bearer ", "\\x1b", "\\n", "key-5f1"):
    for text in (part * (1_000_000 // len(part)), part + " " * 1_000_000, part + "h" * 1_000_000):
        printable(redacted(text, ["key-5f1c"]))
print("done")
"""


def test_a_megabyte_made_to_be_slow_is_not():
    """A job's console goes through here while the whole runner waits; the time must be linear."""
    with Process("-c", HOSTILE) as process:  # anything quadratic would take hours
        assert process.wait() == 0
        assert process.output == "done\n"
