"""Code that has taken over the reading process gets nowhere: each forbidden thing is tried."""

import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence

import psutil
import pytest
from certificate import CERTIFICATE
from nwb_files import units_bytes
from range_server import LOOPBACK, RangeServer
from reaching import attempts, needs
from waiting import wait_until

from devaria.nwb import open_remote
from devaria.nwb.errors import NwbError
from devaria.nwb.limits import ReadLimits
from devaria.nwb.sandbox import syscalls
from devaria.nwb.sandbox.landlock import landlock_version
from devaria.nwb.sandbox.parent import Opening
from devaria.nwb.sandbox.remote import RemoteNwb

SUPPORT = Path(__file__).resolve().parents[1] / "support"


def _has_seccomp() -> bool:
    with contextlib.suppress(OSError):
        actions = Path("/proc/sys/kernel/seccomp/actions_avail").read_text()
        return "errno" in actions.split() and os.uname().machine in syscalls.MACHINES
    return False


needs_seccomp = pytest.mark.skipif(not _has_seccomp(), reason="this system has no seccomp filters")
needs_scopes = pytest.mark.skipif(
    landlock_version() < 6, reason="this kernel's Landlock has no scopes"
)


@pytest.fixture
def targets(tmp_path: Path) -> Iterator[Dict[str, Any]]:
    """Give what belongs to the same user: a process, a file, and listening sockets."""
    folder, file = tmp_path / "table", tmp_path / "file"
    folder.mkdir()
    file.touch()
    # A path of a socket has at most 107 characters.
    path, abstract = os.path.relpath(tmp_path / "socket"), f"devaria-{os.getpid()}"
    with contextlib.ExitStack() as stack:
        for family, address in (
            (socket.AF_UNIX, path),
            (socket.AF_UNIX, "\0" + abstract),
            (socket.AF_INET, ("127.0.0.1", 0)),
        ):
            server = stack.enter_context(socket.socket(family))
            server.bind(address)
            server.listen()
        process = subprocess.Popen(["sleep", "60"])
        stack.callback(process.wait)
        stack.callback(process.kill)
        yield {
            "pid": process.pid,
            "file": str(file),
            "folder": str(folder),
            "socket": path,
            "abstract": abstract,
            "port": server.getsockname()[1],
        }


def reached(layer: str, targets: Dict[str, Any], names: Sequence[str]) -> Dict[str, str]:
    """Return what a process reaches that has one layer of the confinement."""
    command = [sys.executable, str(SUPPORT / "reaching.py"), layer, json.dumps(targets)]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SUPPORT), *sys.path])}
    output = subprocess.check_output([*command, ",".join(names)], env=environ)
    found: Dict[str, str] = json.loads(output)
    return found


#: Needs no rights of the system's administrator, and leaves nothing behind.
HARMLESS = [
    *("signal a process", "signal a thread", "queue a signal", "renice", "schedule"),
    *("limit a process", "start a process", "run a program", "mode", "times"),
    *("pair of sockets", "unix socket", "abstract socket", "loopback", "listen", "datagram"),
]


@pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp are Linux's")
def test_all_of_it_would_work(targets: Dict[str, Any]) -> None:
    """Without the confinement, the same attempts succeed: they can tell."""
    assert set(reached("none", targets, HARMLESS).values()) == {"done"}


def probing(targets: Dict[str, Any], say: Any, monkeypatch: Any, **limits: int) -> RemoteNwb:
    """Start the probing child, confined as the reading process is."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(SUPPORT), *sys.path]))
    opening = Opening("http://h/x", ReadLimits(**limits))
    folder = Path(targets["folder"])
    return RemoteNwb(opening, folder, dict(os.environ), say=say, module="probing_child")


@needs_seccomp
def test_code_in_the_parser_reaches_nothing(
    targets: Dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signals, priorities, modes, processes, sockets, and rare parts of the kernel are refused.

    What the reading process itself does goes on.
    """
    said: List[str] = []
    with probing(targets, said.append, monkeypatch) as file, pytest.raises(NwbError):
        file.units_table("reach " + json.dumps(targets))
    found = json.loads(said[0])
    unseen = ["clone3", "a later call", "x32"]  # C libraries do without them
    assert found == {
        **{name: "ENOSYS" if name in unseen else "EPERM" for name, _ in attempts(targets)},
        **{name: "done" for name, _ in needs()},
    }


@needs_seccomp
def test_filter_alone(targets: Dict[str, Any]) -> None:
    """Without Landlock, the filter refuses the same."""
    assert set(reached("seccomp", targets, HARMLESS).values()) == {"EPERM"}


@needs_scopes
def test_landlock_alone(targets: Dict[str, Any]) -> None:
    """Without the filter, Landlock refuses signals, abstract sockets and TCP."""
    names = ["signal a process", "signal a thread", "abstract socket", "loopback", "listen"]
    expected = ["EPERM", "EPERM", "EPERM", "EACCES", "EACCES"]
    assert reached("landlock", targets, names) == dict(zip(names, expected))


@pytest.mark.parametrize(
    ("header", "column"), [("x86_64-linux-gnu/asm/unistd_64.h", 0), ("asm-generic/unistd.h", 1)]
)
def test_numbers_are_those_of_linux(header: str, column: int) -> None:
    """Where the kernel's headers are installed, all numbers are theirs."""
    with contextlib.suppress(FileNotFoundError):
        words = [line.split() for line in Path("/usr/include", header).read_text().splitlines()]
        known = {
            line[1].replace("3264", "").replace("__NR_", "").lstrip("_"): int(line[2])
            for line in words
            if line[:1] == ["#define"] and line[1].startswith("__NR") and line[2:3]
            if line[2].isdigit()
        }
        for name, numbers in {**syscalls.REFUSED, **syscalls.NUMBERS}.items():
            assert known.get(name.lstrip("_")) == numbers[column], name


# --- connections ---------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no connector")
def test_a_file_is_read_over_handed_sockets(tmp_path: Path) -> None:
    """The reading process gets its connections from its connector, many at once."""
    with RangeServer({"/file.nwb": units_bytes([[1.0, 2.0]])}) as server, open_remote(
        server.url("/file.nwb"), allow_hosts=LOOPBACK, folder=tmp_path
    ) as file:
        assert file.units_table().spike_times_sec.tolist() == [1.0, 2.0]
        (connector,) = psutil.Process(file.pid).children()
    psutil.wait_procs([connector], timeout=60)
    assert not connector.is_running()


def test_hosts_that_are_not_public_are_refused(tmp_path: Path) -> None:
    """The connector checks addresses; the error is the same as ever."""
    with RangeServer({"/file.nwb": b""}) as server, open_remote(
        server.url("/file.nwb"), folder=tmp_path
    ) as file:
        with pytest.raises(NwbError, match=r"127\.0\.0\.1 is not on the public internet"):
            file.find(["Units"])
        assert server.connections == 0


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no connector")
def test_end_of_the_connector_is_an_error(tmp_path: Path) -> None:
    """A connector that is killed is no reason to wait for ever."""
    content = units_bytes([range(100_000)], before=[0.0] * 400_000)
    with RangeServer({"/file.nwb": content}) as server, open_remote(
        server.url("/file.nwb"), allow_hosts=LOOPBACK, folder=tmp_path
    ) as file:
        assert file.look("/", 0).kind == "group"
        (connector,) = psutil.Process(file.pid).children()
        connector.kill()
        wait_until(lambda: connector.status() == psutil.STATUS_ZOMBIE)
        server.always = "drop"  # connections that are open are of no use
        with pytest.raises(NwbError, match="the process that opens connections is gone"):
            file.units_table()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no connector")
def test_connections_are_opened_beside_each_other() -> None:
    """One that waits for its server delays no other."""
    with contextlib.ExitStack() as stack:
        full, *others = (stack.enter_context(socket.socket()) for _ in range(4))
        for server in (full, *others):
            server.bind(("127.0.0.1", 0))
            server.listen(0 if server is full else 8)
        for _ in range(2):  # one more than it takes: the rest waits
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        ports = [str(server.getsockname()[1]) for server in (full, *others)]
        command = [sys.executable, str(SUPPORT / "connecting.py"), *ports]
        assert subprocess.check_output(command, text=True).split() == [*ports[1:], "waiting"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no connector")
def test_tls_over_handed_sockets(tmp_path: Path) -> None:
    """A confined process needs no other right for TLS; the certificate is that of the name."""
    pem = tmp_path / "certificate.pem"
    pem.write_text(CERTIFICATE)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with RangeServer({"/file.nwb": units_bytes([[1.0]])}, tls=context) as server:
        command = [sys.executable, str(SUPPORT / "reading_over_tls.py"), str(server.port), str(pem)]
        output = subprocess.check_output(command, text=True)
        assert int(output) == len(server.files["/file.nwb"])


# --- limits --------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no limit of memory")
def test_memory_is_limited(targets: Dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A reading process that takes too much gets none, and the error names the limit."""
    with probing(
        targets, lambda _line: None, monkeypatch, max_memory_bytes=1_500_000_000
    ) as file, pytest.raises(
        NwbError, match=r"takes more than the 1\.5 GB of memory .*\(DEVARIA_MAX_MEMORY_BYTES\)"
    ):
        file.units_table("memory")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of processor time")
def test_processor_time_is_limited(
    targets: Dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop ends when its processor time is over, and the error names the limit."""
    with probing(targets, lambda _line: None, monkeypatch, max_cpu_sec=1) as file, pytest.raises(
        NwbError, match=r"took more than 1 s of processor time \(DEVARIA_MAX_CPU_SEC\)"
    ):
        file.units_table("loop")
