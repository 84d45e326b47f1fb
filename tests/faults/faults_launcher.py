"""Starts `devaria` with what only tests want: other constants, crash points, another clock.

Everything comes by environment variables:

- `FAULTS_CONSTANTS`: a JSON object of `module.NAME` and value, such as
  `{"devaria.runner.heartbeat.INTERVAL_SEC": 0.5}`; default values that were taken from such a
  constant change with it. `module:function.parameter` names a default value that has no constant.
- `FAULTS_CRASH_AT`: `<point> <n>`: the process kills itself (SIGKILL) when it comes by that point
  for the nth time. `CRASH_POINTS` lists them.
- `FAULTS_CLOCK_JUMP_SEC`: the wall clock leaps by so much at every look at it, to and fro.
"""

import importlib
import inspect
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
    """Patch what is asked for, and become the command."""
    for path, value in json.loads(os.environ.get("FAULTS_CONSTANTS", "{}")).items():
        if ":" in path:
            _set_default(path, value)
        else:
            _set_constant(path, value)
    if "FAULTS_CRASH_AT" in os.environ:
        point, _, nth = os.environ["FAULTS_CRASH_AT"].rpartition(" ")
        _switch_on_crash(point, int(nth))
    if "FAULTS_CLOCK_JUMP_SEC" in os.environ:
        _let_clock_jump(float(os.environ["FAULTS_CLOCK_JUMP_SEC"]))
    from devaria.cli import main as command

    command()


def _set_constant(path, value):
    module_name, _, name = path.rpartition(".")
    module = importlib.import_module(module_name)
    old = getattr(module, name)
    setattr(module, name, value)
    for function in _functions(module):
        defaults = function.__defaults__ or ()
        function.__defaults__ = tuple(value if each is old else each for each in defaults)
        for key, each in (function.__kwdefaults__ or {}).items():
            if each is old:
                function.__kwdefaults__[key] = value


def _set_default(path, value):
    module_name, _, inner = path.partition(":")
    *names, parameter = inner.split(".")
    function = importlib.import_module(module_name)
    for name in names:
        function = getattr(function, name)
    with_default = list(inspect.signature(function).parameters)[-len(function.__defaults__) :]
    at = with_default.index(parameter)
    function.__defaults__ = (*function.__defaults__[:at], value, *function.__defaults__[at + 1 :])


def _functions(module):
    classes = [each for _, each in inspect.getmembers(module, inspect.isclass)]
    for holder in (module, *classes):
        for _, function in inspect.getmembers(holder, inspect.isfunction):
            if function.__module__ == module.__name__:
                yield function


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
