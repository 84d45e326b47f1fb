"""Reading a stranger's file in a process that has nothing to lose, seen from the one that has.

What HDF5 makes of a file that was made to mislead it is not to be known: it may crash, loop for
ever, or run code. So it is done in a child (``reading_child``) that is given neither the keys nor
the rest of this environment, that is killed when its time is up, and whose result is plain arrays
that are checked (``table_files``).
"""

import contextlib
import json
import re
import signal
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Dict, Mapping, Optional, Sequence, Type

from devaria.common.text import one_line
from devaria.nwb.errors import InvalidInputError, NwbError
from devaria.nwb.limits import ReadLimits

if TYPE_CHECKING:
    from devaria.nwb.units_table import UnitsTable

#: An event is a line of a few words; one that is longer is not an event.
_MAX_EVENT_BYTES = 64 * 1024
_MAX_TEXT_CHARACTERS = 4_000

#: How HDF5 ends on files that mislead it. SIGKILL is not of these: memory may have run out.
_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGILL)

#: How long a child that says nothing more may take to end, in seconds.
_EXIT_SEC = 5.0

#: What the child gets of the environment: what Python and its packages need. Not all but the
#: keys: those have many names.
_KEPT = re.compile("PATH|HOME|LANG|LC_.*|TZ|SYSTEMROOT|LD_LIBRARY_PATH|DYLD_LIBRARY_PATH|PYTHON.*")

#: No thread pools of numpy's linear algebra, which nobody uses here. And glibc's memory: two pools
#: for the threads that fetch, in place of one each, and large pieces given back when they are free;
#: else a third of it all would lie unused.
_LEAN = {
    **dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(2 * 1024 * 1024),
}

#: Called with bytes of the file that are read, and those to read.
ReadProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class ReadRequest:
    """What a child is to read.

    Attributes:
        url: Where the file is.
        units_path: The table's path in it.
        limits: Bounds of what is read; at ``max_total_sec`` the child is killed.
        allow_hosts: Hosts that may be connected to although they are not public.
    """

    url: str
    units_path: str
    limits: ReadLimits
    allow_hosts: Sequence[str] = ()


class Reading:
    """A child process that reads one units table; it is running as soon as this exists.

    As a context manager it kills the child at the end.

    Args:
        request: What to read.
        folder: An empty folder for the table, and for the child's temporary files.
        environ: This process's environment.
        module: What the child runs.

    Attributes:
        pid: The child's process id.

    Raises:
        OSError: The process cannot be started.
    """

    def __init__(
        self,
        request: ReadRequest,
        folder: Path,
        environ: Mapping[str, str],
        *,
        module: str = "devaria.nwb.sandbox.child",
    ) -> None:
        self._folder = folder
        self._max_sec = request.limits.max_total_sec
        self._timed_out = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=reading_environ(environ, folder),
        )
        self.pid = self._process.pid
        self._timer = threading.Timer(self._max_sec, self._time_out)
        self._timer.daemon = True
        self._timer.start()
        self._hand_over(request)

    def __enter__(self) -> "Reading":
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self._timer.cancel()
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None  # noqa: S101 - both were asked for
            with contextlib.suppress(BrokenPipeError):  # a request that nobody has read
                pipe.close()
        self._process.wait()

    def table(self, progress: ReadProgress, say: Callable[[str], None]) -> "UnitsTable":
        """Wait until the table is read.

        Args:
            progress: Is called with the bytes read and to read.
            say: Is called with lines for the console.

        Returns:
            The table; its spike times stay in the folder, and are read as they are needed.

        Raises:
            InvalidInputError: ``units_path`` names no units table of this file.
            NwbError: The file cannot be fetched or read, or not in time.
            RuntimeError: The child failed for another reason.
        """
        # Not sooner: it brings numpy with it, and the child is to start before that.
        from devaria.nwb.units_table import load_table

        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        while True:
            event = _event(self._process.stdout.readline(_MAX_EVENT_BYTES))
            kind = event.get("event")
            if kind == "read":
                progress(int(event["done"]), int(event["total"]))
            elif kind == "said":
                say(_text(event))
            elif kind == "done":
                return load_table(self._folder)
            else:
                raise self._failure(kind, _text(event))

    def _hand_over(self, request: ReadRequest) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        # A child that has died already says so by its exit code.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(asdict(request)).encode("ascii") + b"\n")
            self._process.stdin.flush()

    def _time_out(self) -> None:
        self._timed_out = True
        self._process.kill()

    def _failure(self, kind: Optional[str], text: str) -> Exception:
        if kind == "InvalidInputError":
            return InvalidInputError(text)
        if kind == "NwbError":
            return NwbError(text)
        if kind == "failed":
            return RuntimeError(f"reading the file failed: {text}")
        code = self._exit_code()
        if self._timed_out:
            return NwbError(f"the file was not read within {self._max_sec:,.0f} s")
        if -code in _CRASHES:
            return NwbError(f"the file crashes what reads it ({_name(-code)}): it is damaged")
        end = f"ended with exit code {code}" if code >= 0 else f"was killed by {_name(-code)}"
        return RuntimeError(f"reading the file failed: its process {end}")

    def _exit_code(self) -> int:
        try:
            # Its pipe ends a moment before the process.
            return self._process.wait(_EXIT_SEC)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def reading_environ(environ: Mapping[str, str], folder: Path) -> Dict[str, str]:
    """Make the child's environment.

    Args:
        environ: This process's environment.
        folder: Where the child's temporary files go.

    Returns:
        What the child needs of it, without any key.
    """
    kept = {name: value for name, value in environ.items() if _KEPT.fullmatch(name)}
    kept.update(dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder)))
    return {**kept, **_LEAN}


def _event(line: bytes) -> Dict[str, Any]:
    try:
        event = json.loads(line)
    except ValueError:  # the pipe has ended, or somebody else wrote into it
        return {}
    return event if isinstance(event, dict) else {}


def _text(event: Dict[str, Any]) -> str:
    return one_line(str(event.get("text")), _MAX_TEXT_CHARACTERS)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
