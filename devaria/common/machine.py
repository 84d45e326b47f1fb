"""The names of this machine and of its user, cut out of texts that strangers read."""

import functools
import os
import re
import sys
from typing import Iterator, List, Tuple

#: A shorter name, and one of these, tells nobody who it is. It may be a part of any text.
_MIN_LENGTH = 3
_TELL_NOTHING = {"root", "user", "admin", "nobody", "ubuntu", "runner", "docker", "localhost"}

#: A line of the module `faulthandler`. A traceback has a comma before `in`.
_CRASH_LINE = re.compile(r"^(  File \")([^\"\n]*)(\", line \d+ in )", re.MULTILINE)


def without_machine(text: str) -> str:
    """Replace the home folder, the host's name and the user's name in a text.

    Args:
        text: Any text, such as the message of an exception.

    Returns:
        The text with `~`, `<host>` and `<user>` in their places.
    """
    for pattern, replacement in _patterns():
        text = pattern.sub(replacement, text)
    return text


def without_crash_paths(text: str) -> str:
    """Shorten the paths that Python prints when C code crashes in a job.

    Args:
        text: A console, or a part of it.

    Returns:
        The text with paths that begin with the package, or with the name of the file.
    """
    return _CRASH_LINE.sub(_with_short_path, text)


def _with_short_path(match: "re.Match[str]") -> str:
    before, path, after = match.groups()
    path = path.replace("\\", "/")
    for root in ("/site-packages/", "/dist-packages/"):
        if root in path:
            return f"{before}{path.rpartition(root)[2]}{after}"
    return f"{before}{path.rpartition('/')[2]}{after}"


@functools.lru_cache(maxsize=1)
def _patterns() -> List[Tuple["re.Pattern[str]", str]]:
    # The home folder first: the user's name is often a part of it.
    names = (
        (set(_homes()), "~", 0),
        ({name for name in _hosts() if _tells(name)}, "<host>", re.IGNORECASE),
        ({name for name in _users() if _tells(name)}, "<user>", 0),
    )
    return [
        (re.compile(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", flags), replacement)
        for found, replacement, flags in names
        for name in sorted(found, key=len, reverse=True)
    ]


def _tells(name: str) -> bool:
    return len(name) >= _MIN_LENGTH and name.lower() not in _TELL_NOTHING


def _homes() -> Iterator[str]:
    homes = [os.path.expanduser("~")]  # noqa: PTH111 - it never raises
    homes += [os.environ.get("HOME", ""), _account()[1]]
    for home in homes:
        path = home.rstrip("/\\")
        if len(path) > 1 and path != "~":
            yield path


def _hosts() -> Iterator[str]:
    import socket  # here, since a job process does without it

    name = socket.gethostname()
    yield name
    yield name.partition(".")[0]


def _users() -> Iterator[str]:
    for variable in ("LOGNAME", "USER", "USERNAME"):
        yield os.environ.get(variable, "")
    yield _account()[0]


def _account() -> Tuple[str, str]:
    """Return the name and the home folder of the user that this process runs as."""
    if sys.platform == "win32":
        return "", ""
    import pwd

    try:
        account = pwd.getpwuid(os.getuid())
    except KeyError:  # a container may have no such user
        return "", ""
    return account.pw_name, account.pw_dir
