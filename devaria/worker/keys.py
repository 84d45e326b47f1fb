"""The three API keys of the local worker."""

import hashlib
import hmac
import json
import os
import secrets
import tempfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Dict, List, Mapping

KEYS_FILE = "keys.json"


@dataclass(frozen=True)
class WorkerKeys:
    """What callers must show: each key opens the routes of its level.

    Attributes:
        runner: For runners; opens the admin routes and the figure store too.
        submit: For submitters. Public in the hosted system: web pages carry it.
        admin: For the admin routes.
    """

    runner: str
    submit: str
    admin: str

    @classmethod
    def load_or_create(cls, data_dir: Path, environ: Mapping[str, str]) -> "WorkerKeys":
        """Take each key from the environment, else from the data directory.

        Keys that the environment does not give are made at random (256 bits) on first start and
        kept in ``data_dir/keys.json``, mode 0600. Keys of the environment are never written.

        Args:
            data_dir: The worker's data directory; created if it is needed.
            environ: The environment. ``DEVARIA_RUNNER_API_KEY``, ``DEVARIA_SUBMIT_API_KEY`` and
                ``DEVARIA_ADMIN_API_KEY`` are read; an empty one counts as absent.

        Returns:
            The keys.

        Raises:
            ValueError: A key could not be sent in a header (white space or non-ASCII in it), or
                the kept file is no keys file.
            OSError: The kept file cannot be read or written.
        """
        given = {name: environ.get(_variable(name), "").strip() for name in _names()}
        for name, key in given.items():
            if not (key.isascii() and key.isprintable()) or " " in key:
                raise ValueError(f"{_variable(name)} must be printable ASCII without spaces")
        kept = {} if all(given.values()) else _kept_keys(data_dir / KEYS_FILE)
        return cls(**{name: given[name] or kept[name] for name in _names()})

    @property
    def dashboard_token(self) -> str:
        """The token of the dashboard's link.

        Derived from the admin key, whose holders may do what the dashboard does: so it is as
        random and as lasting as that key is, and there is no other secret to keep.
        """
        return hmac.new(self.admin.encode(), b"dashboard", hashlib.sha256).hexdigest()[:32]

    def export_lines(self) -> List[str]:
        """Give the shell lines that set the keys for runners and submitters.

        Returns:
            Three lines, ``export DEVARIA_RUNNER_API_KEY=...`` first.
        """
        return [f"export {_variable(name)}={key}" for name, key in asdict(self).items()]


def _names() -> List[str]:
    return [field.name for field in fields(WorkerKeys)]


def _variable(name: str) -> str:
    return f"DEVARIA_{name.upper()}_API_KEY"


def _kept_keys(path: Path) -> Dict[str, str]:
    """Read the kept keys, or make them if there are none."""
    try:
        kept = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return _new_keys(path)
    except ValueError:
        kept = None
    if not isinstance(kept, dict) or not all(_is_key(kept.get(name)) for name in _names()):
        # Runners elsewhere hold these keys: new ones would lock them out without a word.
        raise ValueError(f"{path} is damaged; restore it, or delete it to get new keys")
    return kept


def _is_key(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and bool(value)


def _new_keys(path: Path) -> Dict[str, str]:
    made = {name: secrets.token_hex(32) for name in _names()}
    path.parent.mkdir(parents=True, exist_ok=True)
    # mkstemp gives mode 0600 from the start, and the rename leaves no half-written keys behind.
    handle, temporary = tempfile.mkstemp(dir=str(path.parent), prefix=".keys-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(made, file, indent=2)
    Path(temporary).replace(path)
    return made
