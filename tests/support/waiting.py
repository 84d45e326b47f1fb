"""Wait for a condition, with a bound."""

import time
from typing import Any, Callable

#: Only a fault takes so long, in seconds; a slow machine does not.
BOUND_SEC = 60.0


def wait_until(
    condition: Callable[[], Any],
    what: str = "the condition",
    bound_sec: float = BOUND_SEC,
    context: Callable[[], str] = str,
) -> Any:
    """Wait until a condition holds, and return its value.

    If it does not come true, the failure says what was waited for, and what `context` returns.
    """
    deadline = time.monotonic() + bound_sec
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {bound_sec:g} s: {what}\n{context()}"
        time.sleep(0.01)
