"""Start and stop the local worker as an HTTP server."""

import math
import socket
import threading
import time
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Iterable, List, Optional, Type

from devaria.common.http.addresses import PublicHosts
from devaria.worker.api.web import SERVICES, Services
from devaria.worker.app import body_limit, create_app
from devaria.worker.connections import Server, make_server
from devaria.worker.dashboard.job_forms import JobForms
from devaria.worker.keys import WorkerKeys
from devaria.worker.store.database import Clock, Database
from devaria.worker.store.silence import steady_ms
from devaria.worker.upkeep import Duty, Upkeep

#: Idle connections are closed after this time, as on the hosted worker.
IDLE_SEC = 5

#: How much the figures may take, in bytes.
FIGURES_QUOTA_BYTES = 20 * 10**9

_THREADS = 8  # for requests that do not wait; one more for each that waits
_STOP_SEC = 2.0  # how long `stop` waits for running requests

# Clients cannot connect to an address that means all addresses of the machine. They use these.
_REACHED_BY = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound here


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class LocalWorker:
    """A worker in this process: queue, result cache and figure store over one data directory.

    It serves between ``start`` and ``stop``, or inside a ``with`` block. It can be started again.

    Args:
        data_dir: The directory for the database, the figures and the keys; created if needed.
        host: The address to listen on; ``0.0.0.0`` for all addresses of the machine.
        port: The port, or 0 for a free one.
        keys: The API keys; None to use those of the data directory, or make them.
        rate_limit: Whether the contract's rate limits apply.
        clock: Returns the time in epoch milliseconds.
        requeue_after_sec: Seconds of a runner's silence after which its job returns to pending,
            for another runner; 0 for never. Runners send a heartbeat every 30 s.
        job_forms: The parameters that the dashboard asks for. It takes JSON for other job types.
        idle_sec: Seconds after which an idle connection is closed.
        allow_hosts: Hosts that may be asked whether a figure still exists, although they are not on
            the public internet.
        steady: Returns a steady time in milliseconds, by which silence is measured.
        figures_quota_bytes: How much the figures may take; 0 for no limit.

    Attributes:
        keys: The API keys.

    Raises:
        ValueError: The keys file of the data directory is damaged.
        OSError: The data directory cannot be read or written.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 8787,
        keys: Optional[WorkerKeys] = None,
        rate_limit: bool = True,
        clock: Clock = _now_ms,
        requeue_after_sec: float = 600.0,
        job_forms: Optional[JobForms] = None,
        idle_sec: int = IDLE_SEC,
        allow_hosts: Iterable[str] = (),
        steady: Clock = steady_ms,
        figures_quota_bytes: int = FIGURES_QUOTA_BYTES,
    ) -> None:
        self.keys = keys or WorkerKeys.load_or_create(data_dir, {})
        self._data_dir = data_dir
        self._host = host
        self._port = port
        self._rate_limit = rate_limit
        self._clock = clock
        self._requeue_after_ms = math.ceil(requeue_after_sec * 1000)
        self._job_forms = job_forms or {}
        self._idle_sec = idle_sec
        self._hosts = PublicHosts(allow_hosts)
        self._steady = steady
        self._figures_quota_bytes = figures_quota_bytes
        self._bound_port = port
        self._server: Optional[Server] = None
        self._database: Optional[Database] = None
        self._services: Optional[Services] = None
        self._loop: Optional[threading.Thread] = None
        self._told_to_close = threading.Event()

    @property
    def url(self) -> str:
        """The worker's URL for clients on this machine; with port 0, valid after ``start``."""
        host = _REACHED_BY.get(self._host, self._host)
        bracketed = f"[{host}]" if ":" in host else host
        return f"http://{bracketed}:{self._bound_port}"

    @property
    def figpack_api_url(self) -> str:
        """The value for ``FIGPACK_API_BASE_URL``."""
        return f"{self.url}/figpack"

    @property
    def dashboard_url(self) -> str:
        """The link to the dashboard. Everyone who has it may see, submit, rerun and delete jobs."""
        return f"{self.url}/dashboard?token={self.keys.dashboard_token}"

    @property
    def services(self) -> Services:
        """What the routes of a running worker work with."""
        if self._services is None:
            raise RuntimeError("the worker does not run")
        return self._services

    def start(self) -> None:
        """Bind the port and serve in background threads.

        Raises:
            OSError: The port is taken, or the machine does not have the address.
            sqlite3.Error: The database cannot be opened.
        """
        listener = _listener(self._host, self._port)
        try:
            app, self._database = create_app(
                self._data_dir,
                self.keys,
                rate_limit=self._rate_limit,
                clock=self._clock,
                requeue_after_ms=self._requeue_after_ms,
                job_forms=self._job_forms,
                hosts=self._hosts,
                steady=self._steady,
                figures_quota_bytes=self._figures_quota_bytes,
            )
        except BaseException:
            listener.close()
            raise
        self._server = make_server(
            app,
            listener,
            threads=_THREADS,
            idle_sec=self._idle_sec,
            body_limit=partial(body_limit, app),
        )
        dispatcher = self._server.task_dispatcher
        self._database.news.waits.make_room = lambda waiting: dispatcher.set_thread_count(
            _THREADS + waiting
        )
        self._services = app.extensions[SERVICES]
        self._upkeep = Upkeep(_duties(self.services, self._database))
        self._upkeep.start()
        self._bound_port = listener.getsockname()[1]
        self._told_to_close.clear()
        self._loop = threading.Thread(target=self._server.run, name="devaria-worker", daemon=True)
        self._loop.start()

    def stop(self) -> None:
        """End the requests that wait, give others a moment, then close connections and database.

        It takes milliseconds; two or three seconds if a request hangs. Stopping a worker that does
        not run does nothing.
        """
        server = self._server
        if self._loop is None or self._database is None or server is None:
            return
        self._upkeep.stop(_STOP_SEC)
        self._database.news.waits.close()
        server.task_dispatcher.shutdown(timeout=_STOP_SEC)
        # The thread that polls the sockets must close them. Closed from here, their numbers could
        # go to new files or sockets of this process, and the thread would poll those.
        server.trigger.pull_trigger(partial(self._close_sockets, server))
        self._told_to_close.set()
        self._loop.join()
        self._database.close()
        self._loop = self._database = self._server = None

    def __enter__(self) -> "LocalWorker":
        self.start()
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.stop()

    def _close_sockets(self, server: Server) -> None:
        # A request that ends may wake the loop first. The pipe that wakes it is still being written
        # to then, and closing it too early would end the writer in an error.
        self._told_to_close.wait()
        for connection in list(server.active_channels.values()):
            connection.end()
        server.close()


def _duties(services: Services, database: Database) -> List[Duty]:
    """Return what a worker does at regular times."""
    return [
        (1, services.jobs.look_at_clock),
        (60, database.shrink),
        (600, services.figures.remove_old),
    ]


def _listener(host: str, port: int) -> socket.socket:
    """Bind a listening socket; the error names the address and the reason."""
    try:
        family, *_, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        reason = error.strerror or str(error)
        text = f"cannot listen on {host}:{port}: {reason} (is another worker running there?)"
        raise OSError(error.errno, text) from error
