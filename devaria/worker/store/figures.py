"""The figure store: figpack figures on disk, and the signed URLs by which their files arrive.

Source: the upload client of figpack 0.4.1 (``figpack/core/_upload_bundle.py``).
"""

import hashlib
import hmac
import json
import re
import shutil
import uuid
from pathlib import Path
from typing import IO, Any, Dict, Optional, cast
from urllib.parse import quote, urlencode

from devaria.worker.store.database import Clock

DESCRIPTION = "figpack.json"
LIFETIME_MS = 24 * 3600 * 1000
URL_LIFETIME_MS = 3600 * 1000
MAX_PATH_BYTES = 1024
MAX_NAME_BYTES = 255

_FIGURE_ID = re.compile("[0-9a-f]{32}")
_FIGURE_URL = re.compile("https?://[^/]+/figures/([0-9a-f]{32})/index[.]html")


class FigureStore:
    """Figures as directories, each with its files and its ``figpack.json``.

    Args:
        root: The directory that holds them.
        clock: Gives the time in epoch milliseconds.
    """

    def __init__(self, root: Path, clock: Clock) -> None:
        self._root = root
        self._clock = clock
        # Half-written files lie beside the figures, under a name that no figure can have.
        self._incoming = root / ".incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)

    def create(self, details: Dict[str, Any]) -> str:
        """Make a new, empty figure that expires in 24 h.

        Args:
            details: JSON values for its ``figpack.json``.

        Returns:
            Its id: 32 hexadecimal digits, not to be guessed.
        """
        figure_id, now = uuid.uuid4().hex, self._clock()
        (self._root / figure_id).mkdir()
        fields = {"figureId": figure_id, "status": "uploading", "pinned": False, "deleted": False}
        times = {"createdAt": now, "expiration": now + LIFETIME_MS}
        self._describe(figure_id, {**details, **fields, **times})
        return figure_id

    def finalize(self, figure_id: str) -> bool:
        """Mark a figure as completely uploaded.

        Args:
            figure_id: The figure.

        Returns:
            False if it has no ``index.html``, and so could not be looked at.

        Raises:
            KeyError: There is no such figure.
        """
        description = self.description(figure_id)
        if description is None:
            raise KeyError(figure_id)
        if not (self._root / figure_id / "index.html").is_file():
            return False
        self._describe(figure_id, {**description, "status": "completed"})
        return True

    def description(self, figure_id: str) -> Optional[Dict[str, Any]]:
        """Read a figure's ``figpack.json``.

        Args:
            figure_id: The figure.

        Returns:
            Its content, or None if there is no such figure.
        """
        path = self.file(figure_id, DESCRIPTION)
        return None if path is None else cast(Dict[str, Any], json.loads(path.read_text("utf-8")))

    def figure_id(self, url: str) -> Optional[str]:
        """Recognise the URL of a figure of this store, under whatever name the worker is reached.

        Args:
            url: Any URL.

        Returns:
            The figure's id (ids are random, so having it here means that it is ours), or None.
        """
        match = _FIGURE_URL.fullmatch(url)
        known = match is not None and self.file(match.group(1), DESCRIPTION) is not None
        return match.group(1) if match is not None and known else None

    def file(self, figure_id: str, relative_path: str) -> Optional[Path]:
        """Find a file of a figure.

        Args:
            figure_id: The figure.
            relative_path: The file's path in it.

        Returns:
            The file, or None if there is none, or the path leaves the figure.
        """
        if not _FIGURE_ID.fullmatch(figure_id) or not is_safe_path(relative_path):
            return None
        path = self._root / figure_id / relative_path
        return path if path.is_file() else None

    def save(self, figure_id: str, relative_path: str, content: IO[bytes], size: int) -> None:
        """Store a file of a figure, in place of one that is there already.

        Args:
            figure_id: The figure, which exists.
            relative_path: The file's path in it.
            content: The file's content.
            size: Its size in bytes.

        Raises:
            ValueError: The path is not one that can be uploaded, or the content has another size.
        """
        if not is_upload_path(relative_path):
            raise ValueError(f"not a path for an upload: {relative_path!r}")
        target = self._root / figure_id / relative_path
        incoming = self._incoming / uuid.uuid4().hex
        try:
            with incoming.open("xb") as file:
                shutil.copyfileobj(content, file)
            written = incoming.stat().st_size
            if written != size:
                raise ValueError(f"{relative_path}: {written} bytes, {size} were declared")
            target.parent.mkdir(parents=True, exist_ok=True)
            incoming.replace(target)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise ValueError(f"{relative_path}: a file cannot be a directory too") from error
        finally:
            incoming.unlink(missing_ok=True)

    def _describe(self, figure_id: str, description: Dict[str, Any]) -> None:
        # Renamed into place: a checker never reads half of it.
        incoming = self._incoming / uuid.uuid4().hex
        incoming.write_text(json.dumps(description, indent=2), "utf-8")
        incoming.replace(self._root / figure_id / DESCRIPTION)


class UrlSigner:
    """Signs upload URLs: HMAC-SHA256 over method, figure, path, size and expiry.

    Args:
        secret: The HMAC key. Random for each start of the worker: URLs need not outlive it.
        clock: Gives the time in epoch milliseconds.
    """

    def __init__(self, secret: bytes, clock: Clock) -> None:
        self._secret = secret
        self._clock = clock

    def sign(self, figure_id: str, relative_path: str, size: int) -> str:
        """Allow one file to be uploaded within the next hour.

        Args:
            figure_id: The figure.
            relative_path: The file's path in it.
            size: Its size in bytes.

        Returns:
            The path of the URL below the signed route, with its query.
        """
        expires = self._clock() + URL_LIFETIME_MS
        signature = self._signature(figure_id, relative_path, str(size), str(expires))
        query = urlencode({"size": size, "expires": expires, "signature": signature})
        return f"{figure_id}/{quote(relative_path)}?{query}"

    def is_valid(self, figure_id: str, relative_path: str, query: Dict[str, str]) -> bool:
        """Check a signed URL.

        Args:
            figure_id: The figure in it.
            relative_path: The file's path in it.
            query: Its query.

        Returns:
            Whether ``sign`` made it, all of it, less than an hour ago.
        """
        size, expires = query.get("size", ""), query.get("expires", "")
        expected = self._signature(figure_id, relative_path, size, expires)
        shown = query.get("signature", "").encode("utf-8")
        # Only what was signed is looked at: then `expires` is a number of our own making.
        return hmac.compare_digest(expected.encode("ascii"), shown) and self._clock() < int(expires)

    def _signature(self, *parts: str) -> str:
        # Five lines and no more, so that no two URLs sign alike: a line break in a part makes six.
        text = "\n".join(("PUT", *parts)).encode("utf-8", "surrogatepass")
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()


def is_safe_path(relative_path: str) -> bool:
    """Tell whether a path stays in its figure, on every operating system.

    Args:
        relative_path: A path with ``/`` between its names.

    Returns:
        False if it is absolute, empty or longer than 1,024 bytes, has a name that is empty, ``.``,
        ``..`` or longer than 255 bytes, or a backslash, a colon or a character not printable.
    """
    if not relative_path.isprintable() or "\\" in relative_path or ":" in relative_path:
        return False
    names = relative_path.split("/")
    too_long = any(len(name.encode("utf-8")) > MAX_NAME_BYTES for name in names)
    too_long = too_long or len(relative_path.encode("utf-8")) > MAX_PATH_BYTES
    return not too_long and not any(name in ("", ".", "..") for name in names)


def is_upload_path(relative_path: str) -> bool:
    """Tell whether a client may upload a file to that path.

    Args:
        relative_path: The path.

    Returns:
        False if it is not safe, or is that of ``figpack.json``, which the worker writes.
    """
    return is_safe_path(relative_path) and relative_path.casefold() != DESCRIPTION
