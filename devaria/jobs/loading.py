"""Find handlers: devaria's own, those of installed packages, and those an operator names."""

import importlib
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple, Type

from devaria.jobs import JOB_HANDLERS, JobHandler

#: The entry point group of packages that bring handlers: `job_type = "module:Class"`.
ENTRY_POINT_GROUP = "devaria.jobs"


class HandlerUnavailableError(Exception):
    """This machine has no usable handler for a job type; the text says why."""


class FoundHandler(NamedTuple):
    """A job type that was found, with its handler or the reason why it cannot be loaded.

    Args:
        job_type: The job type.
        origin: Where the handler comes from, for people to read.
        handler: The handler class; None if it cannot be loaded.
        problem: Why it cannot be loaded, or None.
    """

    job_type: str
    origin: str
    handler: Optional[Type[JobHandler]]
    problem: Optional[str] = None

    def reasons_against(self) -> List[str]:
        """Return why such jobs cannot run here; an empty list if they can."""
        if self.handler is None:
            return [self.problem or "it cannot be loaded"]
        try:
            return self.handler.missing_requirements()
        except Exception as error:  # a handler may raise anything
            return [f"its missing_requirements() failed: {type(error).__name__}: {error}"]


def find_handlers(extra: Sequence[str] = ()) -> Dict[str, FoundHandler]:
    """Find all job types, also those whose handler cannot be loaded.

    Args:
        extra: Handlers under development, each as `module:Class` or `job_type=module:Class`.
            The default job type is the class's name in snake case, without `Handler` at its end.

    Returns:
        The job types by name, devaria's own first. If two handlers have the same name, neither is
            loaded.
    """
    found: Dict[str, FoundHandler] = {}
    for job_type, origin, load in _all_sources(extra):
        if job_type in found:
            problem = f"taken twice: by {found[job_type].origin} and by {origin}"
            found[job_type] = FoundHandler(
                job_type, f"{found[job_type].origin}, {origin}", None, problem
            )
        else:
            found[job_type] = _loaded(job_type, origin, load)
    return found


def handler_for(job_type: str, extra: Sequence[str] = ()) -> Type[JobHandler]:
    """Return the handler class of one job type; load no other.

    Args:
        job_type: The job type.
        extra: As for `find_handlers`.

    Raises:
        HandlerUnavailableError: There is none, or it cannot be loaded.
    """
    for name, origin, load in _all_sources(extra):
        if name == job_type:
            found = _loaded(name, origin, load)
            if found.handler is None:
                raise HandlerUnavailableError(f"{found.origin}: {found.problem}")
            return found.handler
    raise HandlerUnavailableError(f"there is no handler for jobs of type {job_type!r}")


_Source = Tuple[str, str, Callable[[], Any]]


def _all_sources(extra: Sequence[str]) -> Iterable[_Source]:
    for job_type, handler in JOB_HANDLERS.items():
        yield job_type, "devaria", partial(_itself, handler)
    for entry in extra:
        yield _named_source(entry)
    for point in _entry_points():
        yield point.name, f"package {_package(point)}", point.load


def _itself(handler: Type[JobHandler]) -> Type[JobHandler]:
    return handler


def _named_source(entry: str) -> _Source:
    job_type, equals, target = entry.rpartition("=")
    module_name, colon, class_name = target.partition(":")
    name = job_type if equals else _snake_case(class_name)
    origin = f"--handlers {entry}"

    def load() -> Any:
        if not (name and module_name and colon and class_name):
            raise ValueError("it is not of the form [job_type=]module:Class")
        # A handler under development lies in the working directory, where the `devaria` command
        # does not look by itself.
        here = str(Path.cwd())
        if here not in sys.path:
            sys.path.append(here)
        return getattr(importlib.import_module(module_name), class_name)

    return name or entry, origin, load


def _snake_case(class_name: str) -> str:
    stem = class_name[: -len("Handler")] if class_name.endswith("Handler") else class_name
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", stem).lower()


def _entry_points() -> Iterable[Any]:
    from importlib import metadata  # jobs of devaria's own types start faster without it

    if sys.version_info >= (3, 10):
        return metadata.entry_points(group=ENTRY_POINT_GROUP)
    return metadata.entry_points().get(ENTRY_POINT_GROUP, ())


def _package(point: Any) -> str:
    distribution = getattr(point, "dist", None)  # Python 3.8 and 3.9 do not have it
    return f"{distribution.name} ({point.value})" if distribution else str(point.value)


def _loaded(job_type: str, origin: str, load: Callable[[], Any]) -> FoundHandler:
    try:
        handler = load()
    except BaseException as error:  # the imported code may raise anything, or exit
        if isinstance(error, KeyboardInterrupt):
            raise
        return FoundHandler(job_type, origin, None, f"{type(error).__name__}: {error}")
    if not (isinstance(handler, type) and issubclass(handler, JobHandler)):
        return FoundHandler(job_type, origin, None, f"{handler!r} is not a JobHandler class")
    return FoundHandler(job_type, origin, handler)
