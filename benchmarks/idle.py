"""Measure what an idle runner and an idle local worker cost: requests, connections, CPU, memory.

    python benchmarks/idle.py [--minutes 10]

Both are started as an operator would start them. A relay on loopback between them counts requests
and connections. The time of the start-up is not measured. The runner is measured twice: with
``--no-preload``, and with the process in which it imports ahead what figures need. The CPU time of
the second includes an hourly replacement of that process; memory is that of all its processes.
"""

import argparse
import contextlib
import os
import re
import selectors
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Dict, Iterator

import psutil

POLL = b"GET /api/runner/jobs/available"


class Relay:
    """Relay TCP connections to another port; count the connections and the polls in them."""

    def __init__(self, port: int) -> None:
        self.connections = 0
        self.polls = 0
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            self.connections += 1
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._target)) as server:
            selector = selectors.DefaultSelector()
            selector.register(client, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in selector.select():
                    data = key.fileobj.recv(65536)
                    if not data:
                        return
                    self.polls += data.count(POLL)
                    key.data.sendall(data)


@contextlib.contextmanager
def running(command: str, output: Path, env: Dict[str, str]) -> Iterator[psutil.Process]:
    """Run a devaria command with its output in a file; end it with SIGTERM."""
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "devaria", *command.split()],
            stdout=file,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=output.parent,
        )
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def wait_for(path: Path, text: str) -> None:
    """Wait until a file contains a text, at most 30 s."""
    deadline = time.monotonic() + 30
    while not path.exists() or text not in path.read_text(encoding="utf-8"):
        if time.monotonic() > deadline:
            raise SystemExit(f"no {text!r} in {path}")
        time.sleep(0.05)


def cpu_sec(process: psutil.Process) -> float:
    """Return the user and system time of a process so far, in seconds."""
    # The id of another process's clock, as clock_getcpuclockid(3) computes it on Linux.
    return time.clock_gettime((~process.pid << 3) | 2)


def measure(minutes: float, folder: Path) -> None:
    """Run both for some minutes, once for each way, and print the figures."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("DEVARIA_")}
    with running("worker --port 0", folder / "worker.out", env) as worker:
        wait_for(folder / "worker.out", "Serving on")
        exports = dict(re.findall(r"export (\w+)=(\S+)", (folder / "worker.out").read_text()))
        relay = Relay(int(exports["DEVARIA_WORKER_URL"].rpartition(":")[2]))
        # With a key for figpack, the runner offers figures. None is made.
        env.update(exports, FIGPACK_API_KEY="none")
        env["DEVARIA_WORKER_URL"] = f"http://127.0.0.1:{relay.port}"
        for way in ("--no-preload", "--verbose"):
            place = folder / way
            place.mkdir()
            with running(f"runner {way}", place / "runner.out", env) as runner:
                wait_for(place / "runner.out", "Polling every")
                print(f"runner {way}")
                figures(minutes, relay, runner, worker, place)


def figures(
    minutes: float, relay: Relay, runner: psutil.Process, worker: psutil.Process, place: Path
) -> None:
    """Wait for some minutes, and print the counts."""
    time.sleep(2)  # start-up ends with the first poll
    start_sec = 0.0
    if place.name != "--no-preload":
        wait_for(place / "runner.out", "imported ahead")
        start_sec = sum(map(cpu_sec, runner.children(recursive=True)))
        time.sleep(2)
    tree = [runner, *runner.children(recursive=True)]
    polls, connections = relay.polls, relay.connections
    cpu = [sum(map(cpu_sec, tree)), cpu_sec(worker)]
    time.sleep(minutes * 60)
    idle_sec = sum(map(cpu_sec, tree)) - cpu[0]
    memory = [each.memory_full_info() for each in tree]
    print(f"minutes                  {minutes:g}")
    print(f"polls                    {relay.polls - polls}")
    print(f"TCP connections          {relay.connections - connections}")
    print(f"CPU of the runner        {idle_sec:.2f} s")
    print(f"the same, in an hour     {idle_sec * 60 / minutes + start_sec:.2f} s")
    print(f"CPU of the worker        {cpu_sec(worker) - cpu[1]:.2f} s")
    print(f"memory, resident         {sum(each.rss for each in memory) / 1e6:.1f} MB")
    print(f"shared pages divided     {sum(each.pss for each in memory) / 1e6:.1f} MB")
    print(f"processes                {len(tree)}")
    print(f"threads of the runner    {runner.num_threads()}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    with tempfile.TemporaryDirectory() as name:
        measure(parser.parse_args().minutes, Path(name))
