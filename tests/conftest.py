"""What holds for every test: which ones this environment can run, and a scrubbed environment."""

import os
import socket
from importlib.util import find_spec
from typing import List

import pytest
from scripted_server import ScriptedServer

#: Tests that need more than the core packages, by what they need.
_NEEDS = {
    "flask": ["contract", "worker", "e2e", "faults"],
    "figpack": ["e2e", "figures", "jobs/test_figpack_*", "nwb"],
}
_MISSING = [package for package in _NEEDS if find_spec(package) is None]

#: The example package's tests run where it is installed: in a process that a test starts.
collect_ignore_glob = [
    "example_package",
    *(pattern for package in _MISSING for pattern in _NEEDS[package]),
]


def pytest_report_header() -> List[str]:
    """Say what is left out, so that a run of the core alone does not pass for more."""
    return [f"{package} is not installed: {_NEEDS[package]} are left out" for package in _MISSING]


@pytest.fixture(autouse=True)
def _scrubbed_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, setting or proxy of the person who runs the tests reaches them."""
    for name in list(os.environ):
        if name.startswith(("DEVARIA_", "FIGPACK_")) and not name.startswith("DEVARIA_TEST_"):
            monkeypatch.delenv(name)
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def server():
    """A scripted server without a script."""
    with ScriptedServer() as running:
        yield running


@pytest.fixture
def closed_port():
    """A port of loopback that nothing listens on."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        yield holder.getsockname()[1]
