"""Takes the place of the reading child, and does what hostile code in it might do.

As `python -m probing_child FOLDER` it does what a request's path names, in place of the parser.
As `python probing_child.py parent WHAT FOLDER` it is a parent that starts such a child, prints the
child's process id, and waits.
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

from reaching import attempts, needs, tried

from devaria.common.parent_pipes import ParentPipes

#: The parent's pipe, before `ParentPipes` hides it.
_RAW_PIPE = os.dup(1)

KEYS = (b"FIGPACK_API_KEY=", b"DEVARIA_RUNNER_API_KEY=")


def environments_with_keys() -> List[str]:
    """Look for keys in the environments of all processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            content = path.read_bytes()
        except OSError:
            continue
        if any(key in content for key in KEYS):
            found.append(str(path))
    return found


def succeeds(action: Callable[[], object]) -> bool:
    """Try something that the system should not allow."""
    try:
        action()
    except OSError:
        return False
    return True


def look_around(folder: Path) -> Dict[str, Any]:
    """Try what code that has taken over the parser would try."""
    parent = os.getppid()
    key_file = Path("keys.env")
    return {
        "own": sorted(name for name in os.environ if "KEY" in name or "TOKEN" in name),
        "environments": environments_with_keys(),
        "parent's memory": succeeds(lambda: Path(f"/proc/{parent}/mem").open("rb")),
        "file with keys": succeeds(key_file.read_bytes),
        "files of others": succeeds(lambda: key_file.write_bytes(b"")),
        "programs": succeeds(lambda: subprocess.run(["/bin/true"], check=True)),
        "links": succeeds(lambda: (folder / "link").symlink_to(key_file.absolute())),
        "own folder": succeeds(lambda: (folder / "x").write_bytes(b"x")),
    }


@contextlib.contextmanager
def open_file(
    _opening: Dict[str, Any], folder: Path, parent: ParentPipes, _channel: Any
) -> Iterator[Callable[[Dict[str, Any]], Any]]:
    """Open nothing; answer a request by doing what it names."""

    def answer(request: Dict[str, Any]) -> Any:
        return act(wish(request), folder, parent)

    yield answer


def wish(request: Dict[str, Any]) -> str:
    """Return what a request names: the first text among its arguments."""
    if "types" in request:
        return str(request["types"][0])
    return str(request["wanted"][0][0] if "wanted" in request else request["path"])


def act(what: str, folder: Path, parent: ParentPipes) -> Any:
    """Do what a request names: a word, or a lie as JSON, or all of `reaching`."""
    if what.startswith("{"):
        return lie(json.loads(what), folder, parent)
    if what.startswith("reach "):
        return reach(json.loads(what[6:]), folder, parent)
    parent.send({"event": "said", "text": what})
    if what == "look":
        parent.send({"event": "said", "text": json.dumps(look_around(folder))})
    elif what in signal.Signals.__members__:
        os.kill(os.getpid(), signal.Signals[what])
    else:
        misbehave(what)
    return None


def misbehave(what: str) -> None:
    """Take time or memory, or end."""
    if what == "loop":
        while True:
            pass
    elif what == "loop in C":
        ctypes.PyDLL(None).sleep(60)  # holds Python's lock
    elif what == "sleep":
        time.sleep(60)
    elif what == "memory":
        bytearray(2 * 10**9)
    elif what == "exit":
        os._exit(3)
    elif what == "fail":
        raise ZeroDivisionError("\x1b[2Jby zero")


def reach(targets: Dict[str, Any], folder: Path, parent: ParentPipes) -> None:
    """Try all of `reaching`, and tell what came of it."""
    (folder / "own").touch()
    found = {**tried(attempts(targets)), **tried(needs())}
    parent.send({"event": "said", "text": json.dumps(found)})


def lie(told: Dict[str, Any], folder: Path, parent: ParentPipes) -> Any:
    """Make files and send events as told: `files` maps a name to a length or a kind.

    `raw` is written into the parent's pipe so many `times`, and `long` is the length of the answer.
    """
    for name, kind in told.get("files", {}).items():
        path = folder / name
        if kind == "link":
            (folder / "target").write_bytes(bytes(1000))
            path.symlink_to(folder / "target")
        elif kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        else:
            path.write_bytes(bytes(kind))
    for event in told.get("events", []):
        parent.send(event)
    if "raw" in told:
        os.write(_RAW_PIPE, told["raw"].encode() * told["times"])
    return "x" * told["long"] if "long" in told else told.get("value")


def be_a_parent(what: str, folder: str) -> None:
    """Start a child that does something, tell its process id, and wait."""
    from devaria.nwb.limits import ReadLimits
    from devaria.nwb.sandbox.parent import Opening
    from devaria.nwb.sandbox.remote import RemoteNwb

    opening = Opening("http://h/x", ReadLimits())
    with RemoteNwb(
        opening,
        Path(folder),
        os.environ,
        say=lambda _line: print(file.pid, flush=True),
        module="probing_child",
    ) as file:
        file.text(what)


if __name__ == "__main__":
    if sys.argv[1] == "parent":
        be_a_parent(*sys.argv[2:])
    else:
        from devaria.nwb.sandbox import child as reading_child

        reading_child.open_file = open_file
        reading_child.main()
