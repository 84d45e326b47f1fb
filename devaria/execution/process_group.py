"""Start a child and all that it starts as one group, and end that group as one."""

import contextlib
import os
import signal
import subprocess
import sys
from typing import Any, Dict, List, Optional, Set

import psutil

#: How long a group may take to end after SIGTERM, in seconds.
GRACE_SEC = 10.0


def own_group() -> Dict[str, Any]:
    """Return the options of `subprocess.Popen` that put the child into a group of its own.

    The terminal's Ctrl-C does not reach such a child.
    """
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


class Sentinel:
    """Ends the groups of children when this process dies, however it dies; for one thread.

    A child watches its parent itself, but cannot while C code holds its GIL. And if the child dies
    first, the programs that it has started go on. So a shell, which every POSIX system has, gets
    the list of groups and kills them when its pipe ends. The shell runs while there are groups.
    On Windows, which has no such groups, this does nothing.
    """

    _SCRIPT = "while read -r line; do groups=$line; done; for g in $groups; do kill -KILL -$g; done"

    def __init__(self) -> None:
        self._groups: Set[int] = set()
        self._shell: Optional[subprocess.Popen[bytes]] = None

    def watch(self, process: "subprocess.Popen[bytes]") -> None:
        """Watch over a child's group.

        Args:
            process: A child that was started with `own_group`.

        Raises:
            OSError: The shell cannot be started.
        """
        self._groups.add(process.pid)
        try:
            if sys.platform != "win32":
                self._tell()
        except OSError:
            self._groups.discard(process.pid)
            raise

    def forget(self, process: "subprocess.Popen[bytes]") -> None:
        """Stop watching over a child, whose group has ended.

        Args:
            process: Any child, also one that is not watched over.
        """
        self._groups.discard(process.pid)
        if self._shell is None:
            return
        if not self._groups:
            self._end_shell(self._shell)
            return
        with contextlib.suppress(OSError):  # the next `watch` starts a new shell
            self._tell()

    def _tell(self) -> None:
        line = f"{' '.join(map(str, self._groups))}\n".encode("ascii")
        if self._shell is not None:
            try:
                _write(self._shell, line)
            except BrokenPipeError:  # somebody killed the shell
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
    """End a child and its group by SIGTERM, then SIGKILL, and wait for the child.

    Args:
        process: A child that was started with `own_group`. It may have ended already.
        grace_sec: Time between the two signals, in seconds; 0 to kill at once.
    """
    if process.poll() is None and grace_sec > 0:
        _signal_group(process, kill=False)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_sec)
    # Also where the child has ended: programs that it started may go on.
    _signal_group(process, kill=True)
    process.wait()


def tree_bytes(pid: int) -> int:
    """Return the resident memory of a process and all its descendants, in bytes.

    Memory that they share counts once for each. The sum is 0 where the process is gone.

    Args:
        pid: The process at the root.
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
    except psutil.Error:  # the process has ended meanwhile
        return 0


def _signal_group(process: "subprocess.Popen[bytes]", *, kill: bool) -> None:
    if sys.platform == "win32":
        for member in _windows_tree(process.pid):
            with contextlib.suppress(psutil.Error):
                member.kill() if kill else member.terminate()
        return
    # The group has the id of the child, which leads it. It is gone when all its members are.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL if kill else signal.SIGTERM)


def _windows_tree(pid: int) -> List[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [*root.children(recursive=True), root]
    except psutil.Error:
        return []
