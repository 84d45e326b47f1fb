"""Run commands on a pseudo-terminal, and return what they write to it."""

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path
from typing import Dict, List, Tuple

from waiting import BOUND_SEC

_COLOURS_AND_MOVES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_terminal(
    command: List[str], folder: Path, env: Dict[str, str], columns: int = 100
) -> Tuple[int, str]:
    """Run a command to its end; return its exit code and everything that it wrote."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={name: value for name, value in env.items() if name not in ("COLUMNS", "LINES")},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    seen = b""
    with contextlib.suppress(OSError):  # the other end is closed
        for data in iter(lambda: os.read(ours, 65536), b""):
            seen += data
    os.close(ours)
    return process.wait(BOUND_SEC), seen.decode().replace("\r\n", "\n")


def as_seen(text: str) -> str:
    """Return what stays on the screen: no moves, and the last state of an overwritten line."""
    lines = _COLOURS_AND_MOVES.sub("", text).split("\n")
    return "\n".join(line.rpartition("\r")[2] for line in lines)
