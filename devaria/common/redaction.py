"""Keys and other credentials, cut out of texts that leave this machine.

SECURITY.md says which forms of a key are found, and which are not. Each step takes linear time,
whatever the text: a job's console goes through here while the runner waits.
"""

import base64
import functools
import re
from bisect import bisect_right
from itertools import accumulate
from typing import Any, Iterable, Iterator, List, NamedTuple, Sequence, Tuple

#: A shorter key is not searched for: it may be a part of any word.
MIN_KEY_CHARACTERS = 8

_CUT = "***"

#: Words in the names of parameters that are credentials, such as those of signed URLs.
_WORDS = "sig|token|key|secret|password|credential|x-amz-|x-goog-"
_CREDENTIAL = re.compile(_WORDS, re.IGNORECASE)
#: A URL from its scheme's end on. Its query is not part of the pattern: on a text of many URLs
#: without one, the search for it would take quadratic time.
_URL = re.compile(r"://[^\s'\"<>]+")
#: A user's name and password in a URL.
_LOGIN = re.compile(r"://[^\s/?#'\"<>]*@")
#: What comes before the query of a URL, before its parameters (`;sig=`), or before its fragment.
_ADDRESS = re.compile(r"[^?;#]*")
#: A parameter on its own, as in a relative URL or a connection string.
_PARAMETER = re.compile(
    rf"([?&;][\w.-]{{0,40}}?(?:{_WORDS})[\w.-]{{0,40}}=)[^\s&;'\"<>]+", re.IGNORECASE
)
#: An `Authorization` header that an error message quotes.
_AUTHORIZATION = re.compile(
    r"(?i)(authorization['\"]?\s*[:=]\s*['\"]?(?:(?:bearer|basic|digest|token)\s+)?)[^\s'\",]+"
)

_PERCENT_CODE = re.compile("%[0-9A-Fa-f]{2}")

#: What nobody sees, but what may stand within a key: line breaks, control characters, escape codes
#: of terminals (CSI, OSC, others), characters of no width, marks of direction.
_UNSEEN = "\x7f-\x9a\x9c-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff"
_BREAKS = re.compile(
    f"[\x00-\x1f\x9b{_UNSEEN}]"
    r"(?:(?<=\x1b)(?:\[[0-?]{0,64}[ -/]{0,8}[@-~]|\][^\x07\x1b]{0,512}(?:\x07|\x1b\\)"
    r"|[ -/]{0,4}[0-Z^-~])"
    r"|(?<=\x9b)[0-?]{0,64}[ -/]{0,8}[@-~])?"
    f"[\x00-\x1a\x1c-\x1f{_UNSEEN}]*"
)


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """Replace keys, `Authorization` values, logins and signatures of URLs by `***`.

    Args:
        text: Any text.
        secrets: Keys to replace, in each form that `without_keys` finds.

    Returns:
        The text without secrets.
    """
    text = without_keys(text, secrets)
    if "authorization" in text.lower():
        text = _AUTHORIZATION.sub(rf"\1{_CUT}", text)
    text = _LOGIN.sub(f"://{_CUT}@", text)
    text = _URL.sub(_without_signature, text)
    return _PARAMETER.sub(rf"\1{_CUT}", text)


def without_keys(text: str, secrets: Iterable[str]) -> str:
    """Replace keys by `***`.

    They are found as they are, percent-encoded, and in base64; as they are and in base64 also if
    line breaks, escape codes or invisible characters stand within them.

    Args:
        text: Any text.
        secrets: The keys. Those of fewer than 8 characters are not searched for.

    Returns:
        The text without them.
    """
    forms = _forms(tuple(secrets))
    for literal in forms.literals:
        text = text.replace(literal, _CUT)
    if forms.literals and _PERCENT_CODE.search(text):
        text = "\n".join(_without_encoded(line, forms) for line in text.split("\n"))
    unbroken = _BREAKS.sub("", text) if forms.literals else text
    if any(literal in unbroken for literal in forms.literals):
        text = _without_broken(text, unbroken, forms.literals)
    return text


def value_without_keys(value: Any, secrets: Sequence[str]) -> Any:
    """Replace keys by `***` in all texts of a value.

    Args:
        value: JSON values, not nested too deeply.
        secrets: As for `without_keys`.

    Returns:
        The value without them. Signatures of URLs stay: they are the submitter's own.
    """
    if isinstance(value, str):
        return without_keys(value, secrets)
    if isinstance(value, list):
        return [value_without_keys(item, secrets) for item in value]
    if isinstance(value, dict):
        return {
            without_keys(name, secrets): value_without_keys(item, secrets)
            for name, item in value.items()
        }
    return value


def is_too_short(key: str) -> bool:
    """Return whether a key is set, but too short to be searched for in texts."""
    return 0 < len(key) < MIN_KEY_CHARACTERS


# --- the forms of a key ------------------------------------------------------------------------


class _Forms(NamedTuple):
    literals: Tuple[str, ...]
    percent_encoded: Tuple["re.Pattern[str]", ...]


@functools.lru_cache(maxsize=8)
def _forms(secrets: Tuple[str, ...]) -> _Forms:
    keys = {secret for secret in secrets if len(secret) >= MIN_KEY_CHARACTERS}
    literals = {form for key in keys for form in (key, *_in_base64(key))}
    # The longest first. If a key is the beginning of a longer one, the rest would be left.
    longest_first = sorted(keys, key=len, reverse=True)
    return _Forms(
        tuple(sorted(literals, key=len, reverse=True)),
        tuple(re.compile("".join(map(_maybe_encoded, key))) for key in longest_first),
    )


def _in_base64(key: str) -> Iterator[str]:
    """Yield what each base64 text with the key in it contains, wherever the key begins in it."""
    data = key.encode("utf-8", "surrogatepass")
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + data + bytes(3)).decode("ascii")
        # Only whole characters of the key: those at its ends depend on what stands beside it.
        sure = encoded[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]
        yield sure
        yield sure.translate({ord("+"): "-", ord("/"): "_"})


def _maybe_encoded(character: str) -> str:
    """Return a pattern for a character, as it is or percent-encoded."""
    code = "".join(f"%{byte:02x}" for byte in character.encode("utf-8", "surrogatepass"))
    encoded = re.sub("[a-f]", lambda digit: f"[{digit[0]}{digit[0].upper()}]", code)
    return f"(?:{re.escape(character)}|{encoded})"


def _without_encoded(line: str, forms: _Forms) -> str:
    # Line by line, since few have such a code, and these patterns are slow.
    if _PERCENT_CODE.search(line):
        for pattern in forms.percent_encoded:
            line = pattern.sub(_CUT, line)
    return line


# --- keys with something in them ---------------------------------------------------------------


def _without_broken(text: str, unbroken: str, literals: Iterable[str]) -> str:
    """Cut out keys that have something in them that nobody sees.

    Args:
        text: The text.
        unbroken: The text without what nobody sees.
        literals: What to cut out.
    """
    starts, kept = [0], []
    for match in _BREAKS.finditer(text):
        kept.append(match.start() - starts[-1])
        starts.append(match.end())
    # Where each piece of the text begins in the unbroken one.
    begins = [0, *accumulate(kept)]

    def place(position: int) -> int:
        piece = bisect_right(begins, position) - 1
        return starts[piece] + position - begins[piece]

    parts, done = [], 0
    for first, last in _merged(sorted(_found(unbroken, literals))):
        parts.append(text[done : place(first)])
        done = place(last) + 1
    return _CUT.join([*parts, text[done:]])


def _found(text: str, literals: Iterable[str]) -> Iterator[Tuple[int, int]]:
    """Yield the first and the last position of everything that is found."""
    for literal in literals:
        at = text.find(literal)
        while at >= 0:
            yield at, at + len(literal) - 1
            at = text.find(literal, at + len(literal))


def _merged(spans: Iterable[Tuple[int, int]]) -> List[Tuple[int, int]]:
    merged: List[Tuple[int, int]] = []
    for first, last in spans:
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def _without_signature(match: "re.Match[str]") -> str:
    url = match.group()
    address = _ADDRESS.match(url)
    end = len(url) if address is None else address.end()
    return f"{url[:end]}{url[end]}{_CUT}" if _CREDENTIAL.search(url, end) else url
