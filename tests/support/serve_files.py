"""Serve the working directory on loopback, with range requests, and print the URL."""

import threading
from pathlib import Path

from devaria.cli.demonstration import file_server

with file_server(Path.cwd()) as url:
    print(url, flush=True)
    threading.Event().wait()
