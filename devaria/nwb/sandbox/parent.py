"""Start the child process that reads an untrusted file, and take its events.

A malicious file may make HDF5 crash, loop for ever, or run foreign code. So a child process
(`devaria.nwb.sandbox.child`) reads it. The child gets neither the keys nor the rest of this
environment. It is killed at the end of its time limit. This module is the parent's side of the
process; `devaria.nwb.sandbox.remote` is the parent's side of the file.
"""

import re
import signal
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Mapping, Optional, Sequence

from devaria.common.child_process import ChildProcess, exit_text, signal_name
from devaria.common.text import one_line
from devaria.nwb.errors import InvalidInputError, NotInFileError, NwbError
from devaria.nwb.limits import ReadLimits
from devaria.nwb.sandbox.ahead import waiting_process
from devaria.nwb.sandbox.exchange import Exchange

#: The longest text that is taken from the child.
_MAX_TEXT_CHARACTERS = 4_000

#: The signals with which HDF5 crashes on malicious files. SIGKILL is not one of them, since it may
#: mean that memory ran out.
_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGILL)

#: The signal at the end of the processor time; Windows has none.
_OUT_OF_CPU_TIME = getattr(signal, "SIGXCPU", None)

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
ReadProgress = Callable[[int, int], object]

#: Called with a line for the console.
Say = Callable[[str], object]

#: The errors that the child may name.
_ERRORS = {each.__name__: each for each in (InvalidInputError, NotInFileError, NwbError)}


@dataclass(frozen=True)
class Opening:
    """What a child needs to open a file.

    Attributes:
        url: URL of the file, http or https.
        limits: Limits on what is read. The child is killed after `max_total_sec`.
        allow_hosts: Hosts that may be connected to although they are not public.
    """

    url: str
    limits: ReadLimits
    allow_hosts: Sequence[str] = ()


class ReadingProcess:
    """A child process that reads one file. The constructor starts it.

    The child is in this process's group, so it also ends when that group is killed.

    Args:
        opening: The file.
        folder: An empty folder for arrays, and for the child's temporary files.
        environ: This process's environment.
        say: Called with lines for the console.
        progress: Called with the bytes read and to read.
        module: The module that the child runs.

    Attributes:
        pid: The child's process id.

    Raises:
        OSError: The process cannot be started.
    """

    def __init__(
        self,
        opening: Opening,
        folder: Path,
        environ: Mapping[str, str],
        say: Say,
        progress: ReadProgress,
        module: str,
    ) -> None:
        self._say = say
        self._progress = progress
        self._max_sec = opening.limits.max_total_sec
        self._max_cpu_sec = opening.limits.max_cpu_sec
        self._timed_out = False
        env = reading_environ(environ, folder)
        ahead = waiting_process(module, folder, env)
        self._process = ahead or ChildProcess(module, str(folder), env=env)
        self.pid = self._process.pid
        self._timer = threading.Timer(self._max_sec, self._time_out)
        self._timer.daemon = True
        self._timer.start()
        self._events = self._process.events()
        self._abandoned: Iterator[object] = iter(())
        self._is_busy = self._is_closed = False
        self._lie: Optional[NwbError] = None
        self._process.hand_over(asdict(opening))

    def close(self) -> None:
        """Kill the child."""
        self._is_closed = True
        self._timer.cancel()
        self._process.end()

    @contextmanager
    def exchange(self, operation: str, **arguments: Any) -> Iterator[Exchange]:
        """Send a request, and take the answer in the ``with`` block.

        Args:
            operation: Name of the operation.
            arguments: Its arguments, as JSON values.

        Yields:
            The answer.

        Raises:
            RuntimeError: The file is closed, or another answer is not taken yet.
        """
        # Imported here, since it imports numpy, and the child starts before that.
        from devaria.nwb.sandbox.checks import UntrueAnswerError

        if self._is_closed:
            raise RuntimeError("the file is closed")
        if self._is_busy:
            raise RuntimeError("arrays of this file are still being read: finish that loop first")
        if self._lie is not None:
            raise self._lie
        for _ in self._abandoned:  # up to the end of an answer that nobody took
            pass
        self._is_busy = True
        self._process.hand_over({"op": operation, **arguments})
        exchange = Exchange(self._answer(), self._process)
        try:
            yield exchange
        except UntrueAnswerError as error:
            self._lie = error
            self._process.kill()
            raise
        finally:
            self._is_busy = False
            if not self._is_closed:
                self._abandoned = exchange.abandoned()

    def _answer(self) -> Iterator[Dict[str, Any]]:
        """Yield the events of one answer, up to its last one. Progress and lines are passed on."""
        from devaria.nwb.sandbox.checks import wrong

        while True:
            if self._is_closed:
                raise RuntimeError("the file is closed")
            event = next(self._events, None)
            if event is None:
                raise self._death()
            kind = event["event"]
            if kind == "read":
                self._pass_on_progress(event)
            elif kind == "said":
                self._say(_text(event))
            elif kind in ("about", "array", "done"):
                yield event
                if kind == "done":
                    return
            elif kind == "failed":
                raise RuntimeError(f"reading the file failed: {_text(event)}")
            elif isinstance(kind, str) and kind in _ERRORS:
                raise _ERRORS[kind](_text(event))
            else:
                raise wrong("answer")

    def _pass_on_progress(self, event: Mapping[str, Any]) -> None:
        done, total = event.get("done"), event.get("total")
        if isinstance(done, int) and isinstance(total, int) and 0 <= done <= total:
            self._progress(done, total)

    def _time_out(self) -> None:
        self._timed_out = True
        self._process.kill()

    def _death(self) -> Exception:
        """Return the exception for a child that ended without an outcome."""
        code = self._exit_code()
        if self._timed_out:
            return NwbError(
                f"the file was not read within {self._max_sec:,.0f} s (DEVARIA_MAX_TOTAL_SEC)"
            )
        if -code == _OUT_OF_CPU_TIME:
            return NwbError(
                f"reading the file took more than {self._max_cpu_sec:,} s of processor time "
                "(DEVARIA_MAX_CPU_SEC)"
            )
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


def _text(event: Mapping[str, Any]) -> str:
    return one_line(str(event.get("text")), _MAX_TEXT_CHARACTERS)
