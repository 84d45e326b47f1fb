"""hello_world: greets, after a while. The handler to copy, and the one to test a set-up with."""

import time
from typing import Any, Dict

from devaria.jobs.base import HeartbeatCallback, JobHandler

MAX_PROCESSING_TIME_SEC = 300

#: Time between two reports of progress; console lines come at most this often.
_STEP_SEC = 1.0


class HelloWorldHandler(JobHandler):
    """Waits for ``processing_time`` seconds, then greets ``name``."""

    def execute(
        self, input_params: Dict[str, Any], heartbeat_callback: HeartbeatCallback
    ) -> Dict[str, Any]:
        """Run one job.

        Args:
            input_params: ``name`` (string) and ``processing_time`` (seconds, 0 to 300).
            heartbeat_callback: Is told the seconds that have passed, about once a second.

        Returns:
            ``{"message": "Hello, <name>!", "processing_time": <seconds>}``.

        Raises:
            ValueError: A parameter is missing, of the wrong type, or out of range.
        """
        name = _checked_name(input_params)
        processing_time = _checked_processing_time(input_params)
        self.log(f"Starting hello_world job for {name}")
        self.log(f"Processing time: {processing_time} seconds")
        self._wait(processing_time, heartbeat_callback)
        self.log("Completed!")
        return {"message": f"Hello, {name}!", "processing_time": processing_time}

    def _wait(self, total_sec: float, heartbeat_callback: HeartbeatCallback) -> None:
        start = time.monotonic()
        # A long job says something every 30 s, a short one at its half.
        line_every_sec = min(30.0, total_sec / 2)
        next_line_sec = line_every_sec
        elapsed = 0.0
        while elapsed < total_sec:
            time.sleep(min(_STEP_SEC, total_sec - elapsed, next_line_sec - elapsed))
            elapsed = min(time.monotonic() - start, total_sec)
            heartbeat_callback(progress_current=elapsed, progress_total=total_sec)
            if next_line_sec <= elapsed < total_sec:
                self.log(f"Progress: {100 * elapsed / total_sec:.0f}%")
                next_line_sec += line_every_sec


def _checked_name(input_params: Dict[str, Any]) -> str:
    name = input_params.get("name")
    if not isinstance(name, str):
        raise ValueError(f"name must be a string, {_given(name)}")
    return name


def _checked_processing_time(input_params: Dict[str, Any]) -> float:
    seconds = input_params.get("processing_time")
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise ValueError(f"processing_time must be a number of seconds, {_given(seconds)}")
    # NaN is in no range, and so refused here.
    if not 0 <= seconds <= MAX_PROCESSING_TIME_SEC:
        allowed = f"from 0 to {MAX_PROCESSING_TIME_SEC} seconds"
        raise ValueError(f"processing_time must be {allowed}, {_given(seconds)}")
    return seconds


def _given(value: Any) -> str:
    return "and is missing" if value is None else f"not {value!r:.100}"
