"""Job handlers that behave, and job handlers that do not. `OPTION` names them all to a runner."""

# ruff: noqa: ARG002 - every handler is given the same two arguments

import base64
import contextlib
import ctypes
import datetime
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from devaria.jobs import JobHandler


class Good(JobHandler):
    """Prints, says where it is, and returns its parameter `n` doubled."""

    def execute(self, input_params, heartbeat_callback):
        """Run."""
        print("at work")
        heartbeat_callback(1, 2)
        return {"twice": 2 * input_params["n"]}


class Echoes(JobHandler):
    """Returns its parameter `value`."""

    def execute(self, input_params, heartbeat_callback):
        """Run."""
        return {"value": input_params["value"]}


class Waits(JobHandler):
    """Runs until a file is there; each start adds a line with its process id to another file."""

    def execute(self, input_params, heartbeat_callback):
        """Run."""
        print("waiting", flush=True)
        with Path(input_params["starts"]).open("a") as file:
            file.write(f"{os.getpid()}\n")
        while not Path(input_params["go"]).exists():
            time.sleep(0.02)
        return {"waited": True}


class Naps(JobHandler):
    """Works for `seconds`."""

    def execute(self, input_params, heartbeat_callback):
        """Run."""
        print("napping", flush=True)
        time.sleep(input_params["seconds"])
        return {"napped": input_params["n"]}


class Raises(JobHandler):
    """Prints, and raises what its parameter `what` names."""

    def execute(self, input_params, heartbeat_callback):
        """Run."""
        print("so far so good")
        what = input_params["what"]
        if what == "unprintable":
            raise _UnprintableError
        if what == "long":
            raise RuntimeError("x" * 20_000 + "the end")
        if what == "recursion":
            return self.execute(input_params, heartbeat_callback)
        raise {
            "value": ValueError("n must be even"),
            "exit": SystemExit(3),
            "interrupt": KeyboardInterrupt(),
            "error": RuntimeError("the disk is on fire"),
        }[what]


class _UnprintableError(Exception):
    def __str__(self):
        raise RuntimeError("no text for you")


class Dies(JobHandler):
    """Prints, and ends its process in the way that its parameter `how` names."""

    def execute(self, input_params, heartbeat_callback):
        """Run."""
        print("last words", flush=True)
        how = input_params["how"]
        if how == "exit":
            os._exit(7)
        if how == "segfault":
            ctypes.string_at(0)
        os.kill(os.getpid(), getattr(signal, how))
        time.sleep(60)
        return {}


class Returns(JobHandler):
    """Returns what its parameter `what` names."""

    def execute(self, input_params, heartbeat_callback):
        """Run."""
        import numpy

        cycle = []
        cycle.append(cycle)
        what = input_params["what"]
        whole = {"none": None, "list": [1]}
        if what in whole:
            return whole[what]
        return {
            "spikes": {
                "numpy": numpy.arange(3, dtype="int32"),
                "numpy scalar": numpy.float32(0.5),
                "datetime": datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc),
                "nan": [0.0, float("nan")],
                "set": {1, 2},
                "bytes": b"x",
                "cycle": cycle,
            }[what]
        }


class Floods(JobHandler):
    """Produces too much of what its parameter `what` names."""

    def execute(self, input_params, heartbeat_callback):
        """Run."""
        if input_params["what"] == "console":
            print("the beginning")
            for _ in range(3000):
                print("x" * 999)
            print("the end")
        if input_params["what"] == "callbacks":
            for n in range(20_000):
                heartbeat_callback(n, 20_000)
        size = 600_000 if input_params["what"] == "output" else input_params.get("size", 1)
        return {"text": "y" * size}


class HoldsGil(JobHandler):
    """Runs C code that keeps the interpreter's lock for `seconds`."""

    def execute(self, input_params, heartbeat_callback):
        """Run."""
        ctypes.PyDLL(None).usleep(int(input_params["seconds"] * 1_000_000))
        return {"held": True}


class Grandchild(JobHandler):
    """Leaves a process behind that keeps its pipes open, and closes its own."""

    def execute(self, input_params, heartbeat_callback):
        """Run."""
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        Path(input_params["pid_file"]).write_text(str(child.pid))
        sys.stdout.close()
        return {"left": True}


class Leaks(JobHandler):
    """Shows what it can find out: its parameters, its environment, its runner's signed URL."""

    def execute(self, input_params, heartbeat_callback):
        """Run."""
        print("reading", input_params["url"])
        print(f"Authorization: Bearer {input_params['key']}")
        print(f"\x1b[31mred {input_params['key']}\x1b[0m")
        print("\x1b[32m".join(input_params["key"]))
        print(base64.b64encode(f"u:{input_params['key']}".encode()).decode(), flush=True)
        with Path(input_params["environ"]).open("w") as file:
            file.write("\n".join(os.environ.values()))
        with contextlib.suppress(OSError):
            heartbeat_callback(1, 2)
        while not Path(input_params["go"]).exists():
            time.sleep(0.02)
        raise RuntimeError(f"cannot read {input_params['url']} with {input_params['key']}\x1b[2J")


class Nests(JobHandler):
    """Leaves folders, `depth` of them, one in another; then waits if it `stays`, the first time."""

    def execute(self, input_params, heartbeat_callback):
        """Run."""
        inside = os.open(self.run_dir, os.O_RDONLY)
        for _ in range(input_params["depth"]):
            os.mkdir("d", dir_fd=inside)
            below = os.open("d", os.O_RDONLY, dir_fd=inside)
            os.close(inside)
            inside = below
        stays = Path(input_params.get("stays", os.devnull))
        if not stays.exists():
            stays.touch()
            time.sleep(60)
        return {"nested": True}


class Says(JobHandler):
    """Writes the lines of its parameter `lines` into the pipe to its runner, then returns.

    If there is a parameter `go`, it waits for that file before.
    """

    def execute(self, input_params, heartbeat_callback):
        """Run."""
        while not Path(input_params.get("go", os.devnull)).exists():
            time.sleep(0.02)
        for line in input_params["lines"]:
            middle = input_params.get("middle", "") * input_params.get("times", 0)
            _write_to_runner(f"{line}{middle}{input_params.get('tail', '')}\n".encode())
        return {"said": True}


def _write_to_runner(data):
    """Find the pipe that a job's process keeps for its events, as foreign code could."""
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            number = int(entry.name)
            access = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE
            is_pipe = os.readlink(entry).startswith("pipe:")
            if number > 2 and is_pipe and access == os.O_WRONLY:
                while data:
                    data = data[os.write(number, data) :]
                return


class Fills(JobHandler):
    """Writes 60 MB into its scratch folder, and waits."""

    def execute(self, input_params, heartbeat_callback):
        """Run."""
        (self.run_dir / "file").write_bytes(bytes(60_000_000))
        time.sleep(600)


_CLASSES = (
    Good,
    Echoes,
    Waits,
    Naps,
    Raises,
    Dies,
    Returns,
    Floods,
    HoldsGil,
    Grandchild,
    Leaks,
    Nests,
    Says,
    Fills,
)

#: For `devaria runner --handlers`.
OPTION = ",".join(f"{each.__name__.lower()}={__name__}:{each.__name__}" for each in _CLASSES)
TYPES = tuple(each.__name__.lower() for each in _CLASSES)
