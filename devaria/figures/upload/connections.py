"""Connections that are opened ahead of an upload, and kept open for its length.

requests opens a connection for each call of ``requests.post`` and ``requests.put``. Each costs two
or three round trips before its first byte.
"""

import contextlib
import math
import threading
import time
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Optional

import requests
from figpack.core import config
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from devaria.common.http.warm_connections import (
    SharedCertificatesAdapter,
    WarmHttpsConnection,
    open_ahead,
)
from devaria.figures.upload.store_hint import remembered_store

#: figpack calls its API step by step. With the store's connections these are eight in all; a figure
#: has about as many files.
_API_CONNECTIONS = 1
STORE_CONNECTIONS = 7

#: A connection that was not used for this time is replaced, in seconds. Something on the way, such
#: as a router, may have forgotten it without a word, and a request over it would hang.
_MAX_IDLE_SEC = 15.0


class UploadConnections:
    """The connections to figpack's API and to the store of its files, for one upload.

    Use it in a ``with`` block, which closes them.

    Args:
        connect_timeout_sec: The longest time to open one ahead.
    """

    def __init__(self, connect_timeout_sec: float = 10.0) -> None:
        self._connect_timeout_sec = connect_timeout_sec
        #: figpack's API, without a slash at its end.
        self.api_url: str = config.FIGPACK_API_BASE_URL
        self.api = KeptSession(_API_CONNECTIONS)
        self.store = KeptSession(STORE_CONNECTIONS)

    def __enter__(self) -> "UploadConnections":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.api.close()
        self.store.close()

    def open_ahead(self) -> None:
        """Open the connections in the background. Call it again if much time has passed."""
        self.api.open_ahead(self.api_url, self._connect_timeout_sec)
        store = remembered_store(self.api_url)
        if store is not None:
            self.store.open_ahead(store, self._connect_timeout_sec)

    def note_figure(self, figure_url: str) -> None:
        """Take the URL of the figure that will be uploaded.

        An API that shows the figures itself stores their files, too. devaria's local worker does.
        """
        if figure_url.startswith(f"{self.api_url}/") and remembered_store(self.api_url) is None:
            self.store.open_ahead(figure_url, self._connect_timeout_sec)


class KeptSession(requests.Session):
    """A session that keeps up to a number of connections to each host.

    With further requests at a time, threads wait for a connection. It uses proxies, certificates
    and logins from the environment as requests does. It keeps no cookies, as a new session for each
    call would not.

    Args:
        connections: The most connections to one host.
    """

    def __init__(self, connections: int) -> None:
        super().__init__()
        self._connections = connections
        self._adapter = _KeepingAdapter(connections)
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.mount("http://", self._adapter)
        self.mount("https://", self._adapter)

    def open_ahead(self, url: str, timeout_sec: float) -> None:
        """Open all connections to a host in the background, those that are open already aside.

        A connection that fails is not reported: the request that wants it meets the fault itself.

        Args:
            url: Any URL of the host.
            timeout_sec: The longest time to connect.
        """

        def open_all() -> None:
            with contextlib.suppress(Exception):
                self._pool(url).open_ahead(self._connections, timeout_sec)

        threading.Thread(target=open_all, name="open-ahead", daemon=True).start()

    def _pool(self, url: str) -> Any:
        """Return the `_KeepingPool` that requests to a URL use."""
        request = self.prepare_request(requests.Request("GET", url))
        settings = self.merge_environment_settings(url, {}, None, None, None)
        pool: Any = self._adapter.get_connection_with_tls_context(
            request, settings["verify"], settings["proxies"], settings["cert"]
        )
        self._adapter.cert_verify(pool, url, settings["verify"], settings["cert"])
        return pool


class _KeepingPool(HTTPConnectionPool):
    """A pool that replaces connections after some time without use."""

    def open_ahead(self, count: int, timeout_sec: float) -> None:
        """Open connections that are not in use.

        Args:
            count: How many at most.
            timeout_sec: The longest time to connect.
        """
        if self.proxy is not None:  # requests connects to it in its own way
            return
        open_ahead(self, count, timeout_sec)

    def _get_conn(self, timeout: Optional[float] = None) -> Any:
        connection: Any = super()._get_conn(timeout)
        if time.monotonic() - getattr(connection, "used_at", math.inf) > _MAX_IDLE_SEC:
            connection.close()
        return connection

    def _put_conn(self, conn: Any) -> None:
        if conn is not None:
            conn.used_at = time.monotonic()
        super()._put_conn(conn)


class _Http(_KeepingPool):
    pass


class _Https(_KeepingPool, HTTPSConnectionPool):
    ConnectionCls = WarmHttpsConnection


_POOLS = {"http": _Http, "https": _Https}


class _KeepingAdapter(SharedCertificatesAdapter):
    def __init__(self, connections: int) -> None:
        super().__init__(pool_maxsize=connections, pool_block=True)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **proxy_kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def close(self) -> None:
        # urllib3 only forgets the pools. An exception that names one would keep it open.
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118 - it refuses to be iterated
                manager.pools[key].close()
        super().close()
