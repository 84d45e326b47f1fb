"""Refuse system calls that the reading process does without, with Linux's seccomp.

Landlock rules over files, and in newer versions over signals, abstract sockets and TCP. Code in
this process could still start processes, change the modes of files, or reach the user's services
through sockets. A filter refuses that, also where there is no Landlock. It looks at the numbers and
arguments of system calls (Documentation/userspace-api/seccomp_filter.rst).

What is refused fails with EPERM. ``clone3``, whose arguments a filter cannot see, and calls that
are newer than this list fail with ENOSYS: C libraries then do without them.

The filter is a program of our own: it is shorter than the use of a package would be, and such
packages need a C library that few machines have.
"""

import ctypes
import errno
import os
import platform
import struct
import sys
from typing import Iterator, List, Optional, Sequence, Tuple

from devaria.nwb.sandbox.syscalls import MACHINES, NEWEST, NUMBERS, REFUSED, Machine

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, _PR_SET_NO_NEW_PRIVS = 22, 2, 38

#: Instructions of BPF (``linux/bpf_common.h``): load a word of the system call, compare, return.
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06

_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_EPERM, _ENOSYS = _ERROR | errno.EPERM, _ERROR | errno.ENOSYS

#: Where a filter finds things (``struct seccomp_data``); the lower half of an argument comes first.
_AT_NUMBER, _AT_ARCH, _AT_ARGUMENTS = 0, 4, 16

#: A thread is cloned with this flag, a process without.
_CLONE_THREAD = 0x10000

#: What `prctl` may do: name threads and memory. Much else would loosen the tie to the parent.
_PRCTL_ALLOWED = (15, 16, 0x53564D41)

#: F_SETOWN, F_SETSIG, F_SETOWN_EX: signals of files could go to other processes.
_FCNTL_REFUSED = (8, 10, 15)

#: TIOCSTI, TIOCLINUX (type into the terminal), FIOSETOWN, SIOCSPGRP.
_IOCTL_REFUSED = (0x5412, 0x541C, 0x8901, 0x8902)

#: An instruction: what it does, jumps if true and if false, and its operand.
_Instruction = Tuple[int, int, int, int]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def refuse_system_calls() -> bool:
    """Give up the system calls of `devaria.nwb.sandbox.syscalls`, permanently.

    Call it before other threads start: it covers this thread and the threads that it starts later.

    Returns:
        True; False on systems without seccomp, and on processors that are not known here.
    """
    machine = _machine()
    if machine is None:
        return False
    code = b"".join(struct.pack("=HBBI", *each) for each in _filter(machine, os.getpid()))
    program = _Program(len(code) // 8, code)
    library = ctypes.CDLL(None)
    library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    failed: int = library.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0)
    return failed == 0


def _machine() -> Optional[Machine]:
    # A 32-bit Python uses the system calls of another processor.
    if sys.platform != "linux" or sys.maxsize < 2**32 or sys.byteorder != "little":
        return None
    return MACHINES.get(platform.machine())


def _filter(machine: Machine, pid: int) -> List[_Instruction]:
    column = machine.column
    program: List[_Instruction] = [
        (_LOAD, 0, 0, _AT_ARCH),
        *_unless((_IF_EQUAL, machine.audit_arch), _EPERM),
        (_LOAD, 0, 0, _AT_NUMBER),
        # Those of x32, a second numbering on x86-64, are larger than all others.
        *_when((_IF_AT_LEAST, NEWEST + 1), _ENOSYS),
        *_when((_IF_EQUAL, NUMBERS["clone3"][column]), _ENOSYS),
    ]
    for numbers in REFUSED.values():
        number = numbers[column]
        if number is not None:
            program += _when((_IF_EQUAL, number), _EPERM)
    rules = [
        ("kill", 0, _only(_IF_EQUAL, [pid])),
        ("tgkill", 0, _only(_IF_EQUAL, [pid])),
        ("clone", 0, _only(_IF_ANY_BIT, [_CLONE_THREAD])),
        ("prlimit64", 0, _only(_IF_EQUAL, [0, pid])),
        ("prctl", 0, _only(_IF_EQUAL, _PRCTL_ALLOWED)),
        ("fcntl", 1, _all_but(_FCNTL_REFUSED)),
        ("ioctl", 1, _all_but(_IOCTL_REFUSED)),
    ]
    for name, argument, rule in rules:
        load = (_LOAD, 0, 0, _AT_ARGUMENTS + 8 * argument)
        program += [(_IF_EQUAL, 0, 1 + len(rule), NUMBERS[name][column]), load, *rule]
    return [*program, (_RETURN, 0, 0, _ALLOW)]


def _when(condition: Tuple[int, int], answer: int) -> Iterator[_Instruction]:
    """Answer if a condition holds, else go on."""
    yield condition[0], 0, 1, condition[1]
    yield _RETURN, 0, 0, answer


def _unless(condition: Tuple[int, int], answer: int) -> Iterator[_Instruction]:
    """Answer if a condition does not hold, else go on."""
    yield condition[0], 1, 0, condition[1]
    yield _RETURN, 0, 0, answer


def _only(comparison: int, values: Sequence[int]) -> List[_Instruction]:
    """Allow a few values of an argument."""
    allowed = [each for value in values for each in _when((comparison, value), _ALLOW)]
    return [*allowed, (_RETURN, 0, 0, _EPERM)]


def _all_but(values: Sequence[int]) -> List[_Instruction]:
    """Refuse a few values of an argument."""
    refused = [each for value in values for each in _when((_IF_EQUAL, value), _EPERM)]
    return [*refused, (_RETURN, 0, 0, _ALLOW)]
