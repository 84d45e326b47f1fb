"""A child of `devaria.common.child_process` that does what its request says."""

import os
import subprocess
import sys

from devaria.common.parent_pipes import ParentPipes


def main() -> None:
    """Write what the request gives into the pipe, then do as it says."""
    raw_pipe = os.dup(1)
    parent = ParentPipes()
    request = parent.receive()
    if request is None:
        sys.exit(7)
    if "raw" in request:
        os.write(raw_pipe, request["raw"].encode() * request["times"])
        if request.get("dies"):
            os._exit(0)
        os.write(raw_pipe, b"\n")
    os.close(raw_pipe)
    print("printed")
    parent.send({"event": "echo", "request": request, "stdin": sys.stdin.read()})
    for _ in range(request.get("more", 0)):
        parent.send({"event": "echo", "request": parent.receive()})
    if request.get("starts"):
        sleeper = subprocess.Popen(["sleep", "60"])
        parent.send({"event": "started", "pid": sleeper.pid})
        sleeper.wait()


if __name__ == "__main__":
    main()
