"""A handler for `benchmarks/runner.py` that sends the time as its progress."""

import time
from typing import Any, Dict

from devaria.jobs import JobHandler

#: When it sends, in seconds after its start: alone, several at once, and right after another.
CALLS_AT_SEC = (0.3, 0.35, 1.0, 3.0, 3.05, 3.1, 3.4, 6.0, 6.01, 9.0)


class Moments(JobHandler):
    """Send progress at certain times; its value is the time of `time.monotonic`."""

    def execute(self, input_params: Dict[str, Any], heartbeat_callback: Any) -> Dict[str, Any]:
        """Run one job; its result has the times."""
        del input_params
        start = time.monotonic()
        called_at = []
        for call_at_sec in CALLS_AT_SEC:
            time.sleep(max(0.0, start + call_at_sec - time.monotonic()))
            called_at.append(time.monotonic())
            heartbeat_callback(called_at[-1], None)
        time.sleep(3)
        return {"called_at": called_at}
