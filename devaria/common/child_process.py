"""A Python module that runs in a child process and talks to its parent in JSON lines.

This is the parent's side. `devaria.common.parent_pipes` is the child's.
"""

import contextlib
import json
import signal
import subprocess
import sys
from typing import IO, TYPE_CHECKING, Any, Dict, Iterator, Mapping, Optional

if TYPE_CHECKING:
    _Popen = subprocess.Popen[bytes]
else:  # Python 3.8 cannot subscript it at run time
    _Popen = subprocess.Popen


#: The longest event, in bytes: a job's result or its console, with JSON's escapes.
_MAX_EVENT_BYTES = 16_000_000


class ChildProcess(_Popen):
    """A child process that takes one request and sends events.

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
        super().__init__(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # A crash in C code then prints where it happened.
            env={**env, "PYTHONFAULTHANDLER": "1"},
            **options,
        )

    def hand_over(self, request: Mapping[str, Any]) -> None:
        """Send the request. A child that is gone shows by its exit code, not here.

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
            Dicts that have an entry `event`. Code in the child may write into the pipe itself.
            Lines that are not such a dict, or are longer than 16 MB, are left out.
        """
        with _existing(self.stdout) as pipe:
            for line in iter(lambda: pipe.readline(_MAX_EVENT_BYTES), b""):
                try:
                    event = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(event, dict) and "event" in event:
                    yield event

    def close_stdin(self) -> None:
        """Close the child's standard input. The child ends when it notices."""
        with contextlib.suppress(OSError):  # a request that nobody has read
            _existing(self.stdin).close()

    def end(self) -> None:
        """Kill the child, close the pipes and wait. No other thread may be reading from them."""
        self.kill()
        self.close_stdin()
        with self:  # closes the other pipes and waits
            pass


def exit_text(exit_code: int) -> str:
    """Say how a process ended.

    Args:
        exit_code: Its exit code; negative where a signal ended it.

    Returns:
        A predicate such as `ended with exit code 3` or `was killed by SIGSEGV`.
    """
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    return f"was killed by {signal_name(-exit_code)}"


def signal_name(number: int) -> str:
    """Return a signal's name, such as `SIGSEGV`; `signal 99` where it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _existing(pipe: Optional[IO[bytes]]) -> IO[bytes]:
    assert pipe is not None  # noqa: S101 - the constructor asks for both
    return pipe
