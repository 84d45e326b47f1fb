"""Starts a child with all that it may start as one group, and ends that group as one."""

import contextlib
import os
import signal
import subprocess
import sys
from typing import Any, Dict, List, Optional, Set

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


class Sentinel:
    """Ends the groups of children when this process dies, however it dies; for one thread.

    A child watches for that itself, but cannot while C code holds its GIL; and were it to die
    first, what it has started would go on. So a shell, which is on every POSIX system, is told
    which groups there are, and waits for the end of its pipe. It is there while there are any.
    Windows has no such groups.
    """

    _SCRIPT = "while read -r line; do groups=$line; done; for g in $groups; do kill -KILL -$g; done"

    def __init__(self) -> None:
        self._groups: Set[int] = set()
        self._shell: Optional[subprocess.Popen[bytes]] = None

    def watch(self, process: "subprocess.Popen[bytes]") -> None:
        """Watch over a child that was started with `own_group`.

        Args:
            process: The child.

        Raises:
            OSError: It cannot be done.
        """
        self._groups.add(process.pid)
        try:
            if sys.platform != "win32":
                self._tell()
        except OSError:
            self._groups.discard(process.pid)
            raise

    def forget(self, process: "subprocess.Popen[bytes]") -> None:
        """Watch no more over a child, whose group has ended.

        Args:
            process: The child; it need not be watched over.
        """
        self._groups.discard(process.pid)
        if self._shell is None:
            return
        if not self._groups:
            self._end_shell(self._shell)
            return
        with contextlib.suppress(OSError):  # the next `watch` will see to it
            self._tell()

    def _tell(self) -> None:
        line = f"{' '.join(map(str, self._groups))}\n".encode("ascii")
        if self._shell is not None:
            try:
                _write(self._shell, line)
            except BrokenPipeError:  # somebody killed it
                self._end_shell(self._shell)
            else:
                return
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", self._SCRIPT],
            stdin=subprocess.PIPE,
            bufsize=0,
            env={},
            **own_group(),
        )
        _write(self._shell, line)

    def _end_shell(self, shell: "subprocess.Popen[bytes]") -> None:
        shell.kill()
        shell.wait()
        if shell.stdin is not None:
            shell.stdin.close()
        self._shell = None


def _write(shell: "subprocess.Popen[bytes]", line: bytes) -> None:
    assert shell.stdin is not None  # noqa: S101 - it was asked for
    shell.stdin.write(line)


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
