"""What a job's process says, checked before anything believes it.

`devaria.execution.child` sends these events. But a job is foreign code in the same process, and may
write into the pipe itself.
"""

from typing import Any, Callable, Dict, NamedTuple, Optional, Union

from devaria.common.sendable import is_number
from devaria.common.text import shortened
from devaria.execution.result import NotJsonError, json_ready

#: The longest texts that are taken, in bytes of UTF-8; the middle of a longer one is cut out.
_MAX_CONSOLE_BYTES = 1_000_000
_MAX_TEXT_BYTES = 20_000


class Started(NamedTuple):
    """The handler is loaded and runs."""


class Progress(NamedTuple):
    """The newest state of the job.

    Args:
        current: How much is done, or None.
        total: How much there is to do, or None.
        console: The console that the handler passed itself, or None.
    """

    current: Optional[float]
    total: Optional[float]
    console: Optional[str]


class Preloaded(NamedTuple):
    """The imports ahead are done.

    Args:
        problem: What went wrong with them, or None.
    """

    problem: Optional[str]


class Unavailable(NamedTuple):
    """The handler cannot be loaded.

    Args:
        reason: Why.
    """

    reason: str


class Ended(NamedTuple):
    """The handler has returned or raised.

    Args:
        output: The result, JSON values that the worker can hold; None if the job failed.
        error: Why it failed, not empty; None if it did not.
        console: The console that the handler passed itself, or None.
        traceback: Where it failed, or None.
    """

    output: Optional[Dict[str, Any]]
    error: Optional[str]
    console: Optional[str]
    traceback: Optional[str]


class Traceback(NamedTuple):
    """Where the handler failed, in full.

    Args:
        text: For the runner's log, since it names paths of this machine.
    """

    text: str


class Misfit(NamedTuple):
    """An event that is not as `devaria.execution.child` sends it.

    Args:
        kind: Which event it claims to be.
        reason: What is wrong with it: a clause.
    """

    kind: str
    reason: str


class NoEvent(NamedTuple):
    """A line that is nothing of the kind, such as a print that went into the pipe."""


Event = Union[Started, Progress, Preloaded, Unavailable, Traceback, Ended, Misfit, NoEvent]


def parsed(event: Dict[str, Any]) -> Event:
    """Check an event of a job's process.

    Args:
        event: As `ChildProcess.events` yields it.

    Returns:
        The event, each field of its type and within its size.
    """
    kind = event["event"]
    parse = _PARSERS.get(kind) if isinstance(kind, str) else None
    if parse is None:
        return NoEvent()
    try:
        return parse(event)
    except NotJsonError as error:
        return Misfit(kind, str(error))


class Heard:
    """What a job's process has said so far."""

    def __init__(self) -> None:
        #: Whether the handler was loaded.
        self.has_started = False
        #: The console that the handler passed last, or None.
        self.own_console: Optional[str] = None
        #: Where the job has failed, for the log; None if that is not known.
        self.traceback: Optional[str] = None
        #: How the job has ended, or did not begin; None as long as it goes on.
        self.end: Optional[Union[Ended, Unavailable, Misfit]] = None
        #: Whether there was a line that is no event.
        self.has_garbage = False

    def take(self, event: Event) -> None:
        """Take the next event. The first one that ends the job counts."""
        if isinstance(event, Unavailable) and self.has_started:
            event = Misfit("unavailable", "the job has started")
        if isinstance(event, (Ended, Unavailable, Misfit)):
            self.end = self.end or event
        elif isinstance(event, Started):
            self.has_started = True
        elif isinstance(event, Traceback):
            self.traceback = event.text
        elif isinstance(event, NoEvent):
            self.has_garbage = True
        elif isinstance(event, Progress) and event.console is not None:
            self.own_console = event.console


def _progress(event: Dict[str, Any]) -> Progress:
    console = _maybe_text(event, "console", _MAX_CONSOLE_BYTES)
    return Progress(_maybe_number(event, "current"), _maybe_number(event, "total"), console)


def _ended(event: Dict[str, Any]) -> Ended:
    output, error = _field(event, "output"), _maybe_text(event, "error")
    if output is not None and not isinstance(output, dict):
        raise NotJsonError(f"its output is of type {type(output).__name__}, not a dict")
    if (output is None) == (error is None) or error == "":
        raise NotJsonError("it has not exactly one of a result and an error")
    return Ended(
        None if output is None else json_ready(output),
        error,
        _maybe_text(event, "console", _MAX_CONSOLE_BYTES),
        _maybe_text(event, "traceback"),
    )


def _field(event: Dict[str, Any], name: str) -> Any:
    if name not in event:
        raise NotJsonError(f"it has no {name}")
    return event[name]


def _maybe_number(event: Dict[str, Any], name: str) -> Optional[float]:
    value = _field(event, name)
    if value is None or is_number(value):
        number: Optional[float] = value
        return number
    raise NotJsonError(f"its {name} is no number that JSON can hold")


def _maybe_text(
    event: Dict[str, Any], name: str, max_bytes: int = _MAX_TEXT_BYTES
) -> Optional[str]:
    return None if _field(event, name) is None else _text(event, name, max_bytes)


def _text(event: Dict[str, Any], name: str, max_bytes: int = _MAX_TEXT_BYTES) -> str:
    value = _field(event, name)
    if not isinstance(value, str):
        raise NotJsonError(f"its {name} is of type {type(value).__name__}, not a string")
    return shortened(value, max_bytes)


_PARSERS: Dict[str, Callable[[Dict[str, Any]], Event]] = {
    "started": lambda _: Started(),
    "progress": _progress,
    "preloaded": lambda event: Preloaded(_maybe_text(event, "problem")),
    "unavailable": lambda event: Unavailable(_text(event, "reason")),
    "traceback": lambda event: Traceback(_text(event, "text")),
    "outcome": _ended,
}
