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
    """The keys that callers send; each one opens the routes of its level.

    Attributes:
        runner: For runners. It also opens the admin routes and figure uploads.
        submit: For submitters. In the hosted system it is public: web pages contain it.
        admin: For the admin routes.
    """

    runner: str
    submit: str
    admin: str

    @classmethod
    def load_or_create(cls, data_dir: Path, environ: Mapping[str, str]) -> "WorkerKeys":
        """Take each key from the environment, else from the data directory.

        Keys that the environment lacks are made at random (256 bits) on the first start. They are
        kept in ``data_dir/keys.json``, mode 0600. Keys of the environment are never written.

        Args:
            data_dir: The worker's data directory; created if needed.
            environ: The environment. ``DEVARIA_RUNNER_API_KEY``, ``DEVARIA_SUBMIT_API_KEY`` and
                ``DEVARIA_ADMIN_API_KEY`` are read; an empty one counts as absent.

        Raises:
            ValueError: A key contains white space or non-ASCII, which no header can carry, or the
                keys file is damaged.
            OSError: The keys file cannot be read or written.
        """
        given = {name: environ.get(_variable(name), "").strip() for name in _names()}
        for name, key in given.items():
            if not (key.isascii() and key.isprintable()) or " " in key:
                raise ValueError(f"{_variable(name)} must be printable ASCII without spaces")
        kept = {} if all(given.values()) else _kept_keys(data_dir / KEYS_FILE)
        return cls(**{name: given[name] or kept[name] for name in _names()})

    @property
    def figure(self) -> str:
        """The key for figure uploads, which jobs get.

        It is derived from the runner key and opens nothing else, and the runner key cannot be found
        from it. So a runner's jobs need no key that claims or deletes jobs.
        """
        return hmac.new(self.runner.encode(), b"figures", hashlib.sha256).hexdigest()

    @property
    def dashboard_token(self) -> str:
        """The token in the dashboard's link.

        It is derived from the admin key, whose holders may do all that the dashboard does. So it
        lasts as long as that key, and there is no other secret to keep.
        """
        return hmac.new(self.admin.encode(), b"dashboard", hashlib.sha256).hexdigest()[:32]

    def export_lines(self) -> List[str]:
        """Return three shell lines that set the keys, ``export DEVARIA_RUNNER_API_KEY=…`` first."""
        return [f"export {_variable(name)}={key}" for name, key in asdict(self).items()]


def _names() -> List[str]:
    return [field.name for field in fields(WorkerKeys)]


def _variable(name: str) -> str:
    return f"DEVARIA_{name.upper()}_API_KEY"


def _kept_keys(path: Path) -> Dict[str, str]:
    """Read the keys file, or make it if there is none."""
    try:
        kept = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return _new_keys(path)
    except ValueError:
        kept = None
    if not isinstance(kept, dict) or not all(_is_key(kept.get(name)) for name in _names()):
        # Runners on other machines hold these keys. New keys would lock them out silently.
        raise ValueError(f"{path} is damaged; restore it, or delete it to get new keys")
    return kept


def _is_key(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and bool(value)


def _new_keys(path: Path) -> Dict[str, str]:
    made = {name: secrets.token_hex(32) for name in _names()}
    path.parent.mkdir(parents=True, exist_ok=True)
    # mkstemp sets mode 0600 from the start; the rename means that no half-written file is left.
    handle, temporary = tempfile.mkstemp(dir=str(path.parent), prefix=".keys-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(made, file, indent=2)
    Path(temporary).replace(path)
    return made
