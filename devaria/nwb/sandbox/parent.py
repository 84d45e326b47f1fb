"""Read an untrusted file in a child process that has no keys.

A malicious file may make HDF5 crash, loop for ever, or run foreign code. So a child process
(`devaria.nwb.sandbox.child`) reads it. The child gets neither the keys nor the rest of this
environment. It is killed at the end of its time limit. Its result is plain arrays, which are
checked (`devaria.nwb.units_table`). This module is the parent's side.
"""

import re
import signal
import subprocess
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Dict, Mapping, Optional, Sequence, Type

from devaria.common.child_process import ChildProcess, exit_text, signal_name
from devaria.common.text import one_line
from devaria.nwb.errors import InvalidInputError, NwbError
from devaria.nwb.limits import ReadLimits

if TYPE_CHECKING:
    from devaria.nwb.units_table import UnitsTable

#: The longest text that is taken from the child.
_MAX_TEXT_CHARACTERS = 4_000

#: The signals with which HDF5 crashes on malicious files. SIGKILL is not one of them, since it may
#: mean that memory ran out.
_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGILL)

#: How long a child that has closed its pipe may take to end, in seconds.
_EXIT_SEC = 5.0

#: The variables that the child gets: those that Python and its packages need. A list of keys to
#: leave out would miss some, since keys have many names.
_KEPT = re.compile("PATH|HOME|LANG|LC_.*|TZ|SYSTEMROOT|LD_LIBRARY_PATH|DYLD_LIBRARY_PATH|PYTHON.*")

#: Settings that save memory. numpy's linear algebra is not used, so it needs no thread pools.
#: glibc would keep a memory pool for each thread that fetches, and a third of all memory unused:
#: two pools are enough, and large pieces go back to the system at once.
_LEAN = {
    **dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(2 * 1024 * 1024),
}

#: Called with the bytes of the file that are read, and those to read.
ReadProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class ReadRequest:
    """A request to a child to read one units table.

    Attributes:
        units_path: The table's path in the file.
        limits: Limits on what is read. The child is killed after `max_total_sec`.
        allow_hosts: Hosts that may be connected to although they are not public.
    """

    url: str
    units_path: str
    limits: ReadLimits
    allow_hosts: Sequence[str] = ()


class Reading:
    """A child process that reads one units table. The constructor starts it.

    As a context manager, it kills the child at the end of the block. The child is in this process's
    group, so it also ends when that group is killed.

    Args:
        request: What to read.
        folder: An empty folder for the table, and for the child's temporary files.
        environ: This process's environment.
        module: The module that the child runs.

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
        self._process = ChildProcess(module, str(folder), env=reading_environ(environ, folder))
        self.pid = self._process.pid
        self._timer = threading.Timer(self._max_sec, self._time_out)
        self._timer.daemon = True
        self._timer.start()
        self._process.hand_over(asdict(request))

    def __enter__(self) -> "Reading":
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self._timer.cancel()
        self._process.end()

    def table(self, progress: ReadProgress, say: Callable[[str], None]) -> "UnitsTable":
        """Wait until the table is read.

        Args:
            progress: Called with the bytes read and to read.
            say: Called with lines for the console.

        Returns:
            The table. Its spike times stay in the folder, and are read as they are needed.

        Raises:
            InvalidInputError: The file has no units table at `units_path`.
            NwbError: The file cannot be fetched or read, or the time limit is over.
            RuntimeError: The child failed for another reason.
        """
        # Imported here, since it imports numpy, and the child starts before that.
        from devaria.nwb.units_table import load_table

        for event in self._process.events():
            kind = event["event"]
            if kind == "read":
                progress(int(event["done"]), int(event["total"]))
            elif kind == "said":
                say(_text(event))
            elif kind == "done":
                return load_table(self._folder)
            else:
                raise _error(kind, _text(event))
        raise self._death()

    def _time_out(self) -> None:
        self._timed_out = True
        self._process.kill()

    def _death(self) -> Exception:
        """Return the exception for a child that ended without an outcome."""
        code = self._exit_code()
        if self._timed_out:
            return NwbError(f"the file was not read within {self._max_sec:,.0f} s")
        if -code in _CRASHES:
            return NwbError(f"the file crashes its reader ({signal_name(-code)}): it is damaged")
        return RuntimeError(f"reading the file failed: its process {exit_text(code)}")

    def _exit_code(self) -> int:
        try:
            # The pipe ends a moment before the process.
            return self._process.wait(_EXIT_SEC)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def reading_environ(environ: Mapping[str, str], folder: Path) -> Dict[str, str]:
    """Return the child's environment: the variables that it needs, without any key.

    Args:
        environ: This process's environment.
        folder: Where the child's temporary files go.
    """
    kept = {name: value for name, value in environ.items() if _KEPT.fullmatch(name)}
    kept.update(dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder)))
    return {**kept, **_LEAN}


def _error(kind: str, text: str) -> Exception:
    if kind == "InvalidInputError":
        return InvalidInputError(text)
    if kind == "NwbError":
        return NwbError(text)
    return RuntimeError(f"reading the file failed: {text}")


def _text(event: Dict[str, Any]) -> str:
    return one_line(str(event.get("text")), _MAX_TEXT_CHARACTERS)
