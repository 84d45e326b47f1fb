"""Confine the process that reads an untrusted file, with Linux's Landlock.

A bug of HDF5 may let a file run code with the rights of this process. After `confine`, the process
can read the files of Python and of the system, write in one folder, and use the network. It cannot
look into other processes of the same user: Linux allows that (`/proc/PID/environ`, ptrace) only
within one Landlock domain.

Landlock is in Linux 5.13 and later, for any user (Documentation/userspace-api/landlock.rst).
Elsewhere `confine` does nothing.
"""

import ctypes
import os
import sys
from pathlib import Path
from typing import Iterable

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

_WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_FILE, _MAKE_REG = (1 << b for b in (1, 2, 3, 5, 8))
_TRUNCATE = 1 << 14

#: All rights of Landlock's first version except listing folders, which reveals little.
_FIRST_VERSION = (1 << 13) - 1 & ~_READ_DIR
#: The first version that has the right to truncate. Earlier ones refuse it as unknown.
_TRUNCATE_VERSION = 3

#: The system files that C libraries read while a program runs: name resolution, certificates.
_SYSTEM = ("/usr", "/lib", "/lib64", "/etc", "/nix/store", "/dev/null", "/dev/urandom")


class _RulesetAttr(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64),)


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
    attr = _RulesetAttr(handled)
    ruleset = _call(_CREATE_RULESET, ctypes.byref(attr), ctypes.sizeof(attr), 0)
    try:
        # /etc/resolv.conf may be a link; Landlock looks at its target.
        system = [Path(name) for name in _SYSTEM] + [Path("/etc/resolv.conf").resolve()]
        for path in (*system, *readable):
            _allow(ruleset, path, _READ_FILE)
        own = _READ_FILE | _WRITE_FILE | _REMOVE_FILE | _MAKE_REG | _TRUNCATE
        _allow(ruleset, writable, own & handled)
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return True


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
