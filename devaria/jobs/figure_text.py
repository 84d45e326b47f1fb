"""The title and the description of a figure, from parameters that a stranger has submitted."""

import re
from typing import Any, Dict, Mapping, Sequence

from devaria.common.text import one_line
from devaria.figures.markdown import as_code

#: Optional parameters that say where a job comes from, and what the description calls them.
LINK_PARAMS = {"neurosift_url": "Neurosift", "dandiset_id": "Dandiset"}

#: A longer text is no address and no identifier of a Dandiset.
_MAX_CHARACTERS = 8192

#: A longer note is cut.
MAX_NOTE_CHARACTERS = 2000

#: A longer path in a title is cut.
_MAX_PATH_CHARACTERS = 200

#: The characters with which markdown, HTML and formulas begin something; and lists, at the start.
_MARKS = re.compile(r"[\\`*_{}\[\]<>&#|~!$]|^[-+=]|(?<=\d)[.)](?= )")


def link_texts(given: Mapping[str, Any]) -> Dict[str, str]:
    """Return those of the optional texts that can be used; they never make a job fail.

    Args:
        given: The parameters as submitted. A text that is no string, has control characters or is
            too long counts as not given.
    """
    texts = ((name, given.get(name)) for name in LINK_PARAMS)
    return {
        name: text
        for name, text in texts
        if isinstance(text, str) and text.isprintable() and len(text) <= _MAX_CHARACTERS
    }


def titled(start: str, nwb_url: str, path: str, end: str = "") -> str:
    """Return the title of a figure.

    Args:
        start: What it shows.
        nwb_url: The file's URL. Of it, the title has the file's name.
        path: What is shown of the file.
        end: What the title says besides.

    Returns:
        One printable line.
    """
    from devaria.nwb.params import file_name

    parts = (f"{start}: {file_name(nwb_url)}", one_line(path, _MAX_PATH_CHARACTERS), end)
    return ", ".join(part for part in parts if part)


def described(
    params: Mapping[str, Any], source_name: str, path: str, notes: Sequence[str] = ()
) -> str:
    """Return the description of a figure.

    Args:
        params: The job's parameters: `nwb_url`, and maybe `neurosift_url` and `dandiset_id`.
        source_name: What the figure shows, such as "Units table".
        path: Its path in the file.
        notes: Sentences to add, as plain text.

    Returns:
        Markdown. Nothing in parameters and notes acts as markdown. A link is made of http and
        https URLs only.
    """
    from devaria.nwb.params import shown_url

    nwb_url = params["nwb_url"]
    lines = [f"NWB file: {as_code(shown_url(nwb_url))}", f"{source_name}: {as_code(path)}"]
    for name, text in link_texts(params).items():
        if text:
            # The page's address may repeat the file's, so also its signature.
            shown = shown_url(text) if "?" in nwb_url else text
            lines.append(f"{LINK_PARAMS[name]}: {_as_link(shown)}")
    lines += [_MARKS.sub(r"\\\g<0>", one_line(note, MAX_NOTE_CHARACTERS)) for note in notes]
    return "\n\n".join(lines)


def _as_link(text: str) -> str:
    """Make a link of an http or https URL, and a code span of any other text."""
    if re.fullmatch(r"https?://[^\s<>\\]+", text):
        return f"<{text}>"
    return as_code(text)
