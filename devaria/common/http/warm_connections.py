"""Connections that are opened before they are needed.

A new connection costs a round trip before its first byte, and two or three with TLS.
"""

import contextlib
import ssl
import threading
from typing import Any, List

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import EmptyPoolError
from urllib3.util.ssl_ import create_urllib3_context


def open_ahead(pool: Any, count: int, timeout_sec: float) -> None:
    """Open connections of a pool in the background, those that are open already aside.

    One that fails is not reported: the request that wants it meets the fault itself.

    Args:
        pool: A connection pool of urllib3, which a request has used or `cert_verify` has prepared.
        count: How many are wanted, of those that are not in use.
        timeout_sec: The longest time to connect.
    """
    # First all are taken: one that is opened quickly must not be taken twice.
    taken: List[Any] = []
    with contextlib.suppress(EmptyPoolError):
        while len(taken) < count:
            taken.append(pool._get_conn(timeout=0))  # noqa: SLF001 - there is no other way
    for connection in taken:
        threading.Thread(
            target=_open, args=(pool, connection, timeout_sec), name="open-ahead", daemon=True
        ).start()


def _open(pool: Any, connection: Any, timeout_sec: float) -> None:
    with contextlib.suppress(Exception):
        try:
            if connection.is_closed:
                connection.timeout = timeout_sec
                connection.connect()
        except BaseException:
            connection.close()
            raise
        finally:
            pool._put_conn(connection)  # noqa: SLF001 - there is no other way


class WarmHttpsConnection(HTTPSConnection):
    """A connection that may wait for its first request.

    After a handshake of TLS 1.3, the server sends tickets. urllib3 takes all that it did not ask
    for as the end of a connection.
    """

    @property
    def is_connected(self) -> bool:
        """Whether the connection can be used."""
        return super().is_connected or (self.sock is not None and self._has_only_tickets())

    def _has_only_tickets(self) -> bool:
        timeout = self.sock.gettimeout()
        self.sock.settimeout(0)
        try:
            self.sock.recv(1)  # the data of an answer that nobody asked for, or the end
        except ssl.SSLWantReadError:
            return True
        except OSError:
            return False
        finally:
            self.sock.settimeout(timeout)
        return False


class SharedCertificatesAdapter(HTTPAdapter):
    """Reads the certificates of all authorities once for a pool: it takes 20 ms each time."""

    def __init__(self, **settings: Any) -> None:
        self._verifying = threading.Lock()
        super().__init__(**settings)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Prepare a pool for TLS, as requests asks.

        Args:
            conn: The pool.
            url: A URL of its host.
            verify: As for requests, like `cert`.
            cert: See there.
        """
        with self._verifying:
            super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]
            if not (conn.ca_certs or conn.ca_cert_dir):
                return
            if "ssl_context" not in conn.conn_kw:
                context = create_urllib3_context()
                context.load_verify_locations(conn.ca_certs, conn.ca_cert_dir)
                conn.conn_kw["ssl_context"] = context
            conn.ca_certs = conn.ca_cert_dir = None
