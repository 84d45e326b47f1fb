"""Turn values into what the pages show. HTML is left to the templates, which escape every value."""

import contextlib
import datetime
import json
from typing import Any, Dict, List, Optional
from urllib.parse import urlsplit

from devaria.common.text import printable
from devaria.worker.store import deep_json
from devaria.worker.store.expiry import figure_urls
from devaria.worker.store.figures import FigureStore

Job = Dict[str, Any]

#: The page shows this many characters of a console's end; it is fetched again with each change.
CONSOLE_SHOWN = 50_000
MAX_FIGURES = 10
RUNNING = ("claimed", "in_progress")
LIVE = ("pending", *RUNNING)

_MAX_INDENTED = 1_000_000
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"))


def visible(value: Any) -> Any:
    r"""Replace control characters in a text by escapes such as `\x1b`.

    Args:
        value: Any value that a template writes.

    Returns:
        The text with escapes. Values that are not plain text, such as HTML, are returned unchanged.
    """
    return printable(value) if type(value) is str else value


def indented(value: Any) -> str:
    """Write a JSON value as indented JSON; if that is too long or too deep, as compact JSON."""
    text = ""
    with contextlib.suppress(RecursionError):
        for chunk in json.JSONEncoder(ensure_ascii=False, indent=2).iterencode(value):
            text += chunk
            if len(text) > _MAX_INDENTED:
                break
        else:
            return text
    return deep_json.dumps(value)


def console_end(console: Optional[str]) -> str:
    """Return the last 50,000 characters of a console, as a terminal would show them.

    Progress bars overwrite their line with a carriage return, so only the text after the last one
    in each line is kept.
    """
    lines = (console or "")[-CONSOLE_SHOWN:].replace("\r\n", "\n").split("\n")
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines)


def percent(job: Job) -> Optional[float]:
    """Return how much of a job is done, from 0 to 100; None while it is unknown."""
    current, total = job["progress_current"], job["progress_total"]
    if not all(isinstance(each, (int, float)) for each in (current, total)) or total <= 0:
        return None
    return float(min(max(100 * (current / total), 0), 100))


def ago(then: int, now: int) -> str:
    """Write the time between two moments as ``12 s``, ``3 min``, ``5 h`` or ``2 d``, rounded down.

    Args:
        then: The earlier moment, in epoch milliseconds.
        now: The later one.
    """
    seconds = max(now - then, 0) // 1000
    size, unit = next((one for one in _UNITS if seconds >= one[0]), (1, "s"))
    return f"{seconds // size} {unit}"


def timestamp(milliseconds: int) -> str:
    """Write epoch milliseconds as ISO 8601 in UTC, to the second."""
    time = datetime.datetime.fromtimestamp(milliseconds // 1000, datetime.timezone.utc)
    return time.isoformat().replace("+00:00", "Z")


def figures_of(output: Any, store: FigureStore) -> List[Dict[str, Optional[str]]]:
    """Find the figures in a result.

    Args:
        output: The result of a completed job; None has no figures.
        store: The worker's own figure store.

    Returns:
        A dictionary for each of the first 10 figures: ``url``, as it stands in the result;
        ``href``, the link, None unless it is http or https; and ``own``, the path of a figure of
        this store, None for others. Only figures of this store are embedded in the page.
    """
    urls = list(dict.fromkeys(figure_urls(output)))[:MAX_FIGURES]
    return [_figure(url, store) for url in urls]


def _figure(url: str, store: FigureStore) -> Dict[str, Optional[str]]:
    figure_id = store.figure_id(url)
    if figure_id is not None:
        own = f"/figures/{figure_id}/index.html"
        return {"url": url, "href": own, "own": own}
    try:
        is_web = urlsplit(url).scheme in ("http", "https")
    except ValueError:
        is_web = False
    return {"url": url, "href": url if is_web else None, "own": None}
