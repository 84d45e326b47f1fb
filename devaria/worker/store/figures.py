"""The figure store: figpack figures on disk, and the signatures of their upload URLs.

Source: the upload client of figpack 0.4.1 (``figpack/core/_upload_bundle.py``).
"""

import contextlib
import hashlib
import json
import math
import os
import re
import shutil
import threading
import uuid
from pathlib import Path
from typing import IO, Any, Dict, List, Optional, cast
from urllib.parse import quote, urlencode

from itsdangerous import Signer

from devaria.worker.store.database import Clock

DESCRIPTION = "figpack.json"
LIFETIME_MS = 24 * 3600 * 1000
URL_LIFETIME_MS = 3600 * 1000
#: An upload that is not finished after this time is removed.
UPLOAD_LIFETIME_MS = 6 * 3600 * 1000
GB = 10**9
MAX_PATH_BYTES = 1024
MAX_NAME_BYTES = 255

_FIGURE_ID = re.compile("[0-9a-f]{32}")
_FIGURE_URL = re.compile("https?://[^/]+/figures/([0-9a-f]{32})/index[.]html")


class StoreFull(Exception):
    """There is no room for a file; the text is for the person who uploads it."""


class FigureStore:
    """Figures as directories, each with its files and its ``figpack.json``.

    Args:
        root: The directory that holds the figures.
        clock: Returns the time in epoch milliseconds.
        quota_bytes: How much the files of all figures may take; 0 for no limit.
    """

    def __init__(self, root: Path, clock: Clock, quota_bytes: int = 0) -> None:
        self._root = root
        self._clock = clock
        self._quota_bytes = quota_bytes or math.inf
        self._lock = threading.Lock()
        # Files are written here first. No figure can have this name.
        self._incoming = root / ".incoming"
        shutil.rmtree(self._incoming, ignore_errors=True)  # no upload outlives the worker
        self._incoming.mkdir(parents=True, exist_ok=True)
        self._used_bytes = _size(root)
        for folder in self._folders():
            if not (folder / DESCRIPTION).is_file():
                self._remove(folder)
        self.remove_old()

    def remove_old(self) -> None:
        """Remove figures that have expired, and uploads that were not finished."""
        for folder in self._folders():
            description = self.description(folder.name)
            if description is not None and _is_over(description, self._clock()):
                self._remove(folder)

    def check_room(self, size: int) -> None:
        """Check that there is room for files; remove figures that have expired if there is not.

        Args:
            size: The size of the files in bytes.

        Raises:
            StoreFull: There is not enough.
        """
        if self._used_bytes + size > self._quota_bytes:
            self.remove_old()
        if self._used_bytes + size > self._quota_bytes:
            raise StoreFull(
                f"The figure store is full: {self._used_bytes / GB:.3g} of"
                f" {self._quota_bytes / GB:.3g} GB are used. A figure is removed 24 h after its"
                " upload; the worker's --figures-quota sets the limit"
            )

    def create(self, details: Dict[str, Any]) -> str:
        """Make a new, empty figure that expires in 24 h.

        Args:
            details: JSON values for its ``figpack.json``.

        Returns:
            Its id: 32 random hexadecimal digits.
        """
        figure_id, now = uuid.uuid4().hex, self._clock()
        (self._root / figure_id).mkdir()
        fields = {"figureId": figure_id, "status": "uploading", "pinned": False, "deleted": False}
        times = {"createdAt": now, "expiration": now + LIFETIME_MS}
        self._describe(figure_id, {**details, **fields, **times})
        return figure_id

    def finalize(self, figure_id: str) -> bool:
        """Mark a figure as completely uploaded.

        Returns:
            False if it has no ``index.html``, without which it cannot be opened.

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
        """Return the content of a figure's ``figpack.json``; None if there is no such figure."""
        path = self.file(figure_id, DESCRIPTION)
        try:
            text = "null" if path is None else path.read_text("utf-8")
        except FileNotFoundError:  # it is being removed
            return None
        return cast(Optional[Dict[str, Any]], json.loads(text))

    def figure_id(self, url: str) -> Optional[str]:
        """Return the id of the figure at a URL; None if this store does not have the figure.

        The URL's host does not matter: the worker may have several names. Ids are random, so no
        other store has a figure of the same id.
        """
        match = _FIGURE_URL.fullmatch(url)
        known = match is not None and self.file(match.group(1), DESCRIPTION) is not None
        return match.group(1) if match is not None and known else None

    def file(self, figure_id: str, relative_path: str) -> Optional[Path]:
        """Find a file of a figure; None if there is none, or the path leaves the figure."""
        if not _FIGURE_ID.fullmatch(figure_id) or not is_safe_path(relative_path):
            return None
        path = self._root / figure_id / relative_path
        return path if path.is_file() else None

    def save(self, figure_id: str, relative_path: str, content: IO[bytes], size: int) -> None:
        """Store a file of a figure; it replaces an older one.

        Args:
            figure_id: The figure; it must exist.
            relative_path: The file's path in the figure.
            content: The file's content.
            size: The declared size in bytes.

        Raises:
            ValueError: The path is not allowed, the content has another size, or there is no such
                figure.
            StoreFull: There is no room for the file.
        """
        if not is_upload_path(relative_path):
            raise ValueError(f"not a path for an upload: {relative_path!r}")
        if self.description(figure_id) is None:
            raise ValueError("there is no such figure; its upload took too long")
        self.check_room(size)
        self._count(size)
        saved = False
        target = self._root / figure_id / relative_path
        incoming = self._incoming / uuid.uuid4().hex
        try:
            with incoming.open("xb") as file:
                shutil.copyfileobj(content, file)
            written = incoming.stat().st_size
            if written != size:
                raise ValueError(f"{relative_path}: {written} bytes, {size} were declared")
            target.parent.mkdir(parents=True, exist_ok=True)
            replaced = target.stat().st_size if target.is_file() else 0
            incoming.replace(target)
            self._count(-replaced)
            saved = True
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise ValueError(f"{relative_path}: a file cannot be a directory too") from error
        finally:
            incoming.unlink(missing_ok=True)
            if not saved:
                self._count(-size)

    def _folders(self) -> List[Path]:
        return [each for each in self._root.iterdir() if _FIGURE_ID.fullmatch(each.name)]

    def _remove(self, folder: Path) -> None:
        """Remove a figure, all at once for those who read it."""
        size, gone = _size(folder), self._incoming / uuid.uuid4().hex
        with contextlib.suppress(OSError):  # another thread removes it, or a file of it is open
            folder.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
            self._count(-size)

    def _count(self, size: int) -> None:
        with self._lock:
            self._used_bytes += size

    def _describe(self, figure_id: str, description: Dict[str, Any]) -> None:
        # Renamed into place, so that no reader sees half of it.
        incoming, path = self._incoming / uuid.uuid4().hex, self._root / figure_id / DESCRIPTION
        incoming.write_text(json.dumps(description, indent=2), "utf-8")
        self._count(incoming.stat().st_size - (path.stat().st_size if path.is_file() else 0))
        incoming.replace(path)


def _is_over(description: Dict[str, Any], now: int) -> bool:
    """Return whether nobody needs a figure any more."""
    if description.get("status") == "uploading":
        return now >= int(description["createdAt"]) + UPLOAD_LIFETIME_MS
    return now >= int(description["expiration"]) and not description.get("pinned")


def _size(folder: Path) -> int:
    """Return the size of all files below a folder, in bytes."""
    return sum(
        (Path(where) / name).lstat().st_size
        for where, _, names in os.walk(folder)
        for name in names
    )


class UrlSigner:
    """Signs upload URLs. A signature covers method, figure, path, size and expiry.

    Args:
        secret: The key. A new random key at each start of the worker is enough, since an upload
            does not outlive the worker.
        clock: Returns a steady time in milliseconds.
    """

    def __init__(self, secret: bytes, clock: Clock) -> None:
        self._signer = Signer(secret, salt="figure-upload", digest_method=hashlib.sha256)
        self._clock = clock

    def sign(self, figure_id: str, relative_path: str, size: int) -> str:
        """Allow one file of ``size`` bytes to be uploaded within the next hour.

        Returns:
            The last part of the URL's path, with its query.
        """
        expires = self._clock() + URL_LIFETIME_MS
        text = _signed_text(figure_id, relative_path, str(size), str(expires))
        signature = self._signer.get_signature(text).decode("ascii")
        query = urlencode({"size": size, "expires": expires, "signature": signature})
        return f"{figure_id}/{quote(relative_path)}?{query}"

    def is_valid(self, figure_id: str, relative_path: str, query: Dict[str, str]) -> bool:
        """Return whether ``sign`` made these parts of a URL, less than an hour ago."""
        expires = query.get("expires", "")
        text = _signed_text(figure_id, relative_path, query.get("size", ""), expires)
        is_ours = self._signer.verify_signature(text, query.get("signature", ""))
        return is_ours and self._clock() < int(expires)  # what we signed is a number


def _signed_text(*parts: str) -> str:
    return json.dumps(("PUT", *parts))  # JSON keeps the parts apart, whatever is in them


def is_safe_path(relative_path: str) -> bool:
    """Check that a path stays inside its figure, on every operating system.

    Args:
        relative_path: A path with ``/`` between its names.

    Returns:
        False if the path is absolute, empty or longer than 1,024 bytes; if a name in it is empty,
        ``.``, ``..`` or longer than 255 bytes; or if it contains a backslash, a colon or an
        unprintable character.
    """
    if not relative_path.isprintable() or "\\" in relative_path or ":" in relative_path:
        return False
    names = relative_path.split("/")
    too_long = any(len(name.encode("utf-8")) > MAX_NAME_BYTES for name in names)
    too_long = too_long or len(relative_path.encode("utf-8")) > MAX_PATH_BYTES
    return not too_long and not any(name in ("", ".", "..") for name in names)


def is_upload_path(relative_path: str) -> bool:
    """Check that a path is safe and is not ``figpack.json``, which only the worker writes."""
    return is_safe_path(relative_path) and relative_path.casefold() != DESCRIPTION
