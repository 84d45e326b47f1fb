"""What the dashboard's pages show of jobs, in terms for people.

Nothing here is HTML: that is the templates' part, which escape all they are given.
"""

import datetime
import json
from typing import Any, Dict, List, Optional
from urllib.parse import urlsplit

from devaria.common import js_json
from devaria.common.text import printable
from devaria.worker.store.expiry import figure_urls
from devaria.worker.store.figures import FigureStore

Job = Dict[str, Any]

CONSOLE_SHOWN = 50_000
"""So many characters of a console's end are shown: the page is fetched again every second."""
MAX_FIGURES = 10
RUNNING = ("claimed", "in_progress")
LIVE = ("pending", *RUNNING)

_MAX_INDENTED = 1_000_000
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"))


def visible(value: Any) -> Any:
    r"""Write characters that cannot be seen as escapes.

    Args:
        value: What a page is to show.

    Returns:
        A text with `\x1b` and the like; what is no plain text, or is HTML already, as it is.
    """
    return printable(value) if type(value) is str else value


def indented(value: Any) -> str:
    """Write a value as JSON to be read.

    Args:
        value: Any JSON value.

    Returns:
        Indented JSON; compact where a deep nesting would make far more spaces than text.
    """
    text = ""
    for chunk in json.JSONEncoder(ensure_ascii=False, indent=2).iterencode(value):
        text += chunk
        if len(text) > _MAX_INDENTED:
            return js_json.dumps(value)
    return text


def console_end(console: Optional[str]) -> str:
    """Give the end of a console as a terminal would show it.

    Args:
        console: The whole console; None for none.

    Returns:
        Its last 50,000 characters, of each line only what follows the last carriage return, by
        which progress bars write over themselves.
    """
    lines = (console or "")[-CONSOLE_SHOWN:].replace("\r\n", "\n").split("\n")
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines)


def percent(job: Job) -> Optional[float]:
    """Tell how much of a job is done.

    Args:
        job: The job.

    Returns:
        0 to 100, or None while it is unknown.
    """
    current, total = job["progress_current"], job["progress_total"]
    if current is None or total is None or total <= 0:
        return None
    return float(min(max(100 * (current / total), 0), 100))


def ago(then: int, now: int) -> str:
    """Tell how long ago something was.

    Args:
        then: When it was, in epoch milliseconds.
        now: The time.

    Returns:
        Such as ``12 s``, ``3 min``, ``5 h`` or ``2 d``, rounded down.
    """
    seconds = max(now - then, 0) // 1000
    size, unit = next((one for one in _UNITS if seconds >= one[0]), (1, "s"))
    return f"{seconds // size} {unit}"


def timestamp(milliseconds: int) -> str:
    """Write a time for people and machines alike.

    Args:
        milliseconds: Epoch milliseconds.

    Returns:
        ISO 8601 in UTC, to the second.
    """
    time = datetime.datetime.fromtimestamp(milliseconds // 1000, datetime.timezone.utc)
    return time.isoformat().replace("+00:00", "Z")


def figures_of(output: Any, store: FigureStore) -> List[Dict[str, Optional[str]]]:
    """Find the figures in a result.

    Args:
        output: The result.
        store: The worker's own figure store.

    Returns:
        For each the ``url`` as it stands, its ``href`` (None unless it is http or https), and for
        a figure of this store ``own``, the path below this worker, by which alone it is embedded.
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
