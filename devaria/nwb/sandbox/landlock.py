"""Takes rights from the process that reads a stranger's file, with Linux's Landlock.

Whoever got code of theirs to run in there, through a bug of HDF5, would have that process's rights.
After ``confine`` these are: read what Python and the system consist of, write in one folder, use
the network. In particular no other process of the same user can be looked into: Linux allows
that (``/proc/PID/environ``, ptrace) only within one Landlock domain.

Landlock is in Linux 5.13 and later (Documentation/userspace-api/landlock.rst), for any user.
Elsewhere nothing happens here.
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

#: All rights of Landlock's first version, but for listing folders, which gives little away.
_FIRST_VERSION = (1 << 13) - 1 & ~_READ_DIR
#: Since when there is the right to truncate, without which it is not asked for.
_TRUNCATE_VERSION = 3

#: What C libraries read of the system while a program runs: name resolution, certificates.
_SYSTEM = ("/usr", "/lib", "/lib64", "/etc", "/nix/store", "/dev/null", "/dev/urandom")


class _RulesetAttr(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64),)


class _PathBeneathAttr(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"  # as Python 3.14 wants it said where something is packed
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def confine(writable: Path, readable: Iterable[Path]) -> bool:
    """Take all rights to files and processes from this thread, for good, but for the named ones.

    To be called while there is no other thread; threads to come have no more rights.

    Args:
        writable: The folder in which files may be made and written.
        readable: Folders and files that may be read, beside the system's own.

    Returns:
        Whether that was done: it is not where the system has no Landlock.
    """
    version = landlock_version()
    if version < 1:
        return False
    handled = _FIRST_VERSION | (_TRUNCATE if version >= _TRUNCATE_VERSION else 0)
    attr = _RulesetAttr(handled)
    ruleset = _call(_CREATE_RULESET, ctypes.byref(attr), ctypes.sizeof(attr), 0)
    try:
        # Where /etc/resolv.conf is a link, what it leads to counts.
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
    """Tell which version of Landlock this system has.

    Returns:
        1 or more; 0 where there is none.
    """
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
