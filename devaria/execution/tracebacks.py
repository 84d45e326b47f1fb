"""The traceback of a failed job: a full one for the runner's log, one for the public console.

A job process imports this module only when its handler has raised.
"""

import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import Dict, List, Optional

from devaria.common.machine import without_machine
from devaria.execution.result import without_folders

#: What the texts of an exception's chain are looked for in.
_PACKAGE = "devaria"


def full_traceback(error: BaseException, stack: Optional[TracebackType]) -> str:
    """Return a traceback as Python prints it.

    Args:
        error: What was raised.
        stack: Where, from the first frame to show on.
    """
    try:
        return "".join(traceback.format_exception(type(error), error, stack))
    except BaseException:  # an exception may fail when it is printed
        return "".join(traceback.format_tb(stack))


def public_traceback(error: BaseException, stack: Optional[TracebackType]) -> str:
    """Return a traceback for the public: it does not say where things lie on this machine.

    Args:
        error: What was raised.
        stack: Where, from the first frame to show on.

    Returns:
        The traceback. The path of a module begins with its package; that of any other file is its
        name. The home folder, the user and the host are not named, nor the folder of a file that
        could not be used.
    """
    try:
        told = traceback.TracebackException(type(error), error, stack)
        _shorten_paths(told)
        text = without_folders("".join(told.format()), error)
    except BaseException:  # an exception may fail when it is printed
        text = f"Traceback: {type(error).__name__}\n"
    return without_machine(text)


def is_raised_by_devaria(error: BaseException) -> bool:
    """Return whether devaria itself has raised an exception, such as for a wrong parameter."""
    stack = error.__traceback__
    while stack is not None and stack.tb_next is not None:
        stack = stack.tb_next
    module = "" if stack is None else str(stack.tb_frame.f_globals.get("__name__"))
    return module.partition(".")[0] == _PACKAGE


def _shorten_paths(told: traceback.TracebackException) -> None:
    """Shorten the paths of an exception, and of all that it has followed or holds."""
    modules = _paths_of_modules()
    waiting: List[Optional[traceback.TracebackException]] = [told]
    while waiting:
        each = waiting.pop()
        if each is None:
            continue
        for frame in each.stack:
            _ = frame.line  # it is read from the file, which is not found afterwards
            frame.filename = _shortened(frame.filename, modules)
        named = getattr(each, "filename", None)  # of a SyntaxError
        if isinstance(named, str):
            each.filename = _shortened(named, modules)
        waiting += [each.__cause__, each.__context__]
        waiting += getattr(each, "exceptions", None) or []  # Python 3.11 has groups


def _shortened(path: str, modules: Dict[str, str]) -> str:
    return modules.get(path) or path.replace("\\", "/").rpartition("/")[2]


def _paths_of_modules() -> Dict[str, str]:
    """Return the path from its package on for the file of each module that has one."""
    found = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and name != "__main__":
            path = Path(file)
            inside = path.parent if path.stem == "__init__" else path.with_suffix("")
            parts = name.split(".")
            # A module may lie elsewhere than its name says.
            if list(inside.parts[-len(parts) :]) == parts:
                root = inside.parents[len(parts) - 1]
                found[file] = path.relative_to(root).as_posix()
    return found
