"""The local worker as a server that is started and stopped."""

import logging
import math
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Mapping, Optional, Type

import waitress

from devaria.worker.app import create_app
from devaria.worker.dashboard.job_forms import ParamForm
from devaria.worker.keys import WorkerKeys
from devaria.worker.store.database import Clock, Database

_THREADS = 8
_IDLE_SEC = 5  # the hosted worker closes idle connections after that time too
_MAX_BODY_BYTES = 1024**3  # a file of a figure; JSON bodies have a limit of their own
_STOP_SEC = 0.7  # how long requests in hand may take to finish

# Addresses that mean every one of the machine are none to connect to.
_REACHED_BY = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class LocalWorker:
    """The embedded worker: queue, cache and figure store over one data directory.

    Nothing happens before ``start``; it can be started again after ``stop``. As a context manager
    it does both.

    Args:
        data_dir: Holds the database, the figures and the keys; created if it is needed.
        host: The address to listen on; ``0.0.0.0`` for every one that the machine has.
        port: The port, or 0 for a free one.
        keys: The API keys; None to take or make those of the data directory.
        rate_limit: Whether the contract's rate limits apply.
        clock: Gives the time in epoch milliseconds.
        requeue_after_sec: A claimed job whose runner is silent for so many seconds goes back to
            pending, for another runner; 0 for never. Runners send a heartbeat every 30 s.
        job_forms: The declared parameters of job types, by name: the dashboard makes forms of
            them, and takes JSON for other types.

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
        job_forms: Optional[Mapping[str, Mapping[str, ParamForm]]] = None,
    ) -> None:
        self.keys = keys or WorkerKeys.load_or_create(data_dir, {})
        self._data_dir = data_dir
        self._host = host
        self._port = port
        self._rate_limit = rate_limit
        self._clock = clock
        self._requeue_after_ms = math.ceil(requeue_after_sec * 1000)
        self._job_forms = job_forms or {}
        self._bound_port = port
        self._server: Any = None
        self._database: Optional[Database] = None
        self._loop: Optional[threading.Thread] = None

    @property
    def url(self) -> str:
        """The worker's URL as this machine reaches it; with port 0, known after ``start``."""
        host = _REACHED_BY.get(self._host, self._host)
        bracketed = f"[{host}]" if ":" in host else host
        return f"http://{bracketed}:{self._bound_port}"

    @property
    def figpack_api_url(self) -> str:
        """The value for ``FIGPACK_API_BASE_URL``."""
        return f"{self.url}/figpack"

    @property
    def dashboard_url(self) -> str:
        """The link to the dashboard. Whoever has it may see, submit, rerun and delete jobs."""
        return f"{self.url}/dashboard?token={self.keys.dashboard_token}"

    def start(self) -> None:
        """Bind, and serve in background threads.

        Raises:
            OSError: The port is taken, or the address is not of this machine; the text says so.
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
            )
        except BaseException:
            listener.close()
            raise
        # With eight threads busy a request waits for a moment: nothing that an operator must read.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        self._server = waitress.create_server(
            app,
            sockets=[listener],
            threads=_THREADS,
            ident="devaria-worker",
            channel_timeout=_IDLE_SEC,
            cleanup_interval=1,
            max_request_body_size=_MAX_BODY_BYTES,
        )
        self._bound_port = listener.getsockname()[1]
        self._loop = threading.Thread(target=self._server.run, name="devaria-worker", daemon=True)
        self._loop.start()

    def stop(self) -> None:
        """Finish the requests in hand, close every connection and the store; under a second.

        Stopping a worker that does not run does nothing.
        """
        if self._loop is None or self._database is None:
            return
        self._server.task_dispatcher.shutdown(timeout=_STOP_SEC)
        # Sockets are closed by the thread that waits for them: closing them from here would let
        # it wait on numbers that the next file or socket of this process gets.
        self._server.trigger.pull_trigger(self._close_sockets)
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

    def _close_sockets(self) -> None:
        for connection in list(self._server.active_channels.values()):
            connection.handle_close()
        self._server.close()


def _listener(host: str, port: int) -> socket.socket:
    """Bind a listening socket, or say what is in the way."""
    try:
        family, *_, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        reason = error.strerror or str(error)
        text = f"cannot listen on {host}:{port}: {reason} (is another worker running there?)"
        raise OSError(error.errno, text) from error
