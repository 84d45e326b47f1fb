"""Finds handlers: those that devaria brings, and those that an operator names."""

import importlib
import sys
from pathlib import Path
from typing import Dict, Sequence, Type

from devaria.jobs import JOB_HANDLERS, JobHandler


def load_handlers(extra: Sequence[str] = ()) -> Dict[str, Type[JobHandler]]:
    """Collect the handlers that this process can run.

    Args:
        extra: Handlers beside the built-in ones, each as `job_type=module:Class`.

    Returns:
        The handler classes by job type.

    Raises:
        ValueError: An entry is not of that form, its type is taken, or it is no handler class.
        ImportError: A module cannot be imported.
    """
    handlers = dict(JOB_HANDLERS)
    # A handler under development lies in the working directory, which a command's path lacks.
    here = str(Path.cwd())
    if extra and here not in sys.path:
        sys.path.append(here)
    for entry in extra:
        job_type, _, target = entry.partition("=")
        module_name, _, class_name = target.partition(":")
        if not (job_type and module_name and class_name):
            raise ValueError(f"handler {entry!r} is not of the form job_type=module:Class")
        if job_type in handlers:
            raise ValueError(f"handler {entry!r}: the job type {job_type!r} is taken")
        handler = getattr(importlib.import_module(module_name), class_name, None)
        if not (isinstance(handler, type) and issubclass(handler, JobHandler)):
            raise ValueError(f"handler {entry!r}: {class_name} is no JobHandler class there")
        handlers[job_type] = handler
    return handlers
