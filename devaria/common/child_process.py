"""Run a Python module in a child process, exchange JSON lines with it, and end process groups.

This is the parent's side. `devaria.common.parent_pipes` is the child's.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import weakref
from typing import IO, TYPE_CHECKING, Any, Dict, Iterator, Mapping, Optional, Set

if TYPE_CHECKING:
    _Popen = subprocess.Popen[bytes]
else:  # Python 3.8 cannot subscript it at run time
    _Popen = subprocess.Popen


#: The longest event, in bytes: a job's result or its console, with JSON's escapes.
_MAX_EVENT_BYTES = 16_000_000

#: Takes the place of what is no event.
UNREADABLE: Dict[str, Any] = {"event": "unreadable"}

#: Held while a child is started, so that its parent never has one that `started_children` lacks.
STARTING = threading.Lock()
_started: "weakref.WeakSet[ChildProcess]" = weakref.WeakSet()


class ChildProcess(_Popen):
    """A child process that takes requests and sends events.

    Args:
        module: Runs as `python -m module`.
        arguments: The module's command line.
        env: The child's whole environment.
        options: Further options of `subprocess.Popen`.

    Raises:
        OSError: The process cannot be started.
    """

    def __init__(
        self, module: str, *arguments: str, env: Mapping[str, str], **options: Any
    ) -> None:
        with STARTING:
            super().__init__(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # A crash in C code then prints where it happened.
                env={**env, "PYTHONFAULTHANDLER": "1"},
                **options,
            )
            _started.add(self)

    def hand_over(self, request: Mapping[str, Any]) -> None:
        """Send a request. A child that is gone shows by its exit code, not here.

        Args:
            request: JSON values.
        """
        stdin = _existing(self.stdin)
        with contextlib.suppress(OSError):
            stdin.write(json.dumps(request).encode("ascii") + b"\n")
            stdin.flush()

    def events(self) -> Iterator[Dict[str, Any]]:
        """Yield the child's events until its pipe ends, which may be before the child does.

        Yields:
            Dicts that have an entry `event`. Code in the child may write into the pipe itself: a
            line that is not such a dict, or each part of one of more than 16 MB, is `UNREADABLE`.
            A short line that the child began, and died, is left out.
        """
        with _existing(self.stdout) as pipe:
            for line in iter(lambda: pipe.readline(_MAX_EVENT_BYTES), b""):
                if line.endswith(b"\n") or len(line) == _MAX_EVENT_BYTES:
                    yield _event(line)

    def close_stdin(self) -> None:
        """Close the child's standard input. The child ends when it notices."""
        with contextlib.suppress(OSError):  # the child has not read its request
            _existing(self.stdin).close()

    def end(self) -> None:
        """Kill the child, close the pipes and wait. No other thread may be reading from them."""
        self.kill()
        self.close_stdin()
        with self:  # closes the other pipes and waits
            pass


def started_children() -> Set[int]:
    """Return the process ids of each `ChildProcess` of this process. Hold `STARTING` for it."""
    return {child.pid for child in _started}


def exit_text(exit_code: int) -> str:
    """Return how a process ended, in words.

    Args:
        exit_code: Its exit code; negative if a signal ended it.

    Returns:
        A predicate such as `ended with exit code 3` or `was killed by SIGSEGV`.
    """
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    return f"was killed by {signal_name(-exit_code)}"


def signal_name(number: int) -> str:
    """Return a signal's name, such as `SIGSEGV`; `signal 99` if it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _event(line: bytes) -> Dict[str, Any]:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return UNREADABLE
    return event if isinstance(event, dict) and "event" in event else UNREADABLE


def _existing(pipe: Optional[IO[bytes]]) -> IO[bytes]:
    assert pipe is not None  # noqa: S101 - the constructor asks for both
    return pipe


# --- groups of processes -----------------------------------------------------------------------

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
    """Kills the process groups of children when this process dies. It is for one thread.

    A child notices the death of its parent itself, but not while C code holds the child's GIL. And
    if the child dies first, the programs that it has started go on. So a shell, which every POSIX
    system has, reads the list of groups from a pipe and kills them when the pipe ends. The shell
    runs while there are groups. On Windows, which has no such groups, this does nothing.
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
                self._send_groups()
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
            self._send_groups()

    def _send_groups(self) -> None:
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
    assert shell.stdin is not None  # noqa: S101 - started with stdin=PIPE
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
    # Also if the child has ended: programs that it started may go on.
    _signal_group(process, kill=True)
    process.wait()


def _signal_group(process: "subprocess.Popen[bytes]", *, kill: bool) -> None:
    if sys.platform == "win32":
        _signal_windows_tree(process.pid, kill=kill)
        return
    # The group has the id of the child, which leads it. It is gone when all its members are.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL if kill else signal.SIGTERM)


def _signal_windows_tree(pid: int, *, kill: bool) -> None:
    import psutil  # here, since only Windows needs it for this, and it takes long to import

    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        for member in [*root.children(recursive=True), root]:
            with contextlib.suppress(psutil.Error):
                member.kill() if kill else member.terminate()
