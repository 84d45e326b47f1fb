"""Print a table on a terminal, for people, and JSON elsewhere, for programs."""

import json
import shutil
import sys
import textwrap
from typing import Any, Iterator, List, Optional, Sequence

import click

#: The least width of a column that is narrowed to fit a terminal, in characters.
_MIN_WIDTH = 15
#: Where a text is cut in a column that does not wrap. Submitters choose job types of any length.
_MAX_CELL = 60

json_option = click.option(
    "--json/--table",
    "as_json",
    default=None,
    help="Print JSON, or a table. [default: a table on a terminal, else JSON]",
)


def wants_json(as_json: Optional[bool]) -> bool:
    """Return whether to print JSON.

    Args:
        as_json: The value of `--json/--table`; None if neither was given.
    """
    return not sys.stdout.isatty() if as_json is None else as_json


def print_json(value: Any) -> None:
    """Print a value as JSON in ASCII, so that no control character reaches a terminal."""
    click.echo(json.dumps(value, indent=2).replace("\x7f", "\\u007f"))


def print_table(
    titles: Sequence[str], rows: Sequence[Sequence[str]], wrapped: Sequence[str] = ()
) -> None:
    """Print a table, with control characters escaped and line breaks replaced by spaces.

    Args:
        titles: The columns' titles.
        rows: The texts of each row, one per column.
        wrapped: The titles of columns whose texts are wrapped to fit a narrow terminal. In the
            other columns a long text is cut.
    """
    may_wrap = [title in wrapped for title in titles]
    cells = [
        list(titles),
        *([_on_one_line(*each) for each in zip(row, may_wrap)] for row in rows),
    ]
    for line in _laid_out(cells, _widths(cells, may_wrap)):
        click.echo(line)


def print_fields(fields: Sequence[Sequence[str]]) -> None:
    """Print names and values, with control characters escaped; line breaks stay.

    Args:
        fields: Pairs of a name and a value.
    """
    width = max(len(name) for name, _ in fields)
    for name, value in fields:
        first, *others = clean_text(value).splitlines() or [""]
        click.echo(f"{name.ljust(width)}  {first}")
        for line in others:
            click.echo(f"{' ' * width}  {line}")


def clean_text(text: str) -> str:
    """Escape the control characters in a text, such as a job's console, for a terminal.

    A carriage return becomes a line break, so that each state of a progress bar gets a line.
    """
    from devaria.common.text import printable

    return printable(text.replace("\r\n", "\n").replace("\r", "\n"))


def age(since_ms: Optional[float], now_ms: float) -> str:
    """Return how long ago something was, such as `5 min`.

    Args:
        since_ms: The time in milliseconds since 1970. None, if it is unknown, gives `?`.
        now_ms: The time now, in milliseconds since 1970.
    """
    if since_ms is None:
        return "?"
    seconds = max(now_ms - since_ms, 0) / 1000
    for size, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s"


def _on_one_line(text: str, may_wrap: bool) -> str:
    line = " ".join(clean_text(text).split())
    return line if may_wrap or len(line) <= _MAX_CELL else f"{line[: _MAX_CELL - 1]}…"


def _widths(cells: Sequence[Sequence[str]], may_wrap: Sequence[bool]) -> List[int]:
    widths = [max(map(len, column)) for column in zip(*cells)]
    if not sys.stdout.isatty():
        return widths
    too_many = sum(widths) + 2 * (len(widths) - 1) - shutil.get_terminal_size().columns
    for _ in range(max(too_many, 0)):
        candidates = [at for at, width in enumerate(widths) if may_wrap[at] and width > _MIN_WIDTH]
        if not candidates:
            break
        widths[max(candidates, key=widths.__getitem__)] -= 1
    return widths


def _laid_out(cells: Sequence[Sequence[str]], widths: Sequence[int]) -> Iterator[str]:
    for row in cells:
        columns = [
            textwrap.wrap(cell, width, break_on_hyphens=False) or [""]
            for cell, width in zip(row, widths)
        ]
        for at in range(max(map(len, columns))):
            lines = (column[at] if at < len(column) else "" for column in columns)
            yield "  ".join(line.ljust(width) for line, width in zip(lines, widths)).rstrip()
