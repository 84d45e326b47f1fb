"""Keys and other credentials, cut out of texts."""

import re
from base64 import b64decode, b64encode, urlsafe_b64encode
from urllib.parse import quote, unquote

import core_fixtures
import pytest
from core_fixtures import Process
from hypothesis import given
from hypothesis import strategies as st

from devaria.common.redaction import is_too_short, redacted, value_without_keys, without_keys

SECRET = st.text("abcdefgh0123456789-_", min_size=8, max_size=40)


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


def test_a_short_key_is_not_searched_for():
    """It would be cut out of every word that it is a part of."""
    assert redacted("the worker works", ["rk", "worker"]) == "the worker works"
    assert [is_too_short(key) for key in ("", "a", "1234567", "12345678")] == [
        False,
        True,
        True,
        False,
    ]


# --- other forms of a key ----------------------------------------------------------------------

KEY = "s3cr3t+/key~5f1c8d9e 0a1b>>>???"
FORMS = {
    "as it is": KEY,
    "percent-encoded": quote(KEY, safe=""),
    "percent-encoded in small letters": re.sub("%..", lambda code: code[0].lower(), quote(KEY)),
    "each character percent-encoded": "".join(f"%{ord(each):02X}" for each in KEY),
    **{
        f"base64 after {number} bytes": b64encode(b"u:" * 3 + b"x" * number + KEY.encode()).decode()
        for number in range(3)
    },
    **{
        f"base64 for URLs before {number} bytes": urlsafe_b64encode(
            KEY.encode() + b"x" * number
        ).decode()
        for number in range(3)
    },
    "in colours": "\x1b[1;31m".join(KEY),
    "in colours of 256": "\x1b[38;5;196m".join((KEY[:9], KEY[9:])),
    "in 8-bit codes": "\x9b0m".join(KEY),
    "with links": f"{KEY[:9]}\x1b]8;;http://x\x07{KEY[9:]}",
    "with a link that ends otherwise": f"{KEY[:9]}\x1b]8;;http://x\x1b\\{KEY[9:]}",
    "with a character set": f"{KEY[:9]}\x1b(B{KEY[9:]}",
    "over lines": "\r\n".join((KEY[:9], KEY[9:])),
    "with backspaces and characters of no width": f"{KEY[:9]}\x00\u200b{KEY[9:]}",
    "base64 over lines": "\n".join(re.findall(".{1,16}", b64encode(KEY.encode()).decode())),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("around", ["{}", "a {} b", "\x1b[0mline\n{}\nline\n", "{}{}"])
def test_a_key_is_found_in_every_form_that_programs_make(form, around):
    """What is left does not tell the key; the text around it stays."""
    text = around.replace("{}", form)

    safe = redacted(text, ["another-key-1234", KEY])

    assert "***" in safe
    assert not leaks(safe)
    if around.startswith("\x1b"):
        assert safe.startswith("\x1b[0mline\n")
        assert safe.endswith("\nline\n")


def leaks(text):
    """Whether a reader could still take the key off a text."""
    seen = re.sub("\x1b\\[[0-9;]*m|\x1b\\]8[^\x07\x1b]*(\x07|\x1b.)|\x1b\\(B|\x9b0m", "", text)
    seen = re.sub("[\x00-\x1f\u200b]", "", unquote(seen))
    texts = [seen]
    for word in re.findall("[A-Za-z0-9+/_-]{8,}", seen):
        for start in range(4):
            data = word[start:].translate({ord("-"): "+", ord("_"): "/"})
            texts.append(b64decode(data[: len(data) // 4 * 4]).decode("latin-1"))
    return any(KEY[:8] in each or KEY[-8:] in each for each in texts)


def test_the_test_would_see_a_leak():
    """It reads each of the forms."""
    assert all(leaks(form) for form in FORMS.values())


#: Any text that does not begin an escape code, which would take the first letter of a key with it.
PRINTED = st.text(st.characters(blacklist_categories=("Cc", "Cs")))


@core_fixtures.thorough
@given(
    st.lists(st.sampled_from(["", "\n", "\x1b[0m", "\r", "\x1b[1;2H"]), min_size=20, max_size=20),
    PRINTED,
    PRINTED,
)
def test_whatever_breaks_a_key_the_rest_of_the_text_stays(breaks, before, after):
    """The text before the key and behind it is what it was."""
    key = "k3y-5f1c8d9e0a1b2c3d"
    broken = "".join(map("".join, zip(key, breaks)))

    safe = without_keys(f"{before}<{broken}>{after}", [key])

    assert safe.startswith(f"{before}<***")
    assert safe.endswith(f">{after}")


def test_results_lose_keys_and_keep_signatures():
    """A result has the URL as it was submitted, and submitters match it by that."""
    url = "https://data.example/a.nwb?X-Amz-Signature=abc"
    value = {"url": url, KEY: [1, None, True, {"x": f"<{KEY}>"}], "n": 1.5}

    cleaned = value_without_keys(value, [KEY])

    assert cleaned == {"url": url, "***": [1, None, True, {"x": "<***>"}], "n": 1.5}


# --- what looks like a credential --------------------------------------------------------------

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


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("https://h/a;sig=s3cr3t;x=1", "https://h/a;***"),
        ("https://h/a;v=1;sig=s3cr3t/b?c=d", "https://h/a;***"),
        ("https://h/a#access_token=s3cr3t", "https://h/a#***"),
        ("ftp://h/a?sig=s3cr3t", "ftp://h/a?***"),
        ("see /a/b;sig=s3cr3t here", "see /a/b;sig=*** here"),
        ("?x=1&X-Amz-Signature=s3cr3t&y=2", "?x=1&X-Amz-Signature=***&y=2"),
        ("AccountName=a;SharedAccessKey=s3cr3t;x", "AccountName=a;SharedAccessKey=***;x"),
        ("ftp://u:s3cr3t@h/a", "ftp://***@h/a"),
        ("'https://s3cr3t@h'", "'https://***@h'"),
        ("s3://u:s3cr3t@part@h/a", "s3://***@h/a"),
        ("Authorization: Basic s3cr3t", "Authorization: Basic ***"),
        ("Authorization: Token s3cr3t", "Authorization: Token ***"),
    ],
)
def test_other_credentials_are_cut_out(text, safe):
    """Parameters of paths, fragments, logins, and other kinds of authorization."""
    assert redacted(text) == safe


@pytest.mark.parametrize(
    "text", ["https://h/a;v=1?b=c#d", "a@b.example", "a;b=c", "http://h/@x", "x://h?mail=a@b"]
)
def test_what_is_no_credential_stays(text):
    """Addresses of people, and paths with such signs."""
    assert redacted(text) == text


# --- hostile text ------------------------------------------------------------------------------

HOSTILE = """
from devaria.common.redaction import redacted
from devaria.common.text import printable
for part in ("http://", "https://a?", "https://a?sig", "authorization", "authorization: ", "?", "&",
             "authorization: bearer", "authorization:'", "bearer ", "\\x1b", "\\n", "key-5f1",
             "\\x1b[", "\\x1b]", "\\x9b", "%6b", "%", "k\\n", "://", "://a@", ";sig", ";a=", "a2V5",
             "\\x1b[" + "0" * 63):
    for text in (part * (1_000_000 // len(part)), part + " " * 1_000_000, part + "h" * 1_000_000):
        printable(redacted(text, ["key-5f1c8d9e"]))
print("done")
"""


def test_a_megabyte_made_to_be_slow_is_not():
    """A job's console goes through here while the whole runner waits; the time must be linear."""
    with Process("-c", HOSTILE) as process:  # anything quadratic would take hours
        assert process.wait() == 0
        assert process.output == "done\n"
