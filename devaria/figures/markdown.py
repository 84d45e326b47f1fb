"""Texts of strangers in the description of a figure, which is markdown."""

import re

from devaria.common.text import one_line

#: A longer text is cut: it is no path and no address.
_MAX_CHARACTERS = 8192


def as_code(text: str) -> str:
    """Quote a text for markdown, so that nothing in it acts as markdown or HTML.

    Args:
        text: Any text, such as a path from a file.

    Returns:
        A code span in one line, with more backticks around it than the text has in a row.
    """
    text = one_line(text, _MAX_CHARACTERS)
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if longest else ""
    return f"{fence}{pad}{text}{pad}{fence}"
