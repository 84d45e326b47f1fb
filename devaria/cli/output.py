"""What commands print: a table for people, on a terminal, and JSON for programs, elsewhere."""

import json
import shutil
import sys
import textwrap
from typing import Any, Iterator, List, Optional, Sequence

import click

#: A column of a table on a terminal is made no narrower than this.
_MIN_WIDTH = 16
#: A text of which one line is shown, such as a job type that a stranger chose, is cut at this.
_MAX_CELL = 60

json_option = click.option(
    "--json/--table",
    "as_json",
    default=None,
    help="Print JSON, or a table. [default: a table on a terminal, else JSON]",
)


def wants_json(as_json: Optional[bool]) -> bool:
    """Tell whether to print JSON.

    Args:
        as_json: What the operator chose; None for neither.
    """
    return not sys.stdout.isatty() if as_json is None else as_json


def print_json(value: Any) -> None:
    """Print a value as JSON, pure ASCII so that no terminal is upset."""
    click.echo(json.dumps(value, indent=2).replace("\x7f", "\\u007f"))


def print_table(
    titles: Sequence[str], rows: Sequence[Sequence[str]], wrapped: Sequence[str] = ()
) -> None:
    """Print a table; what strangers wrote is made printable, and lies on one line.

    Args:
        titles: The columns' titles.
        rows: Their texts, row by row.
        wrapped: The titles of columns that get narrower on a narrow terminal, their texts on
            several lines then; in the others, a text that is too long is cut.
    """
    may_wrap = [title in wrapped for title in titles]
    cells = [
        list(titles),
        *([_on_one_line(*each) for each in zip(row, may_wrap)] for row in rows),
    ]
    for line in _laid_out(cells, _widths(cells, may_wrap)):
        click.echo(line)


def print_fields(fields: Sequence[Sequence[str]]) -> None:
    """Print names and values; what strangers wrote is made printable and keeps its lines.

    Args:
        fields: A name and a value each.
    """
    width = max(len(name) for name, _ in fields)
    for name, value in fields:
        first, *others = clean_text(value).splitlines() or [""]
        click.echo(f"{name.ljust(width)}  {first}")
        for line in others:
            click.echo(f"{' ' * width}  {line}")


def clean_text(text: str) -> str:
    """Make a stranger's text, such as a job's console, safe for a terminal.

    Args:
        text: Any text.

    Returns:
        The text; a progress bar that goes back to its line's begin has a line for each state.
    """
    from devaria.common.text import printable

    return printable(text.replace("\r\n", "\n").replace("\r", "\n"))


def age(since_ms: Optional[float], now_ms: float) -> str:
    """Say how long ago something was, such as `5 min`.

    Args:
        since_ms: The time in milliseconds since 1970, or None.
        now_ms: Now, likewise.
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
