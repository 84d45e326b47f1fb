"""Texts of strangers in a figure's description."""

import pytest

from devaria.figures import as_code


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("/acquisition/x", "`/acquisition/x`"),
        ("[l](http://x) `` <b>", "``` [l](http://x) `` <b> ```"),
        ("a\n\n# b\x1b[0m", r"`a\x0a\x0a# b\x1b[0m`"),
        ("x" * 9000, f"`{'x' * 8192}…`"),
    ],
)
def test_a_text_stays_in_its_code_span(text: str, quoted: str) -> None:
    """Neither backticks nor an empty line end it, and it is not too long."""
    assert as_code(text) == quoted
