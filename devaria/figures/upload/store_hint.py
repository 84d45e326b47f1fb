"""Remember which host stores the files of figures, from one job's process to a later one.

figpack's API names that host only when an upload has begun. Who remembers it can connect before.
The file holds no more than the two hosts. Without it, or with a wrong one, an upload takes two
round trips longer.
"""

import contextlib
import json
import os
import re
from pathlib import Path
from typing import Optional
from urllib.parse import urlsplit

from devaria.common.files import read_regular, write_atomically

_MAX_BYTES = 10_000
_ORIGIN = re.compile(r"https?://[\w.:\[\]-]{1,300}", re.ASCII)


def remembered_store(api_url: str) -> Optional[str]:
    """Return the store of an earlier upload.

    Args:
        api_url: figpack's API.

    Returns:
        The URL of the store's host; None if it is not known.
    """
    try:
        content = json.loads(read_regular(_file(), _MAX_BYTES))
        store = content["store"] if content["api"] == api_url else None
    except (OSError, RuntimeError, ValueError, TypeError, KeyError):
        return None
    return store if isinstance(store, str) and _ORIGIN.fullmatch(store) else None


def remember_store(api_url: str, file_url: str) -> None:
    """Keep the host of a URL as the store. A file that cannot be written is left out.

    Args:
        api_url: figpack's API.
        file_url: A URL to which a file is uploaded.
    """
    parts = urlsplit(file_url)
    store = f"{parts.scheme}://{parts.netloc}"
    if not _ORIGIN.fullmatch(store) or store == remembered_store(api_url):
        return
    with contextlib.suppress(OSError, RuntimeError):
        path = _file()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps({"api": api_url, "store": store}).encode("utf-8"))


def _file() -> Path:
    folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(folder) / "devaria" / "figure_store.json"
