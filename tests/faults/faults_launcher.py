"""Starts `devaria` with what only tests want: other timing, crash points, another clock.

Everything comes by environment variables:

- `FAULTS_SETTINGS`: a JSON object of fields of `RunnerSettings` beside those that options set, such
  as `{"log_file_bytes": 50000}`; its `timing` is an object of fields of `Timing`.
- `FAULTS_CRASH_AT`: `<point> <n>`: the process kills itself (SIGKILL) when it comes by that point
  for the nth time. `CRASH_POINTS` lists them.
- `FAULTS_CLOCK_JUMP_SEC`: the wall clock leaps by so much at every look at it, to and fro.
"""

import json
import os
import signal
import sys
import time

#: Before and after each step that the journal or the worker remembers.
CRASH_POINTS = tuple(
    f"{when} {step}"
    for step in (
        "write claiming",
        "claim",
        "write running",
        "write done",
        "complete",
        "error",
        "remove",
    )
    for when in ("before", "after")
)


def main():
    """Switch on what is asked for, and become the command."""
    if "FAULTS_CRASH_AT" in os.environ:
        point, _, nth = os.environ["FAULTS_CRASH_AT"].rpartition(" ")
        _switch_on_crash(point, int(nth))
    if "FAULTS_CLOCK_JUMP_SEC" in os.environ:
        _let_clock_jump(float(os.environ["FAULTS_CLOCK_JUMP_SEC"]))
    from devaria.cli import main as command
    from devaria.common.timing import Timing

    settings = json.loads(os.environ.get("FAULTS_SETTINGS", "{}"))
    command(obj={**settings, "timing": Timing(**settings.get("timing", {}))})


def _switch_on_crash(point, nth):
    from devaria.client.client import WorkerClient
    from devaria.runner.journal import Journal

    assert point in CRASH_POINTS
    left = [nth]

    def come_by(where):
        if where == point:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def wrap(owner, name, step):
        original = getattr(owner, name)

        def wrapped(self, *args):
            come_by(f"before {step(*args)}")
            returned = original(self, *args)
            come_by(f"after {step(*args)}")
            return returned

        setattr(owner, name, wrapped)

    wrap(Journal, "write", lambda entry: f"write {entry.state}")
    wrap(Journal, "remove", lambda *_: "remove")
    for request in ("claim", "complete", "error"):
        wrap(WorkerClient, request, lambda *_, request=request: request)


def _let_clock_jump(seconds):
    real = time.time
    looks = [0]

    def jumping():
        looks[0] += 1
        return real() + (seconds if looks[0] % 2 else -seconds)

    time.time = jumping


if __name__ == "__main__":
    sys.argv[0] = "devaria"
    main()
