"""What holds for every test: which tests this environment can run, and a scrubbed environment."""

import os
import socket
from importlib.util import find_spec
from typing import Iterator, List

import pytest
from scripted_server import ScriptedServer

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

#: The tests that are left out where a package is not installed: whole rooms, but for the tests of
#: the figure jobs. With the core packages alone, that leaves `cli`, `client`, `common`,
#: `execution`, `runner`, the other tests of `jobs`, and the tests that lie beside this file.
_NEEDS = {
    "flask": ["contract", "e2e", "faults", "worker"],
    "figpack": ["e2e", "figures", "nwb", "jobs/test_figpack_*", "jobs/test_containers.py"],
}
_MISSING = [package for package in _NEEDS if find_spec(package) is None]

#: No test connects to figpack's public service. figpack reads this when it is imported.
os.environ["FIGPACK_API_BASE_URL"] = "http://127.0.0.1:9"

#: The example package's tests run where it is installed: in a process that a test starts.
collect_ignore_glob = [
    "example_package",
    *(pattern for package in _MISSING for pattern in _NEEDS[package]),
]


def pytest_report_header() -> List[str]:
    """Say which tests are left out, and why."""
    return [
        f"not run, since {package} is not installed: {', '.join(_NEEDS[package])}"
        for package in _MISSING
    ]


@pytest.fixture(autouse=True)
def _alone(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Run a test marked `alone` while pytest-xdist's other processes run none."""
    if fcntl is None or "PYTEST_XDIST_WORKER" not in os.environ:
        yield
        return
    is_alone = request.node.get_closest_marker("alone") is not None
    # The parent folder is common to the processes of one run. Closing the file frees the lock.
    with (tmp_path_factory.getbasetemp().parent / "alone.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX if is_alone else fcntl.LOCK_SH)
        yield


@pytest.fixture(autouse=True)
def _scrubbed_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the keys, settings and proxies of the person who runs the tests."""
    for name in list(os.environ):
        is_ours = name.startswith(("DEVARIA_", "FIGPACK_", "NOTIFY_RELAY_"))
        is_kept = name.startswith("DEVARIA_TEST_") or name == "FIGPACK_API_BASE_URL"
        if is_ours and not is_kept:
            monkeypatch.delenv(name)
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what devaria remembers from upload to upload apart from that of the person."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def server():
    """Run a scripted server without a script."""
    with ScriptedServer() as running:
        yield running


@pytest.fixture
def closed_port():
    """Hold a port of loopback that refuses connections."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))  # bound, but not listening
        yield holder.getsockname()[1]
