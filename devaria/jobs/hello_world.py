"""hello_world: greet after a while. A handler to copy, and one to test a set-up with."""

import math
import time
from typing import Any, ClassVar, Dict, List, Mapping

from devaria.jobs.base import HeartbeatCallback, JobHandler
from devaria.jobs.params import Param

#: The time between two reports of progress, and between two console lines, in seconds.
_STEP_SEC = 1.0
_LINE_SEC = 30.0


class HelloWorldHandler(JobHandler):
    """Waits for ``processing_time`` seconds, then greets ``name``."""

    params: ClassVar[Mapping[str, Param]] = {
        "name": Param(str, "whom to greet"),
        "processing_time": Param(float, "how long to wait, in seconds", minimum=0, maximum=300),
    }

    def execute(
        self, input_params: Dict[str, Any], heartbeat_callback: HeartbeatCallback
    ) -> Dict[str, Any]:
        """Run one job.

        Args:
            input_params: `name` (string) and `processing_time` (seconds, 0 to 300).
            heartbeat_callback: Not used: `progress` does the same.

        Returns:
            `{"message": "Hello, <name>!", "processing_time": <seconds>}`.
        """
        del heartbeat_callback
        name, processing_time = input_params["name"], input_params["processing_time"]
        self.log(f"Starting hello_world job for {name}")
        self.log(f"Processing time: {processing_time} seconds")
        self._wait(processing_time)
        self.log("Completed!")
        return {"message": f"Hello, {name}!", "processing_time": processing_time}

    def _wait(self, total_sec: float) -> None:
        start = time.monotonic()
        elapsed = 0.0
        for stop_sec in _stops(total_sec):
            while elapsed < stop_sec:
                time.sleep(min(_STEP_SEC, stop_sec - elapsed))
                elapsed = time.monotonic() - start
                self.progress(min(elapsed, total_sec), total_sec)
            if stop_sec < total_sec:
                self.log(f"Progress: {100 * stop_sec / total_sec:.0f}%")


def _stops(total_sec: float) -> List[float]:
    """Return the times of the console lines: every 30 s or at half time, and at the end."""
    every_sec = min(_LINE_SEC, total_sec / 2)
    count = math.ceil(total_sec / every_sec) if every_sec else 1
    return [every_sec * number for number in range(1, count)] + [total_sec]
