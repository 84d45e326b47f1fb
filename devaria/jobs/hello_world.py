"""hello_world: greets, after a while. The handler to copy, and the one to test a set-up with."""

import time
from typing import Any, ClassVar, Dict, Mapping

from devaria.jobs.base import HeartbeatCallback, JobHandler
from devaria.jobs.params import Param

#: Time between two reports of progress; console lines come at most this often.
_STEP_SEC = 1.0


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
            input_params: ``name`` (string) and ``processing_time`` (seconds, 0 to 300).
            heartbeat_callback: Not used: `progress` does the same.

        Returns:
            ``{"message": "Hello, <name>!", "processing_time": <seconds>}``.
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
        # A long job says something every 30 s, a short one at its half.
        line_every_sec = min(30.0, total_sec / 2)
        next_line_sec = line_every_sec
        elapsed = 0.0
        while elapsed < total_sec:
            # A machine that slept meanwhile is past the next line already.
            next_stop = max(min(total_sec, next_line_sec), elapsed)
            time.sleep(min(_STEP_SEC, next_stop - elapsed))
            elapsed = min(time.monotonic() - start, total_sec)
            self.progress(elapsed, total_sec)
            if next_line_sec <= elapsed < total_sec:
                self.log(f"Progress: {100 * elapsed / total_sec:.0f}%")
                next_line_sec = elapsed + line_every_sec
