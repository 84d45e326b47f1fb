"""Opens connections through a connector: `python connecting.py FULL_PORT PORT...`.

The first server takes no more connections, so connecting to it waits. Prints the ports of the
others that are reached meanwhile, and whether the first one still waits.
"""

import os
import sys
import threading

from devaria.nwb.sandbox.connector import Connector, fork_connector

#: Longer than any test.
_TIMEOUT_SEC = 600.0


def main() -> None:
    """Connect to all."""
    full, *others = map(int, sys.argv[1:])
    channel = fork_connector()
    assert channel is not None
    connector = Connector(channel, ["127.0.0.1"])
    waiting = threading.Thread(target=connector.connect, args=("127.0.0.1", full, _TIMEOUT_SEC))
    waiting.start()
    reached = [connector.connect("127.0.0.1", port, _TIMEOUT_SEC) for port in others]
    ports = [each.getpeername()[1] for each in reached]
    print(*ports, "waiting" if waiting.is_alive() else "ended", flush=True)
    os._exit(0)  # the connector ends with it


if __name__ == "__main__":
    main()
