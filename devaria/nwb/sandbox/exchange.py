"""One request to the reading process, and its answer."""

from contextlib import suppress
from typing import Any, Dict, Iterator

from devaria.common.child_process import ChildProcess


class Exchange:
    """The answer to one request.

    Args:
        events: The events of the answer: ``about``, ``array``, and at last ``done``.
        process: The child.
    """

    def __init__(self, events: Iterator[Dict[str, Any]], process: ChildProcess) -> None:
        self._events = events
        self._process = process
        self._is_over = False

    def about(self) -> Dict[str, Any]:
        """Wait for the description of a dataset whose arrays follow.

        Returns:
            The event that tells it.

        Raises:
            InvalidInputError: As for `array`, like the others.
            NwbError: See there.
            RuntimeError: See there.
        """
        return self._next("about")

    def array(self) -> Dict[str, Any]:
        """Wait for the next array.

        Returns:
            The event that tells it.

        Raises:
            InvalidInputError: The child says so.
            NwbError: The child says so; or it crashed, lied, or the time limit is over.
            RuntimeError: The child failed for another reason.
        """
        return self._next("array")

    def value(self) -> Any:
        """Wait for the end of the answer.

        Returns:
            Its value.

        Raises:
            InvalidInputError: As for `array`, like the others.
            NwbError: See there.
            RuntimeError: See there.
        """
        return self._next("done").get("value")

    def release(self) -> None:
        """Tell the child that an array has been taken, so that it may send another one."""
        self._process.hand_over({"op": "next"})

    def abandoned(self) -> Iterator[object]:
        """Stop an answer that is not wanted any more.

        Returns:
            An iterator; the answer is over at its end.
        """
        if self._is_over:
            return iter(())
        self._process.hand_over({"op": "stop"})
        return self._rest()

    def _next(self, kind: str) -> Dict[str, Any]:
        from devaria.nwb.sandbox.checks import wrong

        self._is_over = True  # unless it goes on
        event = next(self._events)
        if event["event"] != kind:
            raise wrong("answer")
        self._is_over = kind == "done"
        return event

    def _rest(self) -> Iterator[object]:
        with suppress(Exception):  # whatever it is, nobody asked for it
            yield from self._events
