"""Open the reading process's connections in a process of its own.

Code in the reading process must not choose addresses: the lab's network is behind them. So the
reading process cannot open connections (`devaria.nwb.sandbox.seccomp`). It is forked first into a
second process, its connector, which does nothing else and never sees a byte of the file. The
connector resolves a name, checks the addresses, connects to one of them, and passes the connected
socket on. Several connections are opened at once.

Only Linux can refuse connections to a process of the same user, so elsewhere there is none.
"""

import array
import contextlib
import json
import math
import os
import signal
import socket
import sys
import threading
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

from devaria.nwb.errors import NwbError
from devaria.nwb.http.address_guard import AddressGuard
from devaria.nwb.http.retry import RetryableFault
from devaria.nwb.sandbox.process_limits import die_with_parent

#: Most connections that are being opened at once: more than the reading process ever wants.
_MAX_AT_ONCE = 64

#: The longest message: a host name, or an error text.
_MAX_MESSAGE_BYTES = 16_384


class Connector:
    """The reading process's side. Any number of threads may use it.

    Args:
        channel: Leads to the connector.
        allow_hosts: As for `AddressGuard`. The connector takes these once, at the beginning.
    """

    def __init__(self, channel: socket.socket, allow_hosts: Iterable[str]) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._waiting: Dict[int, _Answer] = {}
        self._last = 0
        self._is_gone = False
        _send(channel, {"allow_hosts": list(allow_hosts)})
        threading.Thread(target=self._listen, name="connector", daemon=True).start()

    def connect(self, host: str, port: int, timeout_sec: float) -> socket.socket:
        """Ask for a connection, as `AddressGuard.connect` does.

        Args:
            host: A name, or an address in any spelling.
            port: Port of the connection.
            timeout_sec: Longest time to connect.

        Returns:
            The connected socket.

        Raises:
            NwbError: One of the host's addresses is not allowed, or the connector is gone.
            RetryableFault: There is no connection now.
            ValueError: The host is no name.
        """
        answer = _Answer()
        with self._lock:
            self._last += 1
            number = self._last
            self._waiting[number] = answer
        wanted = {"number": number, "host": host, "port": port, "timeout_sec": timeout_sec}
        try:
            _send(self._channel, wanted)
            if self._is_gone:  # before it could see this one wait
                raise _gone()
            answer.is_there.wait()
        except OSError:
            raise _gone() from None
        finally:
            with self._lock:
                self._waiting.pop(number, None)
        return answer.connected(timeout_sec)

    def _listen(self) -> None:
        while True:
            message, descriptors = _receive(self._channel, most_descriptors=1)
            if message is None:
                break
            answer = self._waiting.get(message["number"])
            if answer is not None:
                answer.take(message, descriptors)
        self._is_gone = True
        with self._lock:
            for answer in self._waiting.values():
                answer.is_there.set()


class _Answer:
    def __init__(self) -> None:
        self.is_there = threading.Event()
        self._message: Dict[str, Any] = {}
        self._descriptors: List[int] = []

    def take(self, message: Dict[str, Any], descriptors: List[int]) -> None:
        self._message, self._descriptors = message, descriptors
        self.is_there.set()

    def connected(self, timeout_sec: float) -> socket.socket:
        if self._descriptors:
            found = socket.socket(fileno=self._descriptors[0])
            found.settimeout(timeout_sec)
            return found
        if "fault" in self._message:
            seconds = self._message["give_up_after_sec"]
            seconds = math.inf if seconds is None else seconds
            raise RetryableFault(self._message["fault"], give_up_after_sec=seconds)
        if "no_host" in self._message:
            raise ValueError(self._message["no_host"])
        if "error" in self._message:
            raise NwbError(self._message["error"])
        raise _gone()


def fork_connector() -> Optional[socket.socket]:
    """Fork this process into a connector, before there is another thread.

    Returns:
        The channel for a `Connector`; None on systems other than Linux. Only in this process: the
        connector does not return.
    """
    if sys.platform != "linux":
        return None
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork():
        its.close()
        return ours
    try:
        ours.close()
        _serve(its)
    finally:
        os._exit(0)


def _serve(channel: socket.socket) -> None:
    die_with_parent()
    # The pipes to the parent too: it must see them end.
    for low, high in ((3, channel.fileno()), (channel.fileno() + 1, 4096)):
        os.closerange(low, high)
    # What ends the reading process ends its connector.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    first, _ = _receive(channel)
    if first is None:
        return
    guard = AddressGuard(first["allow_hosts"])
    room = threading.Semaphore(_MAX_AT_ONCE)
    while True:
        room.acquire()
        wanted, _ = _receive(channel)
        if wanted is None:
            return
        job = (channel, guard, wanted, room.release)
        threading.Thread(target=_open, args=job, daemon=True).start()


def _open(
    channel: socket.socket,
    guard: AddressGuard,
    wanted: Dict[str, Any],
    done: Callable[[], object],
) -> None:
    # The reading process may be gone, or may say what no `Connector` says.
    with contextlib.suppress(OSError, LookupError, TypeError):
        told = {"number": wanted["number"]}
        try:
            with guard.connect(wanted["host"], wanted["port"], wanted["timeout_sec"]) as connected:
                _send(channel, told, [connected.fileno()])
        except RetryableFault as fault:
            seconds = fault.give_up_after_sec
            wait = {"give_up_after_sec": seconds if math.isfinite(seconds) else None}
            _send(channel, {**told, "fault": str(fault), **wait})
        except NwbError as error:
            _send(channel, {**told, "error": str(error)})
        except ValueError as error:  # no name of a host
            _send(channel, {**told, "no_host": str(error)[:100]})
    done()


def _send(channel: socket.socket, message: Dict[str, Any], descriptors: Iterable[int] = ()) -> None:
    content = json.dumps(message).encode("ascii")
    rights = array.array("i", descriptors)
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if rights else []
    channel.sendmsg([content], ancillary)


def _receive(
    channel: socket.socket, most_descriptors: int = 0
) -> Tuple[Optional[Dict[str, Any]], List[int]]:
    """Return the next message and the sockets in it; None at the end."""
    rights = array.array("i")
    space = socket.CMSG_SPACE(most_descriptors * rights.itemsize) if most_descriptors else 0
    try:
        content, ancillary, _, _ = channel.recvmsg(_MAX_MESSAGE_BYTES, space)
    except OSError:
        return None, []
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            rights.frombytes(data[: len(data) // rights.itemsize * rights.itemsize])
    return (json.loads(content) if content else None), list(rights)


def _gone() -> NwbError:
    return NwbError("the process that opens connections is gone")
