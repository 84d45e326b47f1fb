"""A job's console: bounded in memory and on disk, with its head and its tail."""

import re
import threading

import core_fixtures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devaria.common.text import HEAD_BYTES, TAIL_BYTES, shortened
from devaria.execution.console import Console

LEFT_OUT = re.compile(r"\n\[\.\.\. ([\d,]+) bytes left out \.\.\.\]\n")


def utf8_bytes(text):
    """The size of a text, half surrogate pairs counted as the three bytes of U+FFFD."""
    return len(text.encode("utf-8", "surrogatepass"))


# --- shortened -------------------------------------------------------------------------------


@core_fixtures.thorough
@given(
    st.text(st.characters(), max_size=400).map(lambda text: text * 3),
    st.integers(100, 800),
    st.integers(0, 900),
)
def test_a_shortened_text_is_within_its_bound(text, max_bytes, head_bytes):
    """This holds for all characters. A text that fits is kept; a longer one keeps both ends."""
    short = shortened(text, max_bytes, head_bytes)

    assert utf8_bytes(short) <= max_bytes
    if utf8_bytes(text) <= max_bytes:
        assert short == text
        return
    head, count, tail = LEFT_OUT.split(short)
    assert text.startswith(head)
    assert text.endswith(tail)
    assert tail
    missing = utf8_bytes(text) - utf8_bytes(head) - utf8_bytes(tail)
    assert 0 <= missing - int(count.replace(",", "")) <= 6  # characters that the cut went through


def test_the_head_takes_half_at_most():
    """The end, where the reason of a failure stands, always has room."""
    head, _, tail = LEFT_OUT.split(shortened("x" * 10_000, 1_000, head_bytes=5_000))

    assert len(head) == 500
    assert len(tail) > 400


# --- the console -----------------------------------------------------------------------------


@core_fixtures.thorough
@given(st.lists(st.binary(max_size=50)))
def test_the_console_is_what_was_written(pieces):
    """It may come in any pieces. Bytes that are not UTF-8 become U+FFFD."""
    console = Console()
    for piece in pieces:
        console.write(piece)

    assert console.text() == b"".join(pieces).decode("utf-8", "replace")


def test_a_character_that_is_cut_between_two_writes_is_whole():
    """A pipe may cut the text anywhere."""
    console = Console()
    for byte in "Zoë 🧠".encode():
        console.write(bytes([byte]))

    assert console.text() == "Zoë 🧠"


@pytest.mark.parametrize("piece_bytes", [1_000, 65_536, 3_000_000])
def test_an_endless_printer_fills_head_and_tail_only(piece_bytes):
    """The text says how much is missing, and memory stays bounded."""
    console = Console()
    console.write(b"first words\n")
    for _ in range(12_000_000 // piece_bytes):
        console.write(b"x" * piece_bytes)
    console.write(b"\nlast words")

    head, count, tail = LEFT_OUT.split(console.text())

    written = 12 + 12_000_000 // piece_bytes * piece_bytes + 11
    assert head.startswith("first words\n")
    assert tail.endswith("\nlast words")
    assert len(head) == HEAD_BYTES
    assert len(tail) == TAIL_BYTES
    assert int(count.replace(",", "")) == written - HEAD_BYTES - TAIL_BYTES


def test_reading_in_between_changes_nothing():
    """The heartbeat reads while the job prints."""
    console, silent = Console(), Console()
    for number in range(400):
        for each in (console, silent):
            each.write(b"%06d\n" % number * 1_000)
        console.text()

    assert console.text() == silent.text()


def test_the_file_holds_what_was_written_before_and_after(tmp_path):
    """Nothing waits in a buffer, in case the runner dies."""
    console = Console()
    console.write(b"before\n")
    console.keep_in(tmp_path / "console.txt")
    console.write(b"after\n")

    assert (tmp_path / "console.txt").read_bytes() == b"before\nafter\n"
    console.end()


def test_the_file_is_bounded_as_the_memory_is(tmp_path):
    """A gigabyte of prints must not fill the disk."""
    console = Console()
    console.keep_in(tmp_path / "console.txt")
    for number in range(150):
        console.write(b"%05d" % number + b"x" * 59_995)
        assert (tmp_path / "console.txt").stat().st_size <= 2_100_000
    console.end()

    text = (tmp_path / "console.txt").read_text(encoding="utf-8")
    assert text.startswith("00000x")
    assert "00149x" in text
    assert LEFT_OUT.search(text)


def test_a_file_that_cannot_be_written_costs_nothing_else(tmp_path):
    """The console is then in memory only."""
    console = Console()
    console.keep_in(tmp_path / "gone" / "console.txt")
    console.write(b"text")
    console.end()
    console.write(b" and more")

    assert console.text() == "text and more"


def test_several_threads_may_write():
    """No line is torn, none is lost."""
    console = Console()

    def write(name):
        for number in range(500):
            console.write(b"%s %d\n" % (name, number))

    threads = [threading.Thread(target=write, args=(name,)) for name in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    lines = console.text().splitlines()
    assert sorted(lines) == sorted(f"{name} {n}" for name in "abc" for n in range(500))


def test_what_there_is_no_memory_for_is_left_out_and_said():
    """Whoever reads from the job goes on, since a job whose prints nobody reads would stop."""
    console = Console()
    console.write(b"before\n")

    def fail(data):
        if data == b"lost":
            raise MemoryError

    console.echo_to(fail)
    console.write(b"lost")
    console.write(b"after\n")

    assert console.text() == "before\nafter\n\n[... 4 bytes left out ...]\n"
