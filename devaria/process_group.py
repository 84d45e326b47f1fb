"""Starts a child with all that it may start as one group, and ends that group as one."""

import contextlib
import os
import signal
import subprocess
import sys
from typing import Any, Dict, List, Optional

import psutil

#: How long a group is given to end by itself after SIGTERM, in seconds.
GRACE_SEC = 10.0


def own_group() -> Dict[str, Any]:
    """Name the options of `subprocess.Popen` that put the child into a group of its own.

    Returns:
        Keyword arguments. The terminal's Ctrl-C then does not reach the child.
    """
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def sentinel_for(process: "subprocess.Popen[bytes]") -> "Optional[subprocess.Popen[bytes]]":
    """Start what ends a child's group when this process dies, however it dies.

    The child watches for that itself, but cannot while C code holds its GIL; and were it to die
    first, what it has started would go on. A shell that waits for the end of a pipe costs a
    millisecond and is on every POSIX system.

    Args:
        process: A child that was started with `own_group`.

    Returns:
        The sentinel, to be ended with `dismiss`; None on Windows, which has no such groups.

    Raises:
        OSError: It cannot be started.
    """
    if sys.platform == "win32":
        return None
    script = f"read _; kill -KILL -{process.pid}"
    return subprocess.Popen(["/bin/sh", "-c", script], stdin=subprocess.PIPE, env={}, **own_group())


def dismiss(sentinel: "Optional[subprocess.Popen[bytes]]") -> None:
    """End a sentinel; its group is then not its concern any more.

    Args:
        sentinel: What `sentinel_for` returned.
    """
    if sentinel is None:
        return
    sentinel.kill()
    sentinel.wait()
    if sentinel.stdin is not None:
        sentinel.stdin.close()


def end_group(process: "subprocess.Popen[bytes]", grace_sec: float = GRACE_SEC) -> None:
    """End a child and its group: SIGTERM, some time, SIGKILL; and wait for the child.

    Args:
        process: A child that was started with `own_group`; it may have ended already.
        grace_sec: Time between the two signals, in seconds; 0 to kill at once.
    """
    if process.poll() is None and grace_sec > 0:
        _signal_group(process, kill=False)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_sec)
    # Also where the child has ended: what it started may not have.
    _signal_group(process, kill=True)
    process.wait()


def tree_bytes(pid: int) -> int:
    """Measure the memory of a process and all its descendants.

    Args:
        pid: The process at the root.

    Returns:
        The sum of their resident sizes in bytes; 0 where the process is gone. Memory that they
        share counts once for each.
    """
    try:
        root = psutil.Process(pid)
        tree = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0
    return sum(_resident_bytes(process) for process in tree)


def _resident_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:  # it ended meanwhile
        return 0


def _signal_group(process: "subprocess.Popen[bytes]", *, kill: bool) -> None:
    if sys.platform == "win32":
        for member in _windows_tree(process.pid):
            with contextlib.suppress(psutil.Error):
                member.kill() if kill else member.terminate()
        return
    # The group's id is the child's, as it leads its session. It is gone when all members are.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL if kill else signal.SIGTERM)


def _windows_tree(pid: int) -> List[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [*root.children(recursive=True), root]
    except psutil.Error:
        return []
