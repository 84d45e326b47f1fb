# ruff: noqa: ARG002 - every handler is given both arguments
"""Handlers that do what handlers must not do, and some that behave; see tests/execution."""

import ctypes
import faulthandler
import getpass
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from devaria.jobs import JobError, JobHandler
from devaria.nwb.errors import NwbError

#: What cannot be a result, by name.
NO_RESULTS = {
    "none": None,
    "list": [1],
    "nan": {"spikes": [1, 2, 3, float("nan")]},
    "set": {"a": {1}},
    "bytes": {"a": b"x"},
    "too big": {"a": "x" * 600_000},
    "huge integer": {"a": 10**5000},
    "console is no text": {"console_output": 5},
}


def orphan(program):
    """Start a program in a session of its own, whose parent ends; return its process id."""
    twice = (
        "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', sys.argv[1]],"
        " start_new_session=True, stdout=2).pid)"
    )
    program = f"import subprocess, sys, time; {program}"
    told = subprocess.run(
        [sys.executable, "-c", twice, program], check=True, stdout=subprocess.PIPE
    ).stdout
    return int(told)


class UnprintableError(Exception):
    """An exception that fails when it is printed."""

    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


class NoSpikesError(JobError):
    """A handler's own kind of foreseen error."""


class Returns(JobHandler):
    """Returns its parameters, after printing a line; or a value of `NO_RESULTS` by its name."""

    def execute(self, input_params, heartbeat_callback):
        """Return them."""
        print("working")
        if "no_result" in input_params:
            return NO_RESULTS[input_params["no_result"]]
        return {"params": input_params}


class Raises(JobHandler):
    """Raises what `kind` names, after printing a line."""

    def execute(self, input_params, heartbeat_callback):
        """Raise it."""
        print("working")
        kind = input_params["kind"]
        if kind == "recursion":
            return self.execute(input_params, heartbeat_callback)
        errors = {
            "value": ValueError("x must be positive"),
            "runtime": RuntimeError("no such file"),
            "system exit": SystemExit("enough"),
            "system exit 0": SystemExit(0),
            "keyboard interrupt": KeyboardInterrupt(),
            "generator exit": GeneratorExit(),
            "unprintable": UnprintableError(),
            "long": RuntimeError("x" * 20_000_000),
            "half a pair": RuntimeError("\ud800"),
            "foreseen": JobError("the disk at the microscope is full"),
            "of its own kind": NoSpikesError("there are none"),
            "file": NwbError("the file is damaged"),
        }
        if kind == "chained":
            try:
                json.loads("{")
            except ValueError as error:
                raise RuntimeError(f"in {Path.home()} of {getpass.getuser()}") from error
        if kind == "file of the lab":
            os.rename("/mnt/labshare/zoe's/probe1.npy", b"/mnt/labshare/probe2.npy")  # noqa: PTH104 - one path as bytes
        if kind == "in a thread":
            thread = threading.Thread(target=json.loads, args=("{",))
            thread.start()
            thread.join()
        raise errors.get(kind, errors["foreseen"])


class Dies(JobHandler):
    """Ends its process in the way that `how` names, after printing a line."""

    def execute(self, input_params, heartbeat_callback):
        """End it."""
        print("working")
        ways = {
            "exit 3": lambda: os._exit(3),
            "exit 0": lambda: os._exit(0),
            "segfault": faulthandler._sigsegv,
            "abort": os.abort,
            "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
            "terminate": lambda: os.kill(os.getpid(), signal.SIGTERM),
        }
        ways[input_params["how"]]()
        return {}


class Prints(JobHandler):
    """Prints in the way that `how` names."""

    def execute(self, input_params, heartbeat_callback):
        """Print."""
        getattr(self, input_params["how"])()
        return {}

    def everywhere(self):
        """Print from Python, from C, and from another program, on both streams."""
        print("from print")
        print("from stderr", file=sys.stderr)
        os.write(1, b"from write 1\n")
        os.write(2, b"from write 2\n")
        subprocess.run(["sh", "-c", "echo from sh; echo from sh 2 >&2"], check=True)
        print("no line end", end="")

    def strange_characters(self):
        """Print what is no UTF-8, in Python and as bytes."""
        print("half a pair: \ud800")
        os.write(1, b"bytes: \xff\xfe\n")

    def gigabyte(self):
        """Print a gigabyte."""
        print("first words", flush=True)
        piece = b"x" * 1_000_000
        for _ in range(1_000):
            written = 0
            while written < len(piece):
                written += os.write(1, piece[written:])
        print("last words")

    def endless(self):
        """Print for ever."""
        while True:
            print("and on")


class Reports(JobHandler):
    """Calls the heartbeat callback in the way that `how` names."""

    def execute(self, input_params, heartbeat_callback):
        """Report."""
        print("printed")
        return getattr(self, input_params["how"].replace(" ", "_"))(heartbeat_callback)

    def chatty(self, callback):
        """Call ten thousand times."""
        for number in range(10_001):
            callback(progress_current=number, progress_total=10_000)
        return {}

    def own_console(self, callback):
        """Pass a console of its own, and none later."""
        callback(1, 2, "own console")
        callback(2, 2)
        return {}

    def own_console_in_result(self, callback):
        """Return one beside the result."""
        callback(console_output="earlier")
        return {"console_output": "own console", "a": 1}

    def own_console_then_error(self, callback):
        """Fail after passing one."""
        callback(console_output="own console")
        raise RuntimeError("it broke")

    def large_console(self, callback):
        """Pass a console whose escapes fill every pipe."""
        callback(console_output="head" + "🧠" * 5_000_000 + "tail")
        return {}

    def large_console_in_result(self, callback):
        """Return one beside the largest result."""
        return {"console_output": "head" + "🧠" * 5_000_000 + "tail", "a": "é" * 511_000}

    def no_number(self, callback):
        """Report text as progress."""
        callback(progress_current="half")
        return {}

    def not_finite(self, callback):
        """Report what JSON cannot hold as progress."""
        callback(float("nan"), float("inf"))
        return {}


class Clings(JobHandler):
    """Leaves something behind or closes something, as `how` names."""

    def execute(self, input_params, heartbeat_callback):
        """Do it."""
        return getattr(self, input_params["how"].replace(" ", "_"))()

    def grandchild(self):
        """Leave a program that keeps the pipes open, in this process group."""
        return {"pid": subprocess.Popen(["sleep", "600"]).pid}

    def grandchild_of_its_own_session(self):
        """Leave one that left the group."""
        return {"pid": subprocess.Popen(["sleep", "600"], start_new_session=True).pid}

    def orphan(self):
        """Leave one whose parent has ended, too, as a daemon does it."""
        return {"pid": orphan("time.sleep(600)")}

    def orphans_that_start_others(self):
        """Leave many that each start another one, and end."""
        program = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
        return {"pids": [orphan(program) for _ in range(5)]}

    def thread(self):
        """Leave a thread that never ends, and is waited for at exit."""
        threading.Thread(target=time.sleep, args=(600,)).start()
        return {"left": True}

    def closed_stdout(self):
        """Close the streams of Python."""
        print("before")
        sys.stdout.close()
        sys.stderr.close()
        return {"closed": True}

    def closed_descriptors(self):
        """Close the streams of the system."""
        print("before")
        for descriptor in (0, 1, 2):
            os.close(descriptor)
        return {"closed": True}

    def replaced_stdout(self):
        """Put something strange in the place of the streams."""
        print("before")
        sys.stdout = None
        sys.stderr = object()
        return {"replaced": True}


class Tells(JobHandler):
    """Returns what it sees around it."""

    def execute(self, input_params, heartbeat_callback):
        """Look around."""
        (Path(tempfile.gettempdir()) / "left-behind").touch()
        return {
            "environ": dict(os.environ),
            "scratch": tempfile.gettempdir(),
            "stdin": sys.stdin.read(),
            "group": os.getpgid(0),
            "pid": os.getpid(),
            "arguments": sys.argv,
        }


class Holds(JobHandler):
    """Never ends, in the way that `how` names; says `holding` first, and its process id."""

    def execute(self, input_params, heartbeat_callback):
        """Hold."""
        print(f"holding {os.getpid()}", flush=True)
        heartbeat_callback(progress_current=os.getpid())
        getattr(self, input_params["how"].replace(" ", "_"))()
        return {}

    def sleep(self):
        """Sleep."""
        time.sleep(600)

    def hold_the_gil(self):
        """Sleep in C without letting another Python thread run."""
        ctypes.PyDLL(None).sleep(600)

    def ignore_sigterm(self):
        """Sleep through the polite signal."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(600)

    def catch_everything(self):
        """Go on whatever is raised."""
        while True:
            try:
                time.sleep(600)
            except BaseException:
                continue

    def fill_memory(self):
        """Take 300 MB, and touch them."""
        taken = bytearray(300_000_000)
        time.sleep(600)
        del taken

    def fill_memory_in_a_grandchild(self):
        """Let another program take them."""
        program = "import time; taken = bytearray(300_000_000); time.sleep(600)"
        subprocess.run([sys.executable, "-c", program], check=True)

    def fill_memory_in_an_orphan(self):
        """Let a program take them that has left the session, and has no parent."""
        orphan("taken = bytearray(300_000_000); time.sleep(600)")
        time.sleep(600)

    def fill_shared_memory(self):
        """Write 100 MB to a file of shared memory, and close it. It stays."""
        self.fill(f"/dev/shm/devaria-test-{os.getpid()}")
        time.sleep(600)

    def fill_disk(self):
        """Write them to files in folders of the scratch folder."""
        for number in range(3):
            folder = self.run_dir / "a" / str(number)
            folder.mkdir(parents=True)
            self.fill(folder / "file")
        time.sleep(600)

    def fill(self, path):
        """Write 100 MB."""
        with Path(path).open("wb") as file:
            for _ in range(100):
                file.write(bytes(1_000_000))

    def with_an_orphan(self):
        """Wait beside a program that has left the session, and has no parent."""
        print(f"orphan {orphan('time.sleep(600)')}", flush=True)
        time.sleep(600)

    def kill_the_keeper(self):
        """End the process that keeps this job, beside such a program."""
        print(f"orphan {orphan('time.sleep(600)')}", flush=True)
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(600)

    def stop_the_keeper(self):
        """Halt it."""
        os.kill(os.getppid(), signal.SIGSTOP)
        print(f"orphan {orphan('time.sleep(600)')}", flush=True)
        time.sleep(600)

    def with_a_grandchild(self):
        """Wait for a program that sleeps."""
        program = subprocess.Popen(["sleep", "600"])
        print(f"grandchild {program.pid}", flush=True)
        program.wait()


class CannotBeMade(JobHandler):
    """Fails when it is made."""

    def __init__(self):
        raise RuntimeError("cannot be made")

    def execute(self, input_params, heartbeat_callback):
        """Is never reached."""
        return {}
