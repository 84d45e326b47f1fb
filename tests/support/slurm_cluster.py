"""A Slurm cluster for one test: one node, which is this machine with eight slots.

Its daemons have their own configuration, loopback ports and sockets, and end with the test. A Slurm
that the machine already runs is neither used nor changed.
"""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
from getpass import getuser
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence

from processes import text_of
from waiting import BOUND_SEC, wait_until

SLOTS = 8

_NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue", "scancel")
#: Daemons lie in folders that an ordinary user's PATH does not have.
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])

#: Prefixes of variables that would change what Slurm's commands do.
_FOREIGN = ("SLURM_", "SBATCH_", "SQUEUE_", "SCANCEL_", "SCONTROL_")

_CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0
NodeName={host} NodeAddr=127.0.0.1 CPUs={slots} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> Optional[str]:
    """Return a program of Slurm or munge that is not installed, or None."""
    return next((name for name in _NEEDED if _found(name) is None), None)


class SlurmCluster:
    """A running cluster; `cluster` starts one.

    Args:
        environ: The environment in which Slurm's commands find it.
    """

    def __init__(self, environ: Dict[str, str]) -> None:
        self._environ = environ

    def command(self, *words: str, cwd: Optional[Path] = None, **environ: str) -> str:
        """Run one of Slurm's commands, which must succeed; return what it prints.

        Args:
            words: The command.
            cwd: Its working directory, which jobs inherit.
            environ: Further variables, which jobs inherit too.
        """
        done = self._run(words, cwd, environ)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def is_ready(self) -> bool:
        """Return whether the node takes jobs."""
        done = self._run(("scontrol", "--oneliner", "show", "nodes"), None, {})
        return done.returncode == 0 and "State=IDLE " in done.stdout

    def is_empty(self) -> bool:
        """Return whether no job is waiting, running or completing."""
        return not self.command("squeue", "--noheader").strip()

    def tasks(self, job_id: str) -> List[Dict[str, str]]:
        """Return the fields of each task of a job, by Slurm's names."""
        lines = self.command("scontrol", "--oneliner", "show", "job", job_id).splitlines()
        return [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in lines]

    def _run(
        self, words: Sequence[str], cwd: Optional[Path], environ: Dict[str, str]
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            words,
            cwd=cwd,
            env={**self._environ, **environ},
            capture_output=True,
            text=True,
            timeout=BOUND_SEC,
            check=False,
        )


@contextlib.contextmanager
def cluster() -> Iterator[SlurmCluster]:
    """Start a cluster; at the end cancel its jobs and stop its daemons."""
    # A short path, since the path of a socket is limited.
    with tempfile.TemporaryDirectory(prefix="slurm-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        environ = {
            **{key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)},
            "PATH": _PATH,
            "SLURM_CONF": str(_configured(folder)),
        }
        stack.enter_context(_daemon(_munged(folder), folder, environ))
        wait_until((folder / "munge" / "socket").exists, "munged's socket")
        stack.enter_context(_daemon(["slurmctld", "-D", "-i"], folder, environ))
        stack.enter_context(_daemon(["slurmd", "-D"], folder, environ))
        running = SlurmCluster(environ)
        _wait_for_node(running, folder)
        try:
            yield running
        finally:
            _clear(running)


def _found(name: str) -> Optional[str]:
    return shutil.which(name, path=_PATH)


def _configured(folder: Path) -> Path:
    for name in ("munge", "state", "spool"):
        (folder / name).mkdir(mode=0o755)
    controller_port, node_port = _free_ports()
    path = folder / "slurm.conf"
    text = _CONFIGURATION.format(
        host=socket.gethostname().split(".")[0],
        user=getuser(),
        folder=folder,
        controller_port=controller_port,
        node_port=node_port,
        slots=SLOTS,
    )
    path.write_text(text, encoding="utf-8")
    return path


def _free_ports() -> List[int]:
    """Find two ports of loopback that nothing listens on."""
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
        return [one.getsockname()[1], other.getsockname()[1]]


def _munged(folder: Path) -> List[str]:
    own = folder / "munge"
    key = own / "key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(128))
    return [
        "munged",
        "--foreground",
        "--force",  # munged expects a folder that others may enter
        f"--key-file={key}",
        f"--socket={own / 'socket'}",
        f"--pid-file={own / 'pid'}",
        f"--seed-file={own / 'seed'}",
    ]


@contextlib.contextmanager
def _daemon(command: List[str], folder: Path, environ: Dict[str, str]) -> Iterator[None]:
    """Run a daemon in the foreground, with its log in a file, and end it."""
    with (folder / f"{command[0]}.log").open("wb") as log:
        process = subprocess.Popen(
            [_found(command[0]) or command[0], *command[1:]],
            cwd=folder,
            env=environ,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(BOUND_SEC)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _clear(running: SlurmCluster) -> None:
    """Cancel all jobs and wait for their processes, which outlive the node's daemon."""
    running.command("scancel", "--full", f"--user={getuser()}")
    wait_until(running.is_empty, "the queue is empty")


def _wait_for_node(running: SlurmCluster, folder: Path) -> None:
    try:
        wait_until(running.is_ready, "the node takes jobs")
    except AssertionError as error:
        logs = "\n".join(f"{path.name}:\n{text_of(path)}" for path in folder.glob("*.log"))
        raise AssertionError(f"{error}\n{logs}") from None
