"""The keeper of a job process: what a job has started outlives neither the job nor its runner.

On Linux, `python -m devaria.execution.child` splits in two before it imports anything. The process
that the runner has started becomes the keeper, and its child runs the job. The keeper is a
*subreaper*: a process that leaves the job's session, and whose parent ends, becomes its child. So
all that the job has started stays below the keeper, where it is found, counted and killed.

The keeper ends with the exit status of the job's process. It kills what is left when that process
ends, and when the runner closes the pipe of requests, by dying or on purpose. It is forked, not
started, since a new interpreter would cost more than the rest of a short job. That is safe because
there is one thread, and no package is loaded yet. Each job process imports this module, so it
imports little.

A job may kill its keeper. So the runner is a subreaper, too, and ends what is left to it then.
"""

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Dict, List, Optional, Set

if TYPE_CHECKING:
    import subprocess

#: prctl(2): descendants whose parent has ended become children of this process.
_PR_SET_CHILD_SUBREAPER = 36
#: prctl(2): the kernel sends this process a signal when its parent dies.
_PR_SET_PDEATHSIG = 1

#: How long the keeper tries to kill what is left, in seconds. What waits for a dead disk cannot be
#: killed, nor can a program of another user.
KILL_SEC = 5.0
#: Between two tries, in seconds.
_KILL_GAP_SEC = 0.001

#: The children that this process had when it began to adopt orphans; empty if it does not adopt.
_children_before: List[Set[int]] = []


def has_keeper() -> bool:
    """Return whether job processes have a keeper on this system."""
    return sys.platform == "linux"


def split_off_job(group: Optional[str] = None) -> None:
    """Split this process. Only the job's process returns; the other one keeps it.

    On systems other than Linux, this does nothing. Call it while there is one thread.

    Args:
        group: The folder of a control group that both processes join, or None.
    """
    if not has_keeper():
        return
    if group is not None:
        _write(f"{group}/cgroup.procs", b"0")
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    keeper = os.getpid()
    job = os.fork()
    if job:
        try:
            code = _Keeper(job, group).keep()
        except BaseException:  # whatever it is, the keeper must never go on as the job
            code = 1
        os._exit(code)
    # If somebody kills the keeper, nobody else would end the job.
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != keeper:
        os._exit(1)
    # A session of its own: what the job does to its own group does not reach the keeper.
    os.setsid()


# --- the runner's side -------------------------------------------------------------------------


def adopt_orphans() -> None:
    """Let this process adopt what a job leaves that has killed its keeper.

    It is for a process whose new children are each a `ChildProcess`: `end_orphans` kills others.
    """
    if has_keeper():
        _children_before[:] = [_children()]
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_orphans() -> None:
    """Kill what this process has adopted, and wait for it, if it adopts orphans."""
    if not _children_before:
        return
    import time

    from devaria.common.child_process import STARTING, started_children

    give_up_at = time.monotonic() + KILL_SEC
    out_of_reach = set(_children_before[0])
    while time.monotonic() < give_up_at:
        with STARTING:
            orphans = _children() - started_children() - out_of_reach
        if not orphans:
            return
        for pid in orphans:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, os.WNOHANG)
            except PermissionError:  # a program of another user
                out_of_reach.add(pid)
            except (ProcessLookupError, ChildProcessError):
                pass
        time.sleep(_KILL_GAP_SEC)


def resume(keeper: "subprocess.Popen[bytes]") -> None:
    """Let a keeper go on that its job has stopped.

    Args:
        keeper: The process that the runner has started.
    """
    keeper.send_signal(signal.SIGCONT)


def _children() -> Set[int]:
    """Return the children of this process; none where the kernel does not list them."""
    found: Set[int] = set()
    for thread in os.listdir("/proc/self/task"):  # noqa: PTH208 - pathlib takes long to import
        # A thread may have ended.
        with contextlib.suppress(OSError), open(f"/proc/self/task/{thread}/children", "rb") as file:  # noqa: PTH123 - no pathlib
            found.update(map(int, file.read().split()))
    return found


# --- the keeper --------------------------------------------------------------------------------


def _prctl(option: int, argument: int) -> None:
    """Call prctl(2). Where the system refuses, the keeper finds only what stays below the job."""
    # Each job waits for this, and `ctypes` takes 5 ms to import; its C module takes less than 1.
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import _ctypes

        here = _ctypes.dlopen(None, 0)  # type: ignore[arg-type] # None: what is loaded already
        prctl = _ctypes.dlsym(here, "prctl")
        _ctypes.call_function(prctl, (option, int(argument), 0, 0, 0))


class _Keeper:
    """Waits for the job's process, and ends all that is below this process.

    Args:
        job: The job's process.
        group: The folder of the control group that this process is in, or None.
    """

    def __init__(self, job: int, group: Optional[str]) -> None:
        self._job = job
        self._group = group
        self._status: Optional[int] = None

    def keep(self) -> int:
        """Wait for the end of the job's process or of the runner, and kill all that is left.

        Returns:
            The exit code for this process, if no signal ended the job's process.
        """
        _leave_pipes()
        self._wait(self._listen())
        self._kill_all()
        return self._exit_code()

    def _listen(self) -> int:
        """Pass on SIGTERM. Return a pipe that is written to at each signal."""
        woken, wakes = os.pipe()
        for pipe in (woken, wakes):
            os.set_blocking(pipe, False)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: self._signal_job())
        return woken

    def _signal_job(self) -> None:
        try:
            os.killpg(self._job, signal.SIGTERM)
        except ProcessLookupError:  # it has no group of its own yet, or has ended
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._job, signal.SIGTERM)

    def _wait(self, woken: int) -> None:
        import select

        poll = select.poll()
        # No event is asked for. So only the end of the pipe is told, and the job reads from it.
        poll.register(0, 0)
        poll.register(woken, select.POLLIN)
        while self._reap() and self._status is None:
            ready = dict(poll.poll())
            if 0 in ready:
                if self._group is not None:
                    # The last act of this process, too. No new process escapes it.
                    _write(f"{self._group}/cgroup.kill", b"1")
                return
            with contextlib.suppress(BlockingIOError):
                os.read(woken, 512)

    def _reap(self) -> bool:
        """Wait for all children that have ended. Return whether there are others."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return True
                if pid == self._job:
                    self._status = status
        except ChildProcessError:
            return False

    def _kill_all(self) -> None:
        import time

        give_up_at = time.monotonic() + KILL_SEC
        while self._reap() and time.monotonic() < give_up_at:
            for pid in _descendants():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(_KILL_GAP_SEC)

    def _exit_code(self) -> int:
        if self._status is None:
            return 1
        if os.WIFSIGNALED(self._status):
            _die_of(os.WTERMSIG(self._status))
        return os.WEXITSTATUS(self._status)


def _leave_pipes() -> None:
    """Close the pipes for events and for the console, so that they end with the job."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.close(null)


def _write(path: str, data: bytes) -> None:
    with contextlib.suppress(OSError), open(path, "wb", buffering=0) as file:  # noqa: PTH123 - no pathlib
        file.write(data)


def _descendants() -> List[int]:
    """Return the processes below this one."""
    children: Dict[int, List[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - pathlib takes long to import
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                children.setdefault(_parent_of(name), []).append(int(name))
    found: List[int] = []
    parents = [os.getpid()]
    while parents:
        below = children.pop(parents.pop(), [])
        found += below
        parents += below
    return found


def _parent_of(pid: str) -> int:
    with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - no pathlib
        # After the name, which may hold anything.
        return int(file.read().rpartition(b")")[2].split()[1])


def _die_of(number: int) -> None:
    """End this process by the signal that has ended the job's process; leave no core file."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # SIGKILL cannot be set, and need not
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
