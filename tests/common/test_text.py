"""Text for people: escaped control characters."""

import re

import core_fixtures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devaria.common.text import printable

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
