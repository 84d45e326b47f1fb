"""Confine the process that reads an untrusted file, with Linux's Landlock.

A bug of HDF5 may let a file run code with the rights of this process. After `confine`, the process
can read the files of Python and of the system, and write in one folder. It cannot look into other
processes of the same user: Linux allows that (`/proc/PID/environ`, ptrace) only within one Landlock
domain. After `isolate`, it cannot signal them or connect to them either, as far as the kernel's
version of Landlock has rules for that.

Landlock is in Linux 5.13 and later, for any user (Documentation/userspace-api/landlock.rst).
Elsewhere these functions do nothing.
"""

import ctypes
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Iterable, Iterator

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

_WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_FILE, _MAKE_REG = (1 << b for b in (1, 2, 3, 5, 8))
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15

#: All rights of Landlock's first version except listing folders, which reveals little.
_FIRST_VERSION = (1 << 13) - 1 & ~_READ_DIR
#: The first versions that have these rights. Earlier ones refuse them as unknown.
_TRUNCATE_VERSION, _NETWORK_VERSION, _IOCTL_DEV_VERSION, _SCOPES_VERSION = 3, 4, 5, 6

#: Binding and connecting TCP sockets; abstract unix sockets and signals of processes outside.
_ALL_TCP, _ALL_SCOPES = 0b11, 0b11

#: The system files that C libraries read while a program runs: name resolution, certificates.
_SYSTEM = ("/usr", "/lib", "/lib64", "/etc", "/nix/store", "/dev/null", "/dev/urandom")


class _RulesetAttr(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneathAttr(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"  # Python 3.14 requires a layout with _pack_
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def confine(writable: Path, readable: Iterable[Path]) -> bool:
    """Give up all rights to files and processes except the named ones, permanently.

    Call it before other threads start: it covers this thread and the threads that it starts later.

    Args:
        writable: The folder in which files may be made and written.
        readable: Folders and files that may be read, beside the system's own.

    Returns:
        True; False where the system has no Landlock.
    """
    version = landlock_version()
    if version < 1:
        return False
    handled = _FIRST_VERSION | (_TRUNCATE if version >= _TRUNCATE_VERSION else 0)
    handled |= _IOCTL_DEV if version >= _IOCTL_DEV_VERSION else 0
    with _restricting(_RulesetAttr(handled), version) as ruleset:
        # /etc/resolv.conf may be a link; Landlock looks at its target.
        system = [Path(name) for name in _SYSTEM] + [Path("/etc/resolv.conf").resolve()]
        for path in (*system, *readable):
            _allow(ruleset, path, _READ_FILE)
        own = _READ_FILE | _WRITE_FILE | _REMOVE_FILE | _MAKE_REG | _TRUNCATE
        _allow(ruleset, writable, own & handled)
    return True


def isolate() -> bool:
    """Give up all connections that are not open yet, and signals to processes outside, permanently.

    A child that was forked before has these rights still.

    Returns:
        True; False where Landlock has no rules for the network, before version 4. Version 6 and
        later rule over signals and abstract sockets too.
    """
    version = landlock_version()
    if version < _NETWORK_VERSION:
        return False
    scopes = _ALL_SCOPES if version >= _SCOPES_VERSION else 0
    with _restricting(_RulesetAttr(0, _ALL_TCP, scopes), version):
        return True


@contextmanager
def _restricting(attr: _RulesetAttr, version: int) -> Iterator[int]:
    """Restrict this thread at the end of the block to what the block allows."""
    # Each version knows so much of the structure.
    known = 8 if version < _NETWORK_VERSION else 16 if version < _SCOPES_VERSION else 24
    ruleset = _call(_CREATE_RULESET, ctypes.byref(attr), known, 0)
    try:
        yield ruleset
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def landlock_version() -> int:
    """Return the version of Landlock on this system; 0 where there is none."""
    if sys.platform != "linux":
        return 0
    try:
        return _call(_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION)
    except OSError:  # an older kernel, one that has it switched off, or a container that forbids it
        return 0


def _allow(ruleset: int, path: Path, access: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # not every system has every folder
        return
    try:
        attr = _PathBeneathAttr(access, descriptor)
        _call(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(attr), 0)
    finally:
        os.close(descriptor)


def _call(number: int, *arguments: object) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    longs = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result: int = library.syscall(ctypes.c_long(number), *longs)
    if result < 0:
        raise OSError(ctypes.get_errno(), "Landlock")
    return result
