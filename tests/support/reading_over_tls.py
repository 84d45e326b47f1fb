"""Reads a file over TLS in a confined process: `python reading_over_tls.py PORT CERTIFICATE`.

The server is data.lab.example, which is this machine. Prints the length of the file.
"""

import os
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import requests.adapters

from devaria.nwb.http.ranges import HttpRanges
from devaria.nwb.sandbox.connector import Connector, fork_connector
from devaria.nwb.sandbox.landlock import isolate
from devaria.nwb.sandbox.seccomp import refuse_system_calls

HOST = "data.lab.example"


def main() -> None:
    """Read the file in ranges, over many connections at once."""
    port, certificate = int(sys.argv[1]), sys.argv[2]
    requests.adapters.DEFAULT_CA_BUNDLE_PATH = certificate
    requests.adapters._preloaded_ssl_context = None
    resolve = socket.getaddrinfo
    # The connector, which is forked now, resolves it so.
    socket.getaddrinfo = lambda _host, *rest, **more: resolve("127.0.0.1", *rest, **more)
    channel = fork_connector()
    del socket.getaddrinfo  # nobody else may resolve names
    isolate()
    refuse_system_calls()
    assert channel is not None
    connector = Connector(channel, [HOST])
    ranges = HttpRanges(f"https://{HOST}:{port}/file.nwb", connect=connector.connect)
    together = threading.Barrier(8)

    def read(_number: int) -> int:
        together.wait(60)
        return len(ranges.read(0, ranges.size))

    with ThreadPoolExecutor(8) as pool:
        (length,) = set(pool.map(read, range(8)))
    print(length, flush=True)
    os._exit(0)  # the connector ends with it


if __name__ == "__main__":
    main()
