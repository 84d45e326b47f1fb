"""Read many damaged files, one after another, in a process that may crash."""

import os
import queue
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Dict, List, Optional

import h5py
import numpy as np
from range_server import RangeServer

#: How many mutants each test tries.
MUTATIONS = int(os.environ.get("DEVARIA_TEST_FUZZ", "200"))
_MAX_SEC = 20

#: HDF5 1.14 crashes on some damaged files. Jobs read in a child process for that reason.
_HDF5_MAY_CRASH = h5py.version.hdf5_version_tuple < (2, 0, 0)


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """Change a few bytes, blank out or double a stretch, or cut the end off."""
    mutant = np.frombuffer(content, np.uint8).copy()
    place, length = int(rng.integers(8, len(mutant))), int(rng.integers(1, 64))
    way = rng.integers(0, 10)
    if way == 0:
        mutant[place : place + length] = rng.choice([0, 255])
    elif way == 1:
        mutant[place // 8 * 8 :][:8] = rng.choice([0, 255, 1, 127])
    elif way == 2:
        other = int(rng.integers(8, len(mutant) - length))
        mutant[other : other + length] = np.resize(mutant[place : place + length], length)
    elif way == 3:
        mutant = mutant[:place]
    else:
        places = rng.integers(8, len(mutant), rng.integers(1, 8))
        mutant[places] = rng.integers(0, 256, len(places))
    return mutant.tobytes()


def assert_mutants_are_read_or_explained(reader: str, valid: List[bytes]) -> None:
    """Check that every mutant is read or gives a clear error, and every unchanged file is read.

    Args:
        reader: A reader of ``fuzz_child.py``.
        valid: Small valid files.
    """
    outcomes: Dict[int, str] = {}
    child = _Child(reader)
    with RangeServer({}) as server:
        for number in range(-len(valid), MUTATIONS):
            rng = np.random.default_rng(abs(number))
            content = valid[number % len(valid)]
            path = f"/{number}.nwb"
            server.files = {path: content if number < 0 else mutate(content, rng)}
            outcomes[number] = child.outcome(server.url(path))
            if not outcomes[number].startswith(("read", "error: ")):
                child.close()
                child = _Child(reader)
                if outcomes[number] == "died: -11" and _HDF5_MAY_CRASH:
                    outcomes[number] = "error: the job's process died, which its runner reports"
        child.close()
    assert [outcomes[number] for number in range(-len(valid), 0)] == ["read"] * len(valid)
    bad = {n: text for n, text in outcomes.items() if not text.startswith(("read", "error: "))}
    print(Counter(text.split(":")[0] for text in outcomes.values()))
    assert bad == {}


class _Child:
    """A process that reads files, and is killed when one takes too long."""

    def __init__(self, reader: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("fuzz_child.py")), reader],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._lines: queue.Queue[Optional[str]] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def outcome(self, url: str) -> str:
        """Return the outcome for one file, or how the process failed."""
        assert self._process.stdin is not None
        self._process.stdin.write(url + "\n")
        self._process.stdin.flush()
        try:
            line = self._lines.get(timeout=_MAX_SEC)
        except queue.Empty:
            line = "too late"
        if line is None:
            line = f"died: {self._process.wait(10)}"
        return line

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait(10)
        self._reader.join(10)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.strip())
        self._lines.put(None)
