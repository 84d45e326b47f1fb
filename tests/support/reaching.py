"""What code that has taken over the reading process would try, beside reading files.

`python reaching.py LAYERS TARGETS NAMES` tries it in a process that has only the named layers of
the confinement: `landlock`, `seccomp`, or `none`. It tries what is named.
"""

import ctypes
import errno
import json
import mmap
import os
import platform
import resource
import signal
import socket
import sys
import threading
from itertools import chain
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Sequence, Tuple

#: Numbers of system calls that are the same on all processors, or those of x86-64 and of aarch64.
_COLUMN = 1 if platform.machine() == "aarch64" else 0
_TGKILL, _TKILL = (234, 131)[_COLUMN], (200, 130)[_COLUMN]
_IOPRIO_SET, _KCMP = (251, 30)[_COLUMN], (312, 272)[_COLUMN]
_BPF, _KEYCTL, _PERF = (321, 280)[_COLUMN], (250, 219)[_COLUMN], (298, 241)[_COLUMN]
_USERFAULTFD, _SHMGET = (323, 282)[_COLUMN], (29, 194)[_COLUMN]
_SECCOMP, _EXECVEAT = (317, 277)[_COLUMN], (322, 281)[_COLUMN]
_PROCESS_VM_READV, _PTRACE = (310, 270)[_COLUMN], (101, 117)[_COLUMN]
_PIDFD_OPEN, _PIDFD_GETFD, _PIDFD_SEND_SIGNAL, _IO_URING_SETUP, _CLONE3 = 434, 438, 424, 425, 435
_LATER, _X32_KILL = 1000, 0x40000000 + 62

Targets = Dict[str, Any]


def _libc(name: str, *arguments: Any) -> int:
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    result: int = function(*(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result


def _call(number: int, *arguments: Any) -> int:
    return _libc("syscall", number, *arguments)


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)
    os.wait()


def _connect(address: Any, family: int = socket.AF_UNIX) -> None:
    with socket.socket(family) as client:
        client.connect(address)


def _listen() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()


def _send_datagram() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("127.0.0.1", 9))


def attempts(targets: Targets) -> Iterator[Tuple[str, Callable[[], object]]]:
    """Name what is tried.

    Args:
        targets: `pid` of a process, `file` and `socket` by path, `abstract` name, `port`.
    """
    pid, file, own_file = targets["pid"], Path(targets["file"]), Path(targets["folder"], "own")
    attributes = ctypes.create_string_buffer(256)
    yield "signal a process", lambda: os.kill(pid, signal.SIGCONT)
    yield "signal a group", lambda: os.kill(-os.getpgid(0), 0)
    yield "signal all", lambda: os.kill(-1, 0)
    yield "signal a thread", lambda: _call(_TGKILL, pid, pid, 0)
    yield "signal any thread", lambda: _call(_TKILL, pid, 0)
    yield "queue a signal", lambda: _libc("sigqueue", pid, 0, ctypes.c_void_p())
    yield "hold a process", lambda: os.close(_call(_PIDFD_OPEN, pid, 0))
    yield "take a descriptor", lambda: _call(_PIDFD_GETFD, 0, 0, 0)
    yield "signal by descriptor", lambda: _call(_PIDFD_SEND_SIGNAL, 0, 0, 0, 0)
    yield "compare processes", lambda: _call(_KCMP, pid, pid, 0, 0, 0)
    yield "renice", lambda: os.setpriority(os.PRIO_PROCESS, pid, 10)
    yield "renice all", lambda: os.setpriority(os.PRIO_USER, os.getuid(), 0)
    yield "input priority", lambda: _call(_IOPRIO_SET, 1, pid, 3 << 13)
    yield "schedule", lambda: os.sched_setaffinity(pid, os.sched_getaffinity(pid))
    yield "policy", lambda: os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0))
    yield "limit a process", lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE)
    yield "trace", lambda: _call(_PTRACE, 0x4206, pid, 0, 0)
    yield "memory of a process", lambda: _call(_PROCESS_VM_READV, pid, 0, 0, 0, 0, 0)
    yield "start a process", _fork
    yield "run a program", lambda: os.spawnv(os.P_WAIT, "/bin/true", ["true"]) or None
    yield "be a program", lambda: _call(_EXECVEAT, -1, b"/nowhere", 0, 0, 0)
    yield "leave the session", os.setsid
    yield "outlive the parent", lambda: _libc("prctl", 1, 0, 0, 0, 0)
    yield "mode", lambda: file.chmod(0o600)
    yield "mode of an own file", lambda: own_file.chmod(0o600)
    yield "owner", lambda: os.chown(file, os.getuid(), os.getgid())
    yield "attribute", lambda: os.setxattr(file, "user.x", b"x")
    yield "times", lambda: os.utime(file)
    yield "pair of sockets", lambda: [each.close() for each in socket.socketpair()]
    yield "unix socket", lambda: _connect(targets["socket"])
    yield "abstract socket", lambda: _connect("\0" + targets["abstract"])
    yield "loopback", lambda: _connect(("127.0.0.1", targets["port"]), socket.AF_INET)
    yield "listen", _listen
    yield "datagram", _send_datagram
    yield "netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close()
    yield "shared memory", lambda: _call(_SHMGET, 0, 4096, 0o600)
    yield "io_uring", lambda: _call(_IO_URING_SETUP, 1, attributes)
    yield "bpf", lambda: _call(_BPF, 0, attributes, 256)
    yield "keys", lambda: _call(_KEYCTL, 0, -3, 1)
    yield "counters", lambda: _call(_PERF, attributes, 0, -1, -1, 0)
    yield "page faults", lambda: os.close(_call(_USERFAULTFD, 1))
    yield "mount", lambda: _libc("mount", b"none", targets["folder"].encode(), b"tmpfs", 0, None)
    yield "namespace", lambda: _libc("unshare", 0x10000000)
    yield "root", lambda: os.chroot("/")
    yield "filter", lambda: _call(_SECCOMP, 2, 0, ctypes.byref(ctypes.c_uint32(0x7FFF0000)))
    yield "clone3", lambda: _call(_CLONE3, attributes, 0)
    yield "a later call", lambda: _call(_LATER)
    yield "x32", lambda: _call(_X32_KILL, pid, 0)
    yield "signals of a file", _own_signals


def _own_signals() -> None:
    import fcntl

    read, write = os.pipe()
    try:
        fcntl.fcntl(read, fcntl.F_SETOWN, os.getppid())
    finally:
        os.close(read)
        os.close(write)


def needs() -> Iterator[Tuple[str, Callable[[], object]]]:
    """Name what the reading process itself does."""

    def thread() -> None:
        done = threading.Event()
        threading.Thread(target=done.set).start()
        assert done.wait(60)

    yield "a thread", thread
    yield "a signal to itself", lambda: os.kill(os.getpid(), 0)
    yield "a signal of a thread", lambda: signal.pthread_kill(threading.get_ident(), 0)
    yield "its own limits", lambda: resource.getrlimit(resource.RLIMIT_AS)
    yield "memory", lambda: mmap.mmap(-1, 1 << 20).close()
    yield "random bytes", lambda: os.urandom(16)
    yield "its name", lambda: _libc("prctl", 15, b"reader", 0, 0, 0)


def tried(
    named: Iterator[Tuple[str, Callable[[], object]]], names: Sequence[str] = ()
) -> Dict[str, str]:
    """Do all that, or what is named; return for each "done", or the error's name."""
    found = {}
    for name, action in named:
        if names and name not in names:
            continue
        try:
            action()
        except OSError as error:
            found[name] = errno.errorcode.get(error.errno, str(error))
        else:
            found[name] = "done"
    return found


def main() -> None:
    """Try all in this process, with some of the layers."""
    from devaria.nwb.sandbox.landlock import confine, isolate
    from devaria.nwb.sandbox.seccomp import refuse_system_calls

    layers, targets = sys.argv[1], json.loads(sys.argv[2])
    Path(targets["folder"], "own").touch()
    if layers == "landlock":
        confine(Path(targets["folder"]), [Path(sys.prefix), Path(sys.base_prefix)])
        isolate()
    if layers == "seccomp":
        assert refuse_system_calls()
    print(json.dumps(tried(chain(attempts(targets), needs()), sys.argv[3].split(","))))


if __name__ == "__main__":
    main()
